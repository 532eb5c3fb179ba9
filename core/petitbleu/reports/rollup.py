"""Counts get coarser with age: what was written down within a minute becomes one row for each key, minutes become
hours, hours become days. Nothing is lost or counted twice by it, whenever it is interrupted and whoever counts
meanwhile. Whoever sums up also writes down how many events are open.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from types import MappingProxyType

from ..store import Store
from ..store.payload import micros, moment

logger = logging.getLogger("petitbleu.reports")

CHORE = "statistics"
EVERY = 60.0
"""Seconds between two turns, of all processes together."""
LEASE = 120
"""Seconds a process may keep others from it without an end."""
SECOND = 1_000_000
RAW, MINUTES, HOURS, DAYS = 0, 60, 3600, 86_400
"""Of rows, `span`."""


def day_of(at: int, zone: tzinfo) -> tuple[int, int]:
    """When the day of that moment begins and ends in `zone`. Days of 23 and 25 hours are as long as they are."""
    date = moment(at).astimezone(zone).date()
    begin, end = (datetime.combine(one, time(), zone).astimezone(UTC) for one in (date, date + timedelta(days=1)))
    return micros(begin), micros(end)


class Rollup:
    """Sums up, of minutes that are `minutes` old hours, of hours that are `hours` old days of `zone`; both in
    microseconds. `holder` names this process among all that use the database. Of the types in `brands`, which tells
    theirs, and of `channels`, it is written down too when no event is open."""

    def __init__(
        self,
        store: Store,
        minutes: int,
        hours: int,
        zone: tzinfo,
        holder: str,
        brands: Mapping[str, str] = MappingProxyType({}),
        channels: Collection[str] = (),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._minutes = minutes
        self._hours = max(minutes, hours)
        self._zone = zone
        self._holder = holder
        self._brands = brands
        self._channels = channels
        self._sleep = sleep

    async def watch(self) -> None:
        """Whenever it is time and nobody else does it, until cancelled."""
        while True:
            await self._sleep(EVERY)
            try:
                await self.turn()
            except Exception as error:
                logger.warning("counts cannot be summed up: %s: %s", type(error).__name__, error)

    async def turn(self) -> int | None:
        """Sum up what is due; how many periods that were. None: it is not time, or another process is at it."""
        lease = (self._holder, LEASE * SECOND, CHORE, self._holder, int(EVERY * SECOND) // 2)
        taken = await self._store.rows("take_chore", *lease)
        if not taken:
            return None
        now = int(taken[0]["now"])
        try:
            await self.sound(now)
            done = await self.sum_up(now)
            await self._store.rows("complete_chore", now, now, "", CHORE, self._holder)
        finally:
            await self._store.rows("leave_chore", CHORE, self._holder)
        return done

    async def sound(self, now: int) -> None:
        """Write down how many events are open: of each type, each channel and each brand, and of all together."""
        open_: Counter[tuple[str, str, str]] = Counter({("", "", ""): 0})
        open_.update({(name, "", ""): 0 for name in self._brands})
        open_.update({("", name, ""): 0 for name in self._channels})
        open_.update({("", "", brand): 0 for brand in self._brands.values() if brand})
        for row in await self._store.rows("depth_by_type"):
            brand = self._brands.get(row["type"], "")
            for key in {("", "", ""), (row["type"], "", ""), ("", row["channel"], ""), ("", "", brand)}:
                open_[key] += row["depth"]
        start = _floor(now, MINUTES)
        rows = [dict(zip(_SOUNDED, (start, *key, depth), strict=True)) for key, depth in open_.items()]
        await self._store.rows("add_soundings", rows)

    async def sum_up(self, now: int) -> int:
        """Whole periods only, so that late comers are few; they become rows of their own, which count as well."""
        hours_due = _floor(now - self._minutes, HOURS)
        days_due = day_of(now - self._hours, self._zone)[0]
        return (
            await self._fold(RAW, MINUTES, _floor(now, MINUTES) - MINUTES * SECOND)
            + await self._fold(MINUTES, HOURS, hours_due)
            + await self._fold(HOURS, DAYS, days_due)
        )

    async def _fold(self, span: int, target: int, until: int) -> int:
        done = 0
        while True:
            (row,) = await self._store.rows("oldest_statistics", span, until)
            if row["start"] is None:
                return done
            start = int(row["start"])
            begin = day_of(start, self._zone)[0] if target == DAYS else _floor(start, target)
            end = day_of(start, self._zone)[1] if target == DAYS else begin + target * SECOND
            if self._store.dialect == "postgres":
                await self._store.rows("fold", span, begin, end, target, begin)
            else:
                async with self._store.transaction() as transaction:
                    await self._store.rows("fold_into", target, begin, span, begin, end, on=transaction)
                    await self._store.rows("fold_away", span, begin, end, on=transaction)
            done += 1


_SOUNDED = ("start", "type", "channel", "brand", "depth")


def _floor(at: int, span: int) -> int:
    return at - at % (span * SECOND)


__all__ = ["DAYS", "HOURS", "MINUTES", "RAW", "Rollup", "day_of"]
