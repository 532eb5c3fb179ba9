"""The commands of one SMTP session after its set-up, and the replies to them, in groups (RFC 5321, RFC 2920).

aiosmtplib connects, greets, secures and logs in; then this protocol takes its transport over. It reads whole groups of
replies, which aiosmtplib's own does not: there a reply that comes with another one waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, cast

from aiosmtplib import SMTP, SMTPServerDisconnected

LINE = 8192
"""Octets of a line of a reply; a server that sends more talks no SMTP."""
LINES = 100
"""Lines of one reply."""


class Said(NamedTuple):
    """A reply as it came: its code, and its text with the lines joined by LF."""

    code: int
    text: str


class Nonsense(Exception):
    """The server said what is no reply, or said something unasked."""


class Dialogue(asyncio.Protocol):
    """Takes over `transport` from `before`, which is told when the connection ends. For one speaker at a time."""

    def __init__(self, transport: asyncio.Transport, before: asyncio.BaseProtocol) -> None:
        self._transport = transport
        self._before = before
        self._rest = b""
        self._lines: list[str] = []
        self._replies: list[Said] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended: Exception | None = None
        transport.set_protocol(self)

    @property
    def open(self) -> bool:
        return self._ended is None and not self._transport.is_closing()

    @property
    def answered(self) -> int:
        """Replies to what was said last."""
        return len(self._replies)

    async def say(self, octets: bytes, replies: int, seconds: float) -> Sequence[Said]:
        """Write, and give the replies; fewer than asked for when the connection ended on the way.

        Raises `TimeoutError` after `seconds` in which not all of them came, `Nonsense`, and
        `SMTPServerDisconnected` when the connection had ended before.
        """
        if not self.open:
            raise self._end()
        loop = asyncio.get_running_loop()
        self._replies = []
        self._wanted = replies
        self._waiter = waiter = loop.create_future()
        self._transport.write(octets)
        timer = loop.call_later(seconds, self._late)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
            self._wanted = 0
        return self._replies

    def _late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError("no answer in time"))

    def abort(self) -> None:
        """Close without sending what still waits to be written."""
        self._ended = self._ended or SMTPServerDisconnected("the connection was closed")
        self._transport.abort()

    # ------------------------------------------------------------------------------------------ called by the loop

    def data_received(self, data: bytes) -> None:
        if self._ended is not None:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if len(self._replies) >= self._wanted:
                # unasked: servers say good-bye at any time (RFC 5321 3.8), and what was answered stays answered
                self._ended = SMTPServerDisconnected("the server said something unasked")
                self._transport.abort()
                break
            if not self._read(line):
                self._fail(Nonsense("an answer that no client expects here"))
                return
        if len(self._rest) > LINE:
            self._fail(Nonsense("an answer that does not end"))
        elif self._waiter is not None and len(self._replies) >= self._wanted:
            self._wake()

    def _read(self, line: bytes) -> bool:
        """Whether it is a line of a reply."""
        if not line[:3].isdigit() or len(line) > LINE or len(self._lines) >= LINES:
            return False
        self._lines.append(line[4:].decode("utf-8", "surrogateescape").strip(" \t\r\n"))
        if line[3:4] != b"-":
            self._replies.append(Said(int(line[:3]), "\n".join(self._lines)))
            self._lines = []
        return True

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = self._ended or SMTPServerDisconnected(str(error or "Connection lost"))
        self._before.connection_lost(error)
        self._wake()

    def pause_writing(self) -> None:
        """A message is written whole, and none before the last one is answered: there is nothing to hold back."""

    def resume_writing(self) -> None:
        pass

    def _fail(self, error: Exception) -> None:
        self._ended = error
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if self._ended is not None and (isinstance(self._ended, Nonsense) or not self._replies):
            self._waiter.set_exception(self._end())
        else:
            self._waiter.set_result(None)

    def _end(self) -> Exception:
        return self._ended or SMTPServerDisconnected("Connection lost")


def take_over(client: SMTP) -> Dialogue:
    """The connected client's connection. Raises `SMTPServerDisconnected` when there is none any more."""
    if client.transport is None or client.protocol is None:
        raise SMTPServerDisconnected("Connection lost")
    return Dialogue(cast(asyncio.Transport, client.transport), client.protocol)
