"""Stand-ins for providers, whose behaviour is switched while messages are under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from aiohttp import web


class Answer(StrEnum):
    """What a provider does with the messages that reach it."""

    ACCEPT = "accept"
    REFUSE_ADDRESS = "refuse_address"
    """There is no such recipient."""
    REFUSE_MESSAGE = "refuse_message"
    """The recipient may be right; this message is not taken, now or later."""
    LATER = "later"
    """It takes nothing at the moment, whoever it is for."""
    HANG = "hang"
    """It has the message and says nothing until it is told otherwise; then it does that."""
    RESET = "reset"
    """It has the message and breaks the connection off."""
    UNREACHABLE = "unreachable"
    """Nothing listens where it was."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it reached the provider: for whom, with what text in it, by which key a repeat is known (where the
    provider is given one), and what became of it."""

    to: str
    text: str
    key: str
    answer: Answer

    @property
    def kept(self) -> bool:
        """Whether somebody may get it."""
        return self.answer not in (Answer.REFUSE_ADDRESS, Answer.REFUSE_MESSAGE, Answer.LATER)


class Provider:
    """A stand-in for a provider: the part that is the same for all.

    What listens in its place awaits `take` with each message that came in whole, before it answers, and then does what
    `take` gave. A subclass says how to `open` and `close`; `listening` does both.
    """

    answers: frozenset[Answer] = frozenset(Answer)
    """Those it can give. A suite skips what needs another one."""
    wait: float | None = None
    """Seconds that it asks to wait for with `LATER`, where it can."""

    def __init__(self, settings: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.settings = settings
        """Of the plugin's section: those that lead messages here."""
        self.received: list[Received] = []
        """In the order in which they came, refused ones too."""
        self.answer = Answer.ACCEPT
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()

    async def open(self) -> None:
        """Listen, where it did before; nothing if it does."""

    async def close(self) -> None:
        """Listen no more, and break off every connection."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """Inside, it is there; afterwards nothing hangs in it."""
        await self.open()
        try:
            yield self
        finally:
            await self.behave(Answer.UNREACHABLE)

    async def behave(self, answer: Answer) -> None:
        """From now on do this; what hangs is answered so."""
        self.answer = answer
        self._changed.set()
        self._changed = asyncio.Event()
        await (self.close() if answer is Answer.UNREACHABLE else self.open())

    async def take(self, to: str, text: str, key: str = "") -> Answer:
        """Keep a message and say how to answer it; while the answer is to hang, that is waited for."""
        place = len(self.received)
        self.received.append(Received(to, text, key, self.answer))
        self._arrived.set()
        while self.answer is Answer.HANG:
            await self._changed.wait()
        if place < len(self.received):
            self.received[place] = Received(to, text, key, self.answer)
        return self.answer

    async def until_received(self, count: int, within: float = 10.0) -> None:
        """Until so many messages have come in all."""
        async with asyncio.timeout(within):
            while len(self.received) < count:
                self._arrived.clear()
                await self._arrived.wait()

    @property
    def kept(self) -> list[Received]:
        """Those that somebody may get."""
        return [one for one in self.received if one.kept]


Read = Callable[[web.BaseRequest], Awaitable[tuple[str, str, str]]]
"""From a request, for whom it is, the text, and the key."""
STATUSES: Mapping[Answer, int] = MappingProxyType(
    {Answer.ACCEPT: 200, Answer.REFUSE_ADDRESS: 422, Answer.REFUSE_MESSAGE: 400, Answer.LATER: 503}
)


class HttpProvider(Provider):
    """A gateway that takes each message in an HTTP request.

    `read` finds in a request whom it is for, its text, and the key of the message (or ""). `statuses` are those that it
    answers with in place of `STATUSES`; `wait` is what `Retry-After` says with `LATER`. A subclass may `respond` in
    other ways.
    """

    def __init__(
        self, read: Read, statuses: Mapping[Answer, int] = MappingProxyType({}), wait: float | None = None
    ) -> None:
        super().__init__()
        self._read = read
        self._statuses = {**STATUSES, **statuses}
        self.wait = wait
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        if self._runner is None:
            self._runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0.1)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
            self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request: a message."""
        answer = await self.take(*await self._read(request))
        if answer in (Answer.RESET, Answer.UNREACHABLE):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return self.respond(answer)

    def respond(self, answer: Answer) -> web.StreamResponse:
        """What it answers, when it does."""
        headers = {"Retry-After": f"{self.wait:.0f}"} if answer is Answer.LATER and self.wait is not None else {}
        return web.Response(status=self._statuses[answer], text=f"{answer}", headers=headers)


@asynccontextmanager
async def http_provider(
    read: Read, statuses: Mapping[Answer, int] = MappingProxyType({}), wait: float | None = None
) -> AsyncIterator[HttpProvider]:
    """An `HttpProvider` that listens."""
    async with HttpProvider(read, statuses, wait).listening() as provider:
        yield provider


__all__ = ["Answer", "HttpProvider", "Provider", "Received", "http_provider"]
