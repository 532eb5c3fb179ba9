"""Writes that many callers share: whoever comes while one is under way goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from .errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """`write` gets up to `most` items and answers each, in order; `add` returns once its item is written.

    Once items come together, the next write waits `linger` seconds for more, so that fewer writes carry them; a lone
    item is never kept waiting.

    When a write of several fails, each is tried alone, so that one bad item costs the others nothing. But
    `Unavailable` is no item's fault: then the write may even have taken effect, and all are told.
    """

    def __init__(
        self, write: Callable[[list[T]], Awaitable[Sequence[R]]], most: int = 500, linger: float = 0.0
    ) -> None:
        self._write = write
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
                if self._linger and self._crowded and len(self._waiting) < self._most:
                    await asyncio.sleep(self._linger)
                self._crowded = len(self._waiting) > 1
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._answer(batch)
        finally:
            self._runner = None

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
