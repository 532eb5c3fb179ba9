"""Retention: what has been kept long enough is deleted, a little at a time, by one process of the installation.

A walk reads events in the order they came and looks at each that has ended: its payload, its attempts or all of it may
be over. Once a day a walk begins with the oldest event; in between it sees only what can have become due since the last
one. Whatever a walk leaves behind, by a crash or an error, the next one finds again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient

from .archive import Archiver
from .errors import PetitbleuError
from .metrics import Metrics
from .store import Store
from .store.payload import moment

logger = logging.getLogger("petitbleu.retention")

CHORE = "purge"
TABLES = ("attempts", "payloads", "events")
"""Of an event, in the order in which they are deleted."""
WITH = {"attempts": ("awaited", "receipts"), "events": ("recyclings", "watches", "rendered")}
"""What goes along with a table's rows."""
_NAMES = {"idempotency": "keys", "rendered": "copies"}
"""Of tables that their statements call otherwise."""
SECOND = 1_000_000
SWEEP = 86_400 * SECOND
"""After so many microseconds a walk begins at the beginning."""
OVERLAP = 3_600 * SECOND
"""Events are found by when they came and judged by when they ended. What took longer is left to the next sweep."""
LEASE = 120
"""Seconds a process may keep others from purging without giving a sign."""
LOOK = 60.0
"""Seconds between looks at whose turn it is."""
LONGEST_PAUSE = 20.0


@dataclass(frozen=True, slots=True)
class Periods:
    """How long parts of an event are kept after it has ended, in microseconds. An event takes the rest along."""

    events: int
    payloads: int
    attempts: int

    def over(self, age: int) -> list[str]:
        """The tables in which an event that ended `age` microseconds ago has nothing to be kept any more."""
        limits = {"attempts": self.attempts, "payloads": self.payloads, "events": self.events}
        return [table for table in TABLES if age >= min(limits[table], self.events)]

    def shortest(self) -> int:
        return min(self.events, self.payloads, self.attempts)


@dataclass(frozen=True, slots=True)
class Pace:
    """`batch` rows at once; deleting takes `share` of the time, the rest is pause."""

    batch: int
    share: float


class Busy(PetitbleuError):
    """Another process is at it."""


