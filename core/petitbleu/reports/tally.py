"""What is counted of events, always in the transaction that changes them, so that the counts are as true as the events.

A *fact* happened to some events in a minute: they were accepted, they ended as `sent`, they were opened again. Who
changes an event writes a row of `statistics` with it, and adds to no row that is there: no two transactions wait for
each other. `rollup.py` makes few rows of many, `reports.py` reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..store import Store

ACCEPTED = "accepted"
REOPENED = "reopened"
"""An event that had ended is open again; the cause is the status that it had."""
RETRIED = "retried"
"""A try failed, and the event waits for its next one."""
RECYCLED = "recycled"
"""An event goes on by another channel."""
QUEUED = "queued"
"""No event's: how many were open when somebody looked."""
OTHER = "other"
"""Stands for origins beyond those that are told apart."""

MINUTE = 60_000_000
BINS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Seconds up to which a processing time is counted in the columns `bin0`, `bin1`, …; the last has what is longer."""
_EDGES = tuple(int(seconds * 1_000_000) for seconds in BINS)


@dataclass(frozen=True, slots=True)
class Fact:
    """One event's part in the counts. `at` is in microseconds; `brand` "" is that of the event's type."""

    at: int
    fact: str
    type: str
    channel: str
    brand: str
    origin: str
    cause: str = ""


def bin_of(micros: int) -> int:
    """The number of the bin for a time."""
    return bisect_left(_EDGES, micros)


class Tally:
    """Under which brand and origin an event is counted. `brands` maps event types to theirs; of origins, which callers
    make up, `most` are told apart."""

    def __init__(self, brands: Mapping[str, str] = MappingProxyType({}), most: int = 100) -> None:
        self._brands = brands
        self._most = most
        self._origins = {""}

    def brand(self, event_type: str) -> str:
        return self._brands.get(event_type, "")

    def origin(self, origin: str) -> str:
        if origin in self._origins:
            return origin
        if len(self._origins) > self._most:
            return OTHER
        self._origins.add(origin)
        return origin

    async def learn(self, store: Store) -> None:
        """Which origins have been told apart of late, so that they go on to be."""
        for row in await store.rows("counted_origins", self._most):
            self.origin(row["origin"])

    async def count(self, store: Store, facts: Iterable[Fact], on: Any) -> None:
        """Write them down with the transaction `on`."""
        counted = Counter(
            (
                fact.at - fact.at % MINUTE,
                fact.fact,
                fact.type,
                fact.channel,
                fact.brand or self.brand(fact.type),
                self.origin(fact.origin),
                fact.cause,
            )
            for fact in facts
        )
        rows = [{**dict(zip(_KEY, key, strict=True)), "events": events} for key, events in counted.items()]
        if rows:
            await store.rows("add_statistics", rows, on=on)


_KEY = ("start", "fact", "type", "channel", "brand", "counted", "cause")

__all__ = [
    "ACCEPTED",
    "BINS",
    "MINUTE",
    "OTHER",
    "QUEUED",
    "RECYCLED",
    "REOPENED",
    "RETRIED",
    "Fact",
    "Tally",
    "bin_of",
]
