"""How much is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tortoise.backends.base.client import BaseDBAsyncClient

from ..store import Store
from .rows import LANES, STATES


@dataclass(frozen=True, slots=True)
class Backlog:
    """Open events of one queue in one state; `oldest_due` is for how many seconds one of them has been due."""

    queue: str
    state: str
    events: int
    oldest_due: float


class Depth:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = (0.0, 0)

    def grow(self, events: int) -> None:
        """This process has stored so many more."""
        counted, depth = self._known
        self._known = (counted, depth + events)

    def known(self, clock: Callable[[], float], fresh: float = 0.5) -> int | None:
        """Open events, if they were counted within `fresh` seconds; what this process stored since is in it."""
        counted, depth = self._known
        return depth if counted and clock() - counted <= fresh else None

    async def count(self, clock: Callable[[], float], fresh: float = 0.5) -> int:
        """Open events, counted at most every `fresh` seconds."""
        known = self.known(clock, fresh)
        if known is not None:
            return known
        depth = int((await self._store.rows("depth"))[0]["depth"])
        self._known = (clock(), depth)
        return depth

    async def backlog(self, on: BaseDBAsyncClient | None = None) -> list[Backlog]:
        """Every queue in every state, also those without events. Reads the whole queue."""
        found = {(row["lane"], row["state"]): row for row in await self._store.rows("backlog", on=on)}
        backlog = []
        for queue, lane in LANES.items():
            for number, state in enumerate(STATES):
                row = found.get((lane, number), {"events": 0, "now": 0, "due": 0})
                backlog.append(Backlog(queue.value, state, row["events"], max(0.0, (row["now"] - row["due"]) / 1e6)))
        return backlog
