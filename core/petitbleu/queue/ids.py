"""Ids of events: the number of the installation, and one that only grows."""

from __future__ import annotations

import asyncio

from ..store import CELL_SHIFT, Store

ID_BLOCK = 1000


class Ids:
    """They come in blocks taken ahead in a commit of their own; a crash leaves a gap, never a repeat."""

    def __init__(self, store: Store, cell: int) -> None:
        self._store = store
        self._high = cell << CELL_SHIFT
        self._ahead: list[int] = []
        self._lock = asyncio.Lock()

    async def take(self, count: int) -> list[int]:
        async with self._lock:
            if len(self._ahead) < count:
                block = max(ID_BLOCK, count)
                last = int((await self._store.rows("take_ids", block, "events"))[0]["value"])
                self._ahead = [self._high | key for key in range(last - block + 1, last + 1)]
            taken, self._ahead = self._ahead[:count], self._ahead[count:]
            return taken
