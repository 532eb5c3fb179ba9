"""One SMTP session (RFC 5321): opened, secured and logged in once, then one message after another.

Commands are sent one by one, so that it is always known how far a message came. Every failure closes the connection
at once and hard: nothing that was given up may still trickle out.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from aiosmtplib import SMTP, SMTPConnectError, SMTPException, SMTPResponse, SMTPResponseException
from petitbleu import Attempt, Deferred, Outcome, Scope, Unknown

from .compose import Mail
from .outcomes import Reply, Stage, outcome_of, read_reply
from .settings import Provider


class ConnectFailed(Exception):
    """No session could be had; `outcome` is what that means for a message."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.text)


class Connection:
    """A session that is ready for MAIL. Not for two messages at once."""

    def __init__(self, client: SMTP, name: str, provider: Provider, reply_length: int) -> None:
        self._client = client
        self._name = name
        self._provider = provider
        self._reply_length = reply_length
        self._clean = True
        self.messages = 0

    @property
    def usable(self) -> bool:
        return self._client.is_connected and self.messages < self._provider.messages_per_connection

    @property
    def description(self) -> str:
        """For people: how the session is protected and what the server said it can do."""
        cipher = self._client.get_transport_info("cipher")
        security = f"{cipher[1]} {cipher[0]}" if cipher else "plain"
        login = ", logged in" if self._provider.username else ""
        extensions = " ".join(f"{name} {value}".rstrip().upper() for name, value in self._extensions.items())
        return f"{security}{login}; {extensions or 'no extensions'}"

    @property
    def _extensions(self) -> dict[str, str]:
        return self._client.esmtp_extensions

    async def deliver(self, mail: Mail, attempt: Attempt) -> Outcome | None:
        """Carry one message over. None: the session had ended while it was kept, and took nothing.

        Raises what `attempt.hand_off` raises; the connection is closed then.
        """
        kept = self.messages > 0
        stage = Stage.MAIL
        handed_off = False
        self.messages += 1
        try:
            problem = self._beforehand(mail)
            if problem is not None:
                return problem
            if not self._clean and (await self._say(stage, b"RSET")).number != 250:
                self.abort()
                return None
            self._clean = False
            for stage, command in self._envelope(mail):
                reply = await self._say(stage, *command)
                if reply.number == 421:
                    self.abort()
                    if kept and stage is Stage.MAIL:
                        return None
                if reply.number // 100 != (3 if stage is Stage.DATA else 2):
                    return self._refused(reply)
            stage = Stage.CONTENT
            await attempt.hand_off(self._name)
            handed_off = self._client.is_connected
            reply = await self._content(mail.content)
            self._clean = True
            if reply.number == 421:
                self.abort()
            return outcome_of(self._name, reply)
        except (SMTPException, OSError) as error:
            self.abort()
            if handed_off:
                return Unknown(self._name, f"no answer after the message was sent: {_words(error)}")
            if kept and stage is Stage.MAIL and not isinstance(error, TimeoutError):
                return None
            return Deferred(self._name, f"{stage}: {_words(error)}", Scope.PROVIDER)
        except BaseException:
            self.abort()
            raise

    def _refused(self, reply: Reply) -> Outcome:
        if reply.stage is Stage.DATA and reply.number < 400:
            self.abort()  # whatever it means, it is not a place to send content to
        return outcome_of(self._name, reply)

    def _beforehand(self, mail: Mail) -> Outcome | None:
        """What the server's EHLO already says about this message."""
        if mail.smtputf8 and "smtputf8" not in self._extensions:
            reply = Reply(Stage.MAIL, 550, "5.6.7", f"{self._name} offers no SMTPUTF8, which a non-ASCII address needs")
            return outcome_of(self._name, reply)
        limit = self._extensions.get("size", "")
        if limit.isdecimal() and 0 < int(limit) < len(mail.content):
            text = f"the message has {len(mail.content)} bytes, {self._name} takes {int(limit)}"
            return outcome_of(self._name, Reply(Stage.MAIL, 552, "5.3.4", text))
        return None

    def _envelope(self, mail: Mail) -> list[tuple[Stage, tuple[bytes, ...]]]:
        options = [f"SIZE={len(mail.content)}".encode()] if "size" in self._extensions else []
        if mail.smtputf8:
            options.append(b"SMTPUTF8")
        return [
            (Stage.MAIL, (b"MAIL", f"FROM:<{mail.sender}>".encode(), *options)),
            (Stage.RCPT, (b"RCPT", f"TO:<{mail.recipient}>".encode())),
            (Stage.DATA, (b"DATA",)),
        ]

    async def _say(self, stage: Stage, *command: bytes) -> Reply:
        response = await self._client.execute_command(*command, timeout=self._provider.timeouts.command)
        return self._read(stage, response)

    async def _content(self, content: bytes) -> Reply:
        """RFC 5321 4.5.2: dots doubled at line beginnings, then the final dot; the bytes are otherwise untouched."""
        protocol = self._client.protocol
        if protocol is None:
            raise ConnectionResetError("the connection was closed before the content was sent")
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        protocol.write(stuffed + b".\r\n")
        return self._read(Stage.CONTENT, await protocol.read_response(timeout=self._provider.timeouts.data))

    def _read(self, stage: Stage, response: SMTPResponse) -> Reply:
        return read_reply(stage, response.code, response.message, self._reply_length)

    def abort(self) -> None:
        _cut(self._client)

    async def quit(self) -> None:
        """Say good-bye if the server listens, and close in any case."""
        try:
            if self._client.is_connected:
                await self._client.execute_command(b"QUIT", timeout=self._provider.timeouts.quit)
        except (SMTPException, OSError):
            pass  # it is gone already, which is all we wanted
        finally:
            self.abort()


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
    except (SMTPException, OSError, ValueError) as error:
        _cut(client)
        raise ConnectFailed(_setup_outcome(name, provider, stage, error, reply_length)) from None
    except BaseException:
        _cut(client)
        raise
    return Connection(client, name, provider, reply_length)


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
