"""The callers: many connections in one process, as cheap as they can be, since they share the processors.

Of an answer they read the status, the length and the id. A caller sends its next request when the last one is
answered, unless more events are under way than `bound` allows; then it waits until the sink has caught up.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from typing import cast

from .envelopes import Requests
from .processes import Failed

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_LAST = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_ID = re.compile(rb"""(?:plId[^>]*>|"id":")(\d+)""")


class Load:
    """`sent` tells how many mails have left the server; None for a load that ends at the acknowledgement."""

    def __init__(
        self,
        host: str,
        port: int,
        requests: Requests,
        *,
        callers: int = 50,
        bound: int = 2000,
        sent: Callable[[], int] | None = None,
        first: int = 1,
        most: int | None = None,
        record: bool = False,
    ) -> None:
        self.acknowledged = 0
        self.answers: list[tuple[int, int]] = []
        """Of each answer the event's id and when it was read (CLOCK_MONOTONIC, nanoseconds), if they are recorded."""
        self.refusals: list[bytes] = []
        self._host, self._port = host, port
        self._requests = requests
        self._bound = bound
        self._sent = sent or (lambda: self.acknowledged)
        self._next = first
        self._last = None if most is None else first + most
        self._record = record
        self._callers = [Caller(self) for _ in range(callers)]
        self._idle: deque[Caller] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._flowing = False
        self._open = False

    async def __aenter__(self) -> Load:
        self._open = True
        for caller in self._callers:
            await self._connect(caller)
        self.check()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._flowing = self._open = False
        for caller in self._callers:
            caller.close()

    @property
    def under_way(self) -> int:
        return self.acknowledged - self._sent()

    @property
    def quiet(self) -> bool:
        """Every request is answered."""
        return len(self._idle) == len(self._callers)

    def start(self) -> None:
        self._flowing = True
        self.pump()

    def pump(self) -> None:
        """Let callers that wait go on, as far as the bound allows. To be called whenever the sink has taken more."""
        while self._flowing and self._idle and self.under_way < self._bound and not self._exhausted():
            self.send_one()

    def send_one(self) -> bool:
        """One request by a caller that is idle, bound or not; False if all are busy."""
        if not self._idle:
            return False
        number = self._next
        self._next += self._requests.per_call
        self._idle.popleft().send(self._requests.of(number))
        return True

    async def stop(self, patience: float = 30.0) -> None:
        """No further requests; wait for the answers."""
        self._flowing = False
        end = time.monotonic() + patience
        while not self.quiet:
            self.check()
            if time.monotonic() > end:
                raise Failed(f"{len(self._callers) - len(self._idle)} requests were never answered")
            await asyncio.sleep(0.01)

    async def finish(self, patience: float = 30.0) -> None:
        """Until `most` events are acknowledged. Raises `Failed` if none is for `patience` seconds."""
        seen, end = self.acknowledged, time.monotonic() + patience
        while not (self._exhausted() and self.quiet):
            self.check()
            if self.acknowledged > seen:
                seen, end = self.acknowledged, time.monotonic() + patience
            elif time.monotonic() > end:
                raise Failed(f"no event was acknowledged for {patience:g} s, after {seen}")
            self.pump()
            await asyncio.sleep(0.01)

    def check(self) -> None:
        """Raises `Failed` if anything was refused."""
        if self.refusals:
            raise Failed(f"{len(self.refusals)} calls failed, the first with:\n{self.refusals[0].decode()[:2000]}")

    def answered(self, caller: Caller, answer: bytes, last: bool) -> None:
        """`last`: on this connection; the caller opens another one before it goes on."""
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            self.refused(answer)
            return
        if self._requests.per_call == 1:
            found = _ID.search(answer)
            if found is None or found[1] == b"0":
                self.refused(answer)
                return
            if self._record:
                self.answers.append((int(found[1]), time.monotonic_ns()))
        self.acknowledged += self._requests.per_call
        if last:
            again = asyncio.create_task(self._connect(caller))
            self._connecting.add(again)
            again.add_done_callback(self._connecting.discard)
        else:
            self._free(caller)

    async def _connect(self, caller: Caller) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: caller, self._host, self._port)
        except OSError as error:
            self.refused(f"no connection: {error}".encode())
        else:
            self._free(caller)

    def _free(self, caller: Caller) -> None:
        self._idle.append(caller)
        if self._flowing:
            self.pump()

    def refused(self, answer: bytes) -> None:
        if self._open:
            self._flowing = False
            self.refusals.append(answer)

    def _exhausted(self) -> bool:
        return self._last is not None and self._next >= self._last


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._answer = b""
        self._last = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._last:
            self._last = False
        else:
            self._load.refused(f"the server closed the connection: {exc}".encode())

    def send(self, request: bytes) -> None:
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        answer = self._answer + data if self._answer else data
        head = answer.find(b"\r\n\r\n")
        length = _LENGTH.search(answer, 0, head + 2) if head >= 0 else None
        if length is None or len(answer) < head + 4 + int(length[1]):
            self._answer = answer
            return
        self._answer = b""
        last = _LAST.search(answer, 0, head + 2) is not None
        if last:
            self._last = True
            self.close()
        self._load.answered(self, answer, last)
