"""An event of our own that is pushed again and again, through all that an event goes through: messages really go out.

One process at a time pushes it (the chore `watchdog`), among those that take events. What is not known yet of the last
ones, and which was sent last, stands in the table `installation`, for all to read.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..data import elements
from ..lifecycle import SENT
from ..services import Accept
from ..store import Store
from ..store.payload import moment
from ..types import IncomingEvent, Operator, Queue

logger = logging.getLogger("petitbleu.alerts")

CHORE = "watchdog"
LEASE = 60
"""Seconds a process may keep others from it without an end."""
LOOKS = 12
"""Looks within the time between two events, to see whether the next one is due."""
LIVES = 10
"""Times of that, after which an event that was not sent is not to be sent any more, and nobody asks about it."""
SECOND = 1_000_000
WHO = Operator(CHORE, frozenset({"push"}))


@dataclass(frozen=True, slots=True)
class Beat:
    """Of the last event that was sent: `pushed`, in microseconds, and how many seconds it took until it was sent; None:
    there is none yet, and `pushed` is when they began."""

    pushed: int
    took: float | None = None

    def age(self, now: int) -> float:
        """Seconds since it was pushed."""
        return max(0.0, (now - self.pushed) / SECOND)


@dataclass(frozen=True, slots=True)
class _Record:
    beat: Beat
    last: int
    """When the last one was pushed."""
    open: Mapping[int, int]
    """By the id of those that are not known to be sent, when they were pushed."""


class Watchdog:
    """`attributes` and `ctx` are as callers give them; an event comes every `every` seconds. `holder` names this
    process among all that use the database."""

    def __init__(
        self,
        store: Store,
        event_type: str,
        queue: Queue,
        attributes: Mapping[str, str],
        ctx: Mapping[str, Any],
        every: float,
        holder: str,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self.event_type = event_type
        self._queue = queue
        self._attributes = attributes
        self._ctx = ctx
        self._every = int(every * SECOND)
        self._holder = holder
        self._sleep = sleep

    def event(self, now: int) -> IncomingEvent:
        """As it is pushed at `now`, in microseconds."""
        attributes = {
            "origin": CHORE,
            "externalId": f"{CHORE}-{now // SECOND}",
            # those that a queue has held up must not all go out once it moves
            "expiration": moment(now + LIVES * self._every).isoformat(timespec="seconds"),
            **self._attributes,
            "type": self.event_type,
        }
        return IncomingEvent(self._queue, attributes, {"ctx": elements(self._ctx)})

    async def watch(self, accept: Accept) -> None:
        """Push whenever it is time and nobody else does, until cancelled."""
        while True:
            try:
                await self.turn(accept)
            except Exception as error:
                logger.warning("the watchdog event cannot be pushed: %s: %s", type(error).__name__, error)
            await self._sleep(self._every / SECOND / LOOKS)

    async def turn(self, accept: Accept) -> int | None:
        """Push the event that is due; its id. None: it is not time, or another process is at it."""
        lease = (self._holder, LEASE * SECOND, CHORE, self._holder, self._every)
        taken = await self._store.rows("take_chore", *lease)
        if not taken:
            return None
        try:
            now = int(taken[0]["now"])
            known = await self._record()
            if known is None or now - known.last > LIVES * self._every:
                known = _Record(Beat(now), now, {})
            (pushed,) = await accept([self.event(now)], WHO)
            await self._note(_Record(known.beat, now, {**known.open, pushed: now}), now)
            await self._store.rows("complete_chore", now, now, "", CHORE, self._holder)
        finally:
            await self._store.rows("leave_chore", CHORE, self._holder)
        return pushed

    async def look(self) -> Beat | None:
        """The last one that was sent; None: there never was any."""
        record = await self._record()
        return None if record is None else record.beat

    async def _record(self) -> _Record | None:
        """As it was written down, and by what became of those events since."""
        rows = await self._store.read("SELECT value FROM installation WHERE name = ?", [CHORE])
        if not rows:
            return None
        kept = json.loads(rows[0]["value"])
        beat = Beat(kept["pushed"], kept["took"])
        waiting = {int(one): pushed for one, pushed in kept["open"].items()}
        ids = ", ".join("?" * len(waiting)) or "NULL"
        found = await self._store.read(
            f"SELECT id, processed FROM events WHERE id IN ({ids}) AND status = '{SENT}'",  # noqa: S608 - our own words
            [*waiting],
        )
        for row in found:
            pushed = waiting.pop(row["id"])
            if pushed >= beat.pushed:
                beat = Beat(pushed, max(0, row["processed"] - pushed) / SECOND)
        return _Record(beat, kept["last"], waiting)

    async def _note(self, record: _Record, now: int) -> None:
        lately = {one: pushed for one, pushed in record.open.items() if pushed > now - LIVES * self._every}
        kept = {"pushed": record.beat.pushed, "took": record.beat.took, "last": record.last, "open": lately}
        await self._store.rows("note_watchdog", json.dumps(kept))


__all__ = ["CHORE", "WHO", "Beat", "Watchdog"]
