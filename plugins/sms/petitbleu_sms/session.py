"""One SMPP session on one connection: requests and responses, a window, the link watched (sections 2.2, 2.7, 2.8).

What the other side sends is bounded before it is kept: a unit by its greatest length, answers by what was asked, and
nothing is read while our own answers cannot be written. A request that is never answered keeps its place in the window,
since the SMSC may still hold it; when half of the window is gone that way the session is given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from .pdu import Pdu, PduRefused, Value, decode, encode, message_id, pack_head, read_head
from .spec import HEADER, HIGHEST_SEQUENCE, RESPONSE, Command, Status

UNREAD = 1_000_000
"""Octets of our answers that cannot be written yet: with more, nothing that the other side says is read."""
FAREWELL = 5.0
"""Seconds for which an SMSC that unbinds may still answer what is under way."""
LEFT = "the SMSC unbound"


class Answer(NamedTuple):
    """A response: its `command_status`, and the `message_id` of a `submit_sm_resp`."""

    status: int
    message_id: bytes
    pdu: Pdu | None = None


class SessionEnded(Exception):
    """The session takes nothing any more; this request was not sent."""


class NoAnswer(Exception):
    """The request was sent, and its response did not come: in time, or before the connection ended."""


class Request:
    """A request that waits for its response."""

    __slots__ = ("command", "future")

    def __init__(self, command: int, future: asyncio.Future[Answer]) -> None:
        self.command = command
        self.future = future


class Session(asyncio.Protocol):
    """The ESME's side. `heard` is given every `deliver_sm` and `data_sm`, to be answered with `acknowledge`; `freed` is
    called when a place in the window may have become free or the session has ended.

    `window` is how many `submit_sm` may be unanswered; `response` and `link` are seconds: for a response, and of
    silence, after which the link is tried. `longest` is in octets.
    """

    def __init__(
        self,
        window: int,
        response: float,
        link: float,
        longest: int,
        heard: Callable[[Session, Pdu], None],
        freed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._window = window
        self._response = response
        self._link = link
        self._longest = longest
        self._heard = heard
        self._freed = freed
        self._transport: asyncio.Transport | None = None
        self._requests: dict[int, Request] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._deadline: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None
        self._sequence = 0
        self._rest = b""
        self._out: list[bytes] = []
        self._choked = False
        self._deaf = False
        self._owed = 0
        self._quiet = True
        self._overdue = 0
        self._why = ""
        self._leaving: int | None = None
        """The number of the `unbind` by which the SMSC ends the session."""
        self.in_flight = 0
        """Places taken: reserved, under way, or never answered."""
        self.bound = False
        self.sends = True
        """Whether it is bound to send: as transceiver or transmitter."""
        self.ended: asyncio.Future[str] = self._loop.create_future()
        """Why, once the connection is gone."""

    # ------------------------------------------------------------------------------------------------------ for users

    @property
    def usable(self) -> bool:
        return self.bound and not self._why

    @property
    def free(self) -> int:
        """Places in the window."""
        return 0 if self._choked or not self.usable else self._window - self.in_flight

    @property
    def under_way(self) -> int:
        """Places taken by what may still be answered."""
        return self.in_flight - self._overdue

    def reserve(self) -> None:
        """Take a place, for `submit` or `give_back`."""
        self.in_flight += 1

    def give_back(self) -> None:
        self.in_flight -= 1
        self._freed()

    def submit(self, body: bytes) -> asyncio.Future[Answer]:
        """Send a `submit_sm` in a reserved place. Raises `SessionEnded`, the place given back, when nothing was sent;
        the future raises `NoAnswer`."""
        if not self.usable:
            self.give_back()
            raise SessionEnded(self._why or LEFT)
        sequence = self._next()
        future = self._await(Command.SUBMIT_SM, sequence)
        self._write(pack_head(HEADER + len(body), Command.SUBMIT_SM, 0, sequence) + body)
        return future

    async def request(self, command: Command, fields: Mapping[str, Value] | None = None) -> Answer:
        """Any other request. Raises `SessionEnded`, `NoAnswer`."""
        if self._why or self._transport is None:
            raise SessionEnded(self._why)
        sequence = self._next()
        octets = encode(Pdu(command, sequence, 0, fields or {}))
        future = self._await(command, sequence)
        self._write(octets)
        return await future

    def acknowledge(self, pdu: Pdu, status: Status) -> None:
        """Answer a `deliver_sm` or `data_sm`; nothing happens when the session has ended."""
        self._answer(Pdu(pdu.command | RESPONSE, pdu.sequence, status))

    async def unbind(self, seconds: float) -> None:
        """Take nothing more, wait for what is under way, say `unbind` and close; sections 2.2.2, 4.2."""
        try:
            async with asyncio.timeout(seconds):
                while self.usable and any(one.command == Command.SUBMIT_SM for one in self._requests.values()):
                    self.bound = False
                    await asyncio.wait([one.future for one in self._requests.values()])
                self.bound = False
                await self.request(Command.UNBIND)
        except (TimeoutError, SessionEnded, NoAnswer):
            pass
        if self._transport is not None and not self._why:
            self._why = "unbound"
            self._flush()
            self._transport.close()

    def abort(self, why: str) -> None:
        """Close at once: nothing that waits to be written goes out."""
        if not self._why:
            self._why = why
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    # --------------------------------------------------------------------------------------------- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._watch = self._loop.call_later(self._link, self._look)

    def data_received(self, data: bytes) -> None:
        self._quiet = False
        octets = self._rest + data if self._rest else data
        at, end = 0, len(octets)
        while end - at >= HEADER and not self._why:
            length, command, status, sequence = read_head(octets, at)
            if not HEADER <= length <= self._longest:
                self._answer(Pdu(Command.GENERIC_NACK, sequence, Status.ESME_RINVCMDLEN))
                self._fail(f"the SMSC sent a unit of {length} octets; {HEADER} to {self._longest} are read")
                return
            if end - at < length:
                break
            if command == Command.SUBMIT_SM_RESP:
                self._settle(sequence, command, Answer(status, message_id(octets, at, at + length)))
            else:
                self._take(octets[at : at + length], command, status, sequence)
            at += length
        self._rest = octets[at:]

    def pause_writing(self) -> None:
        """Nothing more is submitted. What comes is read on: an SMSC may be waiting for that before it reads itself."""
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        self._owed = 0
        if self._deaf and self._transport is not None:
            self._deaf = False
            self._transport.resume_reading()
        self._freed()

    def connection_lost(self, error: Exception | None) -> None:
        self._why = self._why or (str(error) if error is not None else "the SMSC closed the connection")
        self.bound = False
        self._rest = b""
        self._out.clear()
        for timer in (self._deadline, self._watch, self._farewell):
            if timer is not None:
                timer.cancel()
        requests, self._requests = self._requests, {}
        for one in requests.values():
            if not one.future.done():
                one.future.set_exception(NoAnswer(self._why))
                # whoever asked may be gone
                one.future.exception()
        if not self.ended.done():
            self.ended.set_result(self._why)
        self._freed()

    # -------------------------------------------------------------------------------------------------------- inside

    def _next(self) -> int:
        """A number that no request under way has; after the highest comes 1 again."""
        while True:
            self._sequence = self._sequence + 1 if self._sequence < HIGHEST_SEQUENCE else 1
            if self._sequence not in self._requests:
                return self._sequence

    def _await(self, command: int, sequence: int) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._requests[sequence] = Request(command, future)
        self._deadlines.append((self._loop.time() + self._response, sequence))
        if self._deadline is None:
            self._deadline = self._loop.call_at(self._deadlines[0][0], self._late)
        return future

    def _write(self, octets: bytes) -> None:
        """With whatever else is written in this turn of the loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(octets)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _settle(self, sequence: int, command: int, answer: Answer) -> None:
        request = self._requests.get(sequence)
        # what nobody asked for is not kept
        if request is None or command not in (request.command | RESPONSE, Command.GENERIC_NACK):
            return
        del self._requests[sequence]
        if request.command == Command.SUBMIT_SM:
            self.in_flight -= 1
            future = request.future
            self._overdue -= future.done() and not future.cancelled() and future.exception() is not None
        if not request.future.done():
            request.future.set_result(answer)
        while self._deadlines and self._deadlines[0][1] not in self._requests:
            self._deadlines.popleft()
        if request.command == Command.SUBMIT_SM:
            self._freed()
            if self._leaving is not None:
                self._leave_once_answered()

    def _take(self, octets: bytes, command: int, status: int, sequence: int) -> None:
        try:
            pdu = decode(octets)
        except PduRefused as refused:
            if not command & RESPONSE:
                self._answer(Pdu(Command.GENERIC_NACK, sequence, refused.status))
            return
        if command & RESPONSE:
            self._settle(sequence, command, Answer(status, b"", pdu))
        elif command in (Command.DELIVER_SM, Command.DATA_SM):
            self._heard(self, pdu)
        elif command == Command.ENQUIRE_LINK:
            self._answer(Pdu(Command.ENQUIRE_LINK_RESP, sequence))
        elif command == Command.UNBIND:
            # nothing more is asked; what is under way may still be answered, or nobody would know of it
            self.bound, self._leaving = False, sequence
            self._farewell = self._farewell or self._loop.call_later(FAREWELL, self._leave)
            self._leave_once_answered()
        elif command not in (Command.ALERT_NOTIFICATION, Command.OUTBIND):
            self._answer(Pdu(Command.GENERIC_NACK, sequence, Status.ESME_RINVCMDID))

    def _leave_once_answered(self) -> None:
        if not any(one.command == Command.SUBMIT_SM and not one.future.done() for one in self._requests.values()):
            self._leave()

    def _leave(self) -> None:
        if self._leaving is None or self._why or self._transport is None:
            return
        self._answer(Pdu(Command.UNBIND_RESP, self._leaving))
        self._flush()
        self._why = LEFT
        self._transport.close()

    def _answer(self, pdu: Pdu) -> None:
        if self._why or self._transport is None:
            return
        octets = encode(pdu)
        self._write(octets)
        if self._choked:
            self._owed += len(octets)
            if self._owed > UNREAD and not self._deaf:
                self._deaf = True
                self._transport.pause_reading()

    def _late(self) -> None:
        """Requests whose time is over."""
        self._deadline = None
        now = self._loop.time()
        while self._deadlines:
            deadline, sequence = self._deadlines[0]
            request = self._requests.get(sequence)
            if request is not None and deadline > now:
                self._deadline = self._loop.call_at(deadline, self._late)
                return
            self._deadlines.popleft()
            if request is None:
                continue
            if request.command != Command.SUBMIT_SM:
                self._fail(f"no answer to {Command(request.command).name.lower()} in {self._response:g} s")
                return
            self._overdue += 1
            # whoever asked may be gone; the place stays taken all the same
            if request.future.cancelled():
                request.future = self._loop.create_future()
            if not request.future.done():
                request.future.set_exception(NoAnswer(f"no answer to submit_sm in {self._response:g} s"))
                request.future.exception()
            if self._overdue * 2 >= self._window:
                self._fail(f"{self._overdue} submit_sm were not answered in {self._response:g} s")
                return
        if self._leaving is not None:
            self._leave_once_answered()

    def _look(self) -> None:
        """Something must have been heard since the last look, else the other side is asked whether it is there."""
        if self._quiet and self.bound and not self._why:
            future = self._await(Command.ENQUIRE_LINK, sequence := self._next())
            future.add_done_callback(_seen)
            self._write(encode(Pdu(Command.ENQUIRE_LINK, sequence)))
        self._quiet = True
        self._watch = self._loop.call_later(self._link, self._look)

    def _fail(self, why: str) -> None:
        self._flush()
        self.abort(why)


def _seen(future: asyncio.Future[Answer]) -> None:
    if not future.cancelled():
        future.exception()
