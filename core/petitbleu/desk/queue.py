"""What is open, by queue and channel, as operators look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import AccessDenied
from ..operating import QueueLine
from ..queue.rows import QUEUES
from ..store import Store
from ..types import Operator

FRESH = 1.0
"""Seconds for which a look is good enough."""
MOST_SHARE = 20
"""A look that took a second is good for so many seconds: the database has other things to do."""


class DeskQueue:
    """Implements `operating.Desk.queue`. `brands` maps event types to the brands they speak for, `clock` is in
    seconds."""

    def __init__(self, store: Store, brands: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._store = store
        self._brands = brands
        self._clock = clock
        self._until = 0.0
        self._rows: Sequence[Mapping[str, Any]] = ()
        self._turn = asyncio.Lock()

    async def __call__(self, operator: Operator) -> Sequence[QueueLine]:
        if not operator.may("read"):
            raise AccessDenied
        found: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
        for row in await self._read():
            if operator.may("read", row["type"], self._brands.get(row["type"], "")):
                found.setdefault((row["lane"], row["channel"]), []).append(row)
        return [_line(QUEUES[lane].value, channel, rows) for (lane, channel), rows in sorted(found.items())]

    async def _read(self) -> Sequence[Mapping[str, Any]]:
        async with self._turn:
            if self._clock() >= self._until:
                # a connection of its own: counting a long queue keeps nobody waiting
                async with self._store.apart() as connection:
                    started = self._clock()
                    self._rows = await self._store.rows("open_events", on=connection)
                    ended = self._clock()
                self._until = ended + max(FRESH, MOST_SHARE * (ended - started))
            return self._rows


def _line(queue: str, channel: str, rows: Sequence[Mapping[str, Any]]) -> QueueLine:
    later, ready, sending, paused = (sum(row["events"] for row in rows if row["state"] == state) for state in range(4))
    oldest = max((row["now"] - row["due"] for row in rows if row["state"] == 1), default=0)
    return QueueLine(queue, channel, ready, later, sending, paused, max(0.0, oldest / 1e6))


__all__ = ["DeskQueue"]
