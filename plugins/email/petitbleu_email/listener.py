"""The door for bounces: an SMTP or LMTP server (RFC 5321, RFC 2033) that takes mail to our return paths.

aiosmtpd speaks the protocol; what stands here is its limits, its end, and the answers, which `Desk` decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope
from petitbleu import Check, PetitbleuError

from .bounces import UNKNOWN, Desk
from .settings import Bounces

LINE = 65_536
"""Octets of a line. RFC 5321 has 1000; bounces with longer ones are bounces all the same."""
ENDLESS = 4 * LINE
"""Octets without a line's end after which nobody listens any more: aiosmtpd would keep them all."""
COMMANDS = 100
"""Times that a session may say each command."""
BUSY = b"421 4.7.0 too many connections, come again\r\n"


class Listener:
    """All sessions of this process, and what their commands come to: aiosmtpd calls the `handle_…` of it."""

    def __init__(self, desk: Desk, settings: Bounces) -> None:
        self.desk = desk
        self.settings = settings
        self.closing = False
        self.sessions: set[Session] = set()
        self.where = ""
        self.turned_away = 0
        self.quiet = asyncio.Event()

    def accept(self) -> asyncio.Protocol:
        """For each connection."""
        if len(self.sessions) >= self.settings.limits.connections:
            self.turned_away += 1
            return TurnedAway()
        return (LmtpSession if self.settings.listen.protocol == "lmtp" else Session)(self)

    def check(self) -> Check:
        tally = self.desk.tally
        text = (
            f"listens on {self.where}; since the start {tally.recorded} receipts stored, {tally.ignored} mails without"
            f" effect, {tally.refused} addresses refused, {tally.postponed} mails and {self.turned_away} connections"
            " told to come again"
        )
        return Check("bounces", True, text)

    async def close(self) -> None:
        """Mails that are being taken may finish; everybody else is cut off, and comes again."""
        self.closing = True
        for session in list(self.sessions):
            session.leave()
        try:
            async with asyncio.timeout(self.settings.limits.closing):
                while self.sessions:
                    self.quiet.clear()
                    await self.quiet.wait()
        except TimeoutError:
            for session in list(self.sessions):
                session.cut()

    # ------------------------------------------------------------------------------------------ called by aiosmtpd

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        if len(envelope.rcpt_tos) >= server.recipients:
            return "452 4.5.3 too many recipients"
        if not self.desk.takes(address):
            return UNKNOWN
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        # there is one reply for all (of LMTP's one recipient, too), and taken by one is taken
        return min(await self.desk.take(envelope.mail_from or "", envelope.rcpt_tos, content))

    async def handle_exception(self, error: Exception) -> str:
        # what aiosmtpd itself would say and log repeats what the client wrote
        return "451 4.3.0 that was not understood"


class TurnedAway(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tcp = cast(asyncio.Transport, transport)
        tcp.write(BUSY)
        tcp.close()


class Session(SMTP):
    """One connection, with its end."""

    line_length_limit = LINE

    def __init__(self, listener: Listener) -> None:
        limits = listener.settings.limits
        super().__init__(
            listener,
            data_size_limit=limits.size,
            enable_SMTPUTF8=True,
            hostname=listener.settings.domain,
            ident="ESMTP",
            timeout=limits.idle,
            command_call_limit=COMMANDS,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            loop=asyncio.get_running_loop(),
        )
        self.recipients = limits.recipients
        self._listener = listener
        self.taking = False
        self._end: asyncio.TimerHandle | None = None
        self._line = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._end = self.loop.call_later(self._listener.settings.limits.session, self.cut)
        self._listener.sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        self._listener.sessions.discard(self)
        self._listener.quiet.set()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        end = data.rfind(b"\r\n")
        self._line = self._line + len(data) if end < 0 else len(data) - end - 2
        if self._line > ENDLESS:
            self.cut()
        else:
            super().data_received(data)

    async def smtp_DATA(self, arg: str) -> None:
        self.taking = True
        try:
            await super().smtp_DATA(arg)
        finally:
            self.taking = False
            if self._listener.closing:
                self.leave()

    def leave(self) -> None:
        """Go, unless a mail is being taken: then after it."""
        if not self.taking and self.transport is not None:
            self.transport.close()

    def cut(self) -> None:
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()


class LmtpSession(Session, LMTP):
    """LMTP has a reply for each recipient (RFC 2033 4.2), aiosmtpd only one: so there is only one recipient."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self.recipients = 1


@asynccontextmanager
async def listening(desk: Desk, settings: Bounces) -> AsyncIterator[Listener]:
    """Raises `PetitbleuError` when the port cannot be had. Processes of one installation listen side by side."""
    # it writes every command to the log, with the addresses in it
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    listener = Listener(desk, settings)
    host, port = settings.listen.host, settings.listen.port
    try:
        server = await asyncio.get_running_loop().create_server(listener.accept, host, port, reuse_port=True)
    except OSError as error:
        raise PetitbleuError(f"bounces.listen: cannot listen on {host}:{port}: {error.strerror or error}") from error
    name, number = server.sockets[0].getsockname()[:2]
    listener.where = f"{f'[{name}]' if ':' in name else name}:{number}"
    try:
        yield listener
    finally:
        server.close()
        await listener.close()
