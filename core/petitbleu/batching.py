"""Writes that many callers share: whoever comes while one is under way goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from .errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """`write` gets items that weigh up to `most` together, or a single heavier one, and answers each, in order; `add`
    returns once its item is written. Without `weigh` each weighs 1.

    Once items come together, the next write waits `linger` seconds for more, so that fewer writes carry them; a lone
    item is never kept waiting.

    When a write of several fails, each is tried alone, so that one bad item costs the others nothing. But
    `Unavailable` is no item's fault: then the write may even have taken effect, and all are told.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Awaitable[Sequence[R]]],
        most: int = 500,
        linger: float = 0.0,
        weigh: Callable[[T], int] | None = None,
    ) -> None:
        self._write = write
        self._weigh = weigh
        self._most = most
        self._linger = linger
        self._crowded = False
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def add(self, item: T) -> R:
        return await self.begin(item)

    def begin(self, item: T) -> asyncio.Future[R]:
        """As `add`, for those who wait later or shield the answer."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                if self._linger and self._crowded and self._fitting() == len(self._waiting):
                    await asyncio.sleep(self._linger)
                self._crowded = len(self._waiting) > 1
                count = self._fitting()
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                await self._answer(batch)
        finally:
            self._runner = None

    def _fitting(self) -> int:
        """How many of those that wait go together, at least one."""
        if self._weigh is None:
            return min(self._most, len(self._waiting))
        total = 0
        for count, (item, _) in enumerate(self._waiting):
            total += self._weigh(item)
            if total > self._most:
                return max(count, 1)
        return len(self._waiting)

    async def _answer(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for one in batch:
                    await self._answer([one])
                return
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            if not answer.done():
                answer.set_result(result)
