"""One SMTP session (RFC 5321): opened, secured and logged in once, then one message after another.

MAIL, RCPT and DATA go in one write where the server offers PIPELINING, else one by one; either way it is known how far
a message came, and its content follows only when all were answered. Every failure closes the connection at once and
hard: nothing that was given up may still trickle out.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from aiosmtplib import SMTP, SMTPConnectError, SMTPException, SMTPResponseException, SMTPServerDisconnected
from petitbleu import Attempt, Deferred, Outcome, Scope, Unknown

from .compose import Mail
from .dialogue import Nonsense, Said, take_over
from .outcomes import Reply, Stage, outcome_of, read_reply
from .settings import Provider

Commands = Sequence[tuple[Stage, str]]

_WELCOME = {Stage.RSET: 2, Stage.MAIL: 2, Stage.RCPT: 2, Stage.DATA: 3}
"""First digit of the reply that lets a message go on."""
_BEGINNING = (Stage.RSET, Stage.MAIL)
"""Where a kept session that has ended shows it, before it took anything."""


class ConnectFailed(Exception):
    """No session could be had; `outcome` is what that means for a message."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.text)


class Connection:
    """A session that is ready for MAIL. Not for two messages at once."""

    def __init__(self, client: SMTP, name: str, provider: Provider, reply_length: int) -> None:
        self.extensions: Mapping[str, str] = dict(client.esmtp_extensions)
        self._client = client
        self._dialogue = take_over(client)
        self._name = name
        self._provider = provider
        self._reply_length = reply_length
        self._clean = True
        self.messages = 0

    @property
    def usable(self) -> bool:
        return self._dialogue.open and self.messages < self._provider.messages_per_connection

    @property
    def description(self) -> str:
        """For people: how the session is protected and what the server said it can do."""
        cipher = self._client.get_transport_info("cipher")
        security = f"{cipher[1]} {cipher[0]}" if cipher else "plain"
        login = ", logged in" if self._provider.username else ""
        extensions = " ".join(f"{name} {value}".rstrip().upper() for name, value in self.extensions.items())
        return f"{security}{login}; {extensions or 'no extensions'}"

    async def deliver(self, mail: Mail, attempt: Attempt) -> Outcome | None:
        """Carry one message over. None: the session had ended while it was kept, and took nothing.

        Raises what `attempt.hand_off` raises; the connection is closed then.
        """
        kept = self.messages > 0
        group: Commands = [(Stage.MAIL, "")]
        handed_off = False
        self.messages += 1
        try:
            problem = self._beforehand(mail)
            if problem is not None:
                return problem
            commands = self._envelope(mail)
            self._clean = False
            for group in [commands] if "pipelining" in self.extensions else [[one] for one in commands]:
                said = await self._dialogue.say(_octets(group), len(group), self._provider.timeouts.command)
                at = next((at for at, one in enumerate(said) if one.code // 100 != _WELCOME[group[at][0]]), None)
                if at is None and len(said) == len(group):
                    continue
                if at is None:
                    raise SMTPServerDisconnected("Connection lost")
                stage = group[at][0]
                if said[at].code == 421:
                    self.abort()
                elif group[len(said) - 1][0] is Stage.DATA and said[-1].code < 400:
                    await self._leave_data(stage)
                if stage is Stage.RSET or (kept and stage is Stage.MAIL and said[at].code == 421):
                    self.abort()
                    return None
                return outcome_of(self._name, self._read(stage, said[at]))
            await attempt.hand_off(self._name)
            handed_off = self._dialogue.open
            reply = await self._content(mail.content)
            self._clean = True
            if reply.number == 421:
                self.abort()
            return outcome_of(self._name, reply)
        except (SMTPException, OSError, Nonsense) as error:
            self.abort()
            if handed_off:
                return Unknown(self._name, f"no answer after the message was sent: {_words(error)}")
            stage = group[min(self._dialogue.answered, len(group) - 1)][0]
            if kept and stage in _BEGINNING and not isinstance(error, TimeoutError):
                return None
            return Deferred(self._name, f"{stage}: {_words(error)}", Scope.PROVIDER)
        except BaseException:
            self.abort()
            raise

    async def _leave_data(self, stopped: Stage) -> None:
        """A server that wants content although it refused the recipient gets none (RFC 2920 3.1); one that says
        something else than 354 for it is no place to send anything to."""
        if stopped is Stage.DATA:
            self.abort()
            return
        await self._dialogue.say(b".\r\n", 1, self._provider.timeouts.command)

    def _beforehand(self, mail: Mail) -> Outcome | None:
        """What the server's EHLO already says about this message."""
        if mail.smtputf8 and "smtputf8" not in self.extensions:
            reply = Reply(Stage.MAIL, 550, "5.6.7", f"{self._name} offers no SMTPUTF8, which a non-ASCII address needs")
            return outcome_of(self._name, reply)
        limit = self.extensions.get("size", "")
        if limit.isdecimal() and 0 < int(limit) < len(mail.content):
            text = f"the message has {len(mail.content)} bytes, {self._name} takes {int(limit)}"
            return outcome_of(self._name, Reply(Stage.MAIL, 552, "5.3.4", text))
        return None

    def _envelope(self, mail: Mail) -> Commands:
        options = f" SIZE={len(mail.content)}" if "size" in self.extensions else ""
        if mail.smtputf8:
            options += " SMTPUTF8"
        wanted = ""
        if mail.envelope_id and "dsn" in self.extensions:
            options += f" RET=HDRS ENVID={mail.envelope_id}"
            wanted = f" NOTIFY={mail.notify}"
        commands = [
            (Stage.MAIL, f"MAIL FROM:<{mail.sender}>{options}\r\n"),
            (Stage.RCPT, f"RCPT TO:<{mail.recipient}>{wanted}\r\n"),
            (Stage.DATA, "DATA\r\n"),
        ]
        return commands if self._clean else [(Stage.RSET, "RSET\r\n"), *commands]

    async def _content(self, content: bytes) -> Reply:
        """RFC 5321 4.5.2: dots doubled at line beginnings, then the final dot; the bytes are otherwise untouched."""
        stuffed = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        said = await self._dialogue.say(stuffed, 1, self._provider.timeouts.data)
        return self._read(Stage.CONTENT, said[0])

    def _read(self, stage: Stage, said: Said) -> Reply:
        return read_reply(stage, said.code, said.text, self._reply_length)

    def abort(self) -> None:
        self._dialogue.abort()

    async def quit(self) -> None:
        """Say good-bye if the server listens, and close in any case."""
        try:
            if self._dialogue.open:
                await self._dialogue.say(b"QUIT\r\n", 1, self._provider.timeouts.quit)
        except (SMTPException, OSError, Nonsense):
            pass  # it is gone already, which is all we wanted
        finally:
            self.abort()


def _octets(group: Commands) -> bytes:
    return "".join([command for _, command in group]).encode()


async def open_connection(
    name: str, provider: Provider, context: ssl.SSLContext | None, host_name: str, reply_length: int
) -> Connection:
    """Connect, greet, secure and log in. Raises `ConnectFailed`; without the security asked for there is no session
    and no password has left."""
    timeouts = provider.timeouts
    client = SMTP(
        hostname=provider.host,
        port=provider.port,
        local_hostname="localhost",  # replaced below, and never said
        timeout=timeouts.ehlo,
        use_tls=provider.security == "tls",
        start_tls=False,
        tls_context=context,
    )
    steps: list[tuple[Stage, Callable[[], Awaitable[Any]]]] = [
        (Stage.CONNECT, lambda: client.connect(timeout=timeouts.connect)),
        (Stage.EHLO, lambda: _greet(client, provider, host_name)),
    ]
    if provider.security == "starttls":
        steps += [(Stage.STARTTLS, client.starttls), (Stage.EHLO, lambda: _greet(client, provider, host_name))]
    if provider.username:
        password = provider.password.get_secret_value()
        steps.append((Stage.LOGIN, lambda: client.login(provider.username, password)))
    try:
        for stage, step in steps:  # noqa: B007 - what follows names it
            await step()
        return Connection(client, name, provider, reply_length)
    except (SMTPException, OSError, ValueError) as error:
        _cut(client)
        raise ConnectFailed(_setup_outcome(name, provider, stage, error, reply_length)) from None
    except BaseException:
        _cut(client)
        raise


async def _greet(client: SMTP, provider: Provider, host_name: str) -> None:
    """EHLO; HELO where a server knows no EHLO and nothing is needed that only EHLO gives."""
    client.local_hostname = provider.local_hostname or ehlo_name(host_name, client.get_transport_info("sockname"))
    try:
        await client.ehlo()
    except SMTPResponseException as error:
        if error.code not in (500, 502, 504) or provider.security == "starttls" or provider.username:
            raise
        await client.helo()


def ehlo_name(host_name: str, socket_name: Any) -> str:
    """RFC 5321 4.1.3: a name with a domain, else the address we come from."""
    labels = host_name.split(".")
    if len(labels) > 1 and all(label and label.isascii() and label.replace("-", "").isalnum() for label in labels):
        return host_name
    address = ip_address(str(socket_name[0]).partition("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _setup_outcome(name: str, provider: Provider, stage: Stage, error: Exception, reply_length: int) -> Outcome:
    at = f"{name} ({provider.host}:{provider.port})"
    if isinstance(error, SMTPResponseException) and error.code >= 400:
        reply = read_reply(stage, error.code, error.message, reply_length)
        return Deferred(name, f"{at}: {stage}: {reply}", Scope.PROVIDER, reply.code)
    words = _words(error)[:reply_length]
    return Deferred(name, f"{at}: {stage}: {words}", Scope.PROVIDER)


def _words(error: BaseException) -> str:
    if isinstance(error, SMTPResponseException):
        return "an answer that no client expects here"
    if isinstance(error, SMTPConnectError) and error.__cause__ is not None:
        return _words(error.__cause__)
    return str(error) or type(error).__name__


def _cut(client: SMTP) -> None:
    """Close without sending what still waits to be written."""
    transport: Any = client.transport
    if transport is not None:
        transport.abort()
    client.close()