class Purge:
    """Deletes by `periods`, which differ by event type, and `others` for the types not among them. Sessions go
    `sessions` microseconds after their end, counts of soft errors `soft_errors` after the last one, what the audit says
    after `audit`, notices after `outbox`, counts of events after `statistics`, or `statistics_of` their type. Events
    go into the `archive` before they are deleted, if there is one. `every` is in seconds. `holder` names
    this process among all that use the database; `clock` counts seconds."""

    def __init__(
        self,
        store: Store,
        periods: Mapping[str, Periods],
        others: Periods,
        sessions: int,
        every: float,
        pace: Pace,
        holder: str,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        *,
        soft_errors: int,
        audit: int,
        outbox: int,
        statistics: int,
        statistics_of: Mapping[str, int] = MappingProxyType({}),
        archive: Archiver | None = None,
    ) -> None:
        self._store = store
        self._periods = periods
        self._others = others
        self._archive = archive
        # a type without a name, since there must be one
        by_type = [{"kind": kind, "keep": keep} for kind, keep in {"": 0, **statistics_of}.items()]
        self._others_over: dict[str, tuple[Any, ...]] = {
            "rendered": (),
            "sessions": (sessions,),
            "idempotency": (),
            "suppressions": (),
            "soft_errors": (soft_errors,),
            "audit": (audit,),
            "outbox": (outbox,),
            "statistics": (statistics, by_type),
            "unmatched": (others.attempts,),
        }
        self._every = int(every * SECOND)
        self._pace = pace
        self._holder = holder
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._kept_at = 0.0
        every_period = sorted((name, *astuple(one)) for name, one in {**periods, "": others}.items())
        self._terms = hashlib.sha256(repr(every_period).encode()).hexdigest()

    # --------------------------------------------------------------------------------------------------- by itself

    async def watch(self) -> None:
        """Purge whenever it is time and nobody else does, until cancelled."""
        while True:
            await self._sleep(min(LOOK, self._every / SECOND))
            try:
                removed = await self.turn()
            except Exception as error:
                logger.warning("what is over cannot be deleted: %s: %s", type(error).__name__, error)
                continue
            if removed:
                logger.info("deleted what is over", extra={"rows": dict(removed)})

    async def turn(self) -> Counter[str] | None:
        """One walk, if one is due; how many rows it deleted, by table. None: it is not time, or another is at it."""
        taken = await self._store.rows("take_chore", *self._lease(), self._every)
        return await self._walk_held(taken[0], self._pace, everything=False) if taken else None

    # ---------------------------------------------------------------------------------------------------- at a word

    async def now(self, *, pauses: bool = True) -> Counter[str]:
        """A walk over everything, at once. Raises `Busy`."""
        taken = await self._store.rows("take_chore", *self._lease(), 0)
        if not taken:
            (row,) = await self._store.rows("chore", CHORE)
            raise Busy(
                f"{row['holder']} is at it already; unless it gives a sign, until {moment(row['until']):%H:%M:%S} UTC"
            )
        pace = self._pace if pauses else Pace(self._pace.batch, 1.0)
        return await self._walk_held(taken[0], pace, everything=True)

    async def rehearse(self) -> Counter[str]:
        """How many rows `now` would delete."""
        (row,) = await self._store.rows("now")
        found: Counter[str] = Counter()

        async def count(due: Mapping[str, list[dict[str, Any]]]) -> None:
            found["events"] += len(due["events"])
            for table in ("attempts", "payloads"):
                if due[table]:
                    found[table] += (await self._store.rows(f"count_{table}", due[table]))[0]["found"]

        await self._walk(row["now"], [(0, row["now"] - self._shortest())], self._pace.batch, count)
        for table, age in self._others_over.items():
            found[table] = (await self._store.rows(f"count_{_NAMES.get(table, table)}", *age))[0]["found"]
        if self._archive is not None:
            found["archive"] = await self._archive.overdue()
        return found

    async def age(self, on: BaseDBAsyncClient | None = None) -> float:
        """Seconds since a walk was last completed, by whomever; since 1970 when none ever was."""
        (row,) = await self._store.rows("chore", CHORE, on=on)
        return max(0.0, float(row["now"] - row["completed"]) / SECOND)

    # ------------------------------------------------------------------------------------------------------ the walk

    def _lease(self) -> tuple[str, int, str, str]:
        return self._holder, LEASE * SECOND, CHORE, self._holder

    def _shortest(self) -> int:
        return min(one.shortest() for one in (*self._periods.values(), self._others))

    async def _walk_held(self, chore: Mapping[str, Any], pace: Pace, everything: bool) -> Counter[str]:
        now = int(chore["now"])
        sweep = everything or now - chore["swept"] >= SWEEP or chore["terms"] != self._terms
        ranges = [(0, now - self._shortest())] if sweep else self._since(int(chore["completed"]), now)
        removed: Counter[str] = Counter()
        self._kept_at = self._clock()

        async def delete(due: Mapping[str, list[dict[str, Any]]]) -> None:
            began = self._clock()
            if self._archive is not None and due["events"]:
                await self._archive.keep([row["id"] for row in due["events"]])
            if any(due.values()):
                removed.update(await self._store.again(lambda: self._delete(due, now - self._shortest())))
            await self._rest(self._clock() - began, pace)

        try:
            await self._walk(now, ranges, pace.batch, delete)
            for table, age in self._others_over.items():
                removed.update(await self._clear(table, (*age, pace.batch), pace))
            if self._archive is not None:
                removed["archive"] = await self._archive.expire()
                self._count({"archive": removed["archive"]})
            swept = now if sweep else chore["swept"]
            await self._store.rows("complete_chore", now, swept, self._terms, CHORE, self._holder)
        finally:
            await self._store.rows("leave_chore", CHORE, self._holder)
        return +removed

    def _since(self, completed: int, now: int) -> list[tuple[int, int]]:
        """When events came that may have something due now and had not when the last walk was completed."""
        periods = {period for one in (*self._periods.values(), self._others) for period in astuple(one)}
        return merged((completed - OVERLAP - period, now - period) for period in periods)

    async def _walk(
        self,
        now: int,
        ranges: Sequence[tuple[int, int]],
        batch: int,
        visit: Callable[[Mapping[str, list[dict[str, Any]]]], Awaitable[None]],
    ) -> None:
        for start, end in ranges:
            created, last = start, -1
            while True:
                rows = await self._read("old_events", created, created, last, end, batch)
                due: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
                for row in rows:
                    for table in self._over(row, now):
                        due[table].append({"id": row["id"]})
                await visit(due)
                if len(rows) < batch:
                    break
                created, last = rows[-1]["created"], rows[-1]["id"]

    def _over(self, row: Mapping[str, Any], now: int) -> list[str]:
        if row["processed"] is None:
            return []
        return self._periods.get(row["type"], self._others).over(now - row["processed"])

    async def _read(self, query: str, *values: Any) -> Sequence[Mapping[str, Any]]:
        return await self._store.again(lambda: self._store.rows(query, *values))

    async def _delete(self, due: Mapping[str, Sequence[Mapping[str, Any]]], before: int) -> Counter[str]:
        removed: Counter[str] = Counter()
        seen = sorted({row["id"] for rows in due.values() for row in rows})
        async with self._store.transaction() as transaction:
            rows = await self._store.rows("lock_ended", before, [{"id": one} for one in seen], on=transaction)
            ended = {row["id"] for row in rows}
            for table in TABLES:
                gone = [row for row in due[table] if row["id"] in ended]
                for each in (*WITH.get(table, ()), table) if gone else ():
                    removed[each] += await self._store.change(f"purge_{each}", gone, on=transaction)
        self._count(removed)
        return removed

    async def _clear(self, table: str, words: tuple[Any, ...], pace: Pace) -> Counter[str]:
        removed: Counter[str] = Counter()
        query = f"purge_{_NAMES.get(table, table)}"
        gone = pace.batch
        while gone >= pace.batch:
            began = self._clock()
            gone = await self._store.change(query, *words, on=self._store.connection)
            removed[table] += gone
            await self._rest(self._clock() - began, pace)
        self._count(removed)
        return removed

    def _count(self, removed: Mapping[str, int]) -> None:
        for table, rows in removed.items():
            self._metrics.purged(table, rows)

    async def _rest(self, worked: float, pace: Pace) -> None:
        await self._sleep(min(LONGEST_PAUSE, worked * (1 / pace.share - 1)))
        if self._clock() - self._kept_at > LEASE / 4:
            if not await self._store.rows("keep_chore", LEASE * SECOND, CHORE, self._holder):
                raise Busy("another process has taken over")
            self._kept_at = self._clock()


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same times, in order, none of them twice."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
