"""Who keeps PostgreSQL from clearing away dead rows, and since when.

A row that is deleted stays until no transaction can still see it. While one is open anywhere in the database, dead rows
of the queue pile up and claiming gets slower. Here whoever holds them back is found, as far as the login may see.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient

from .store import Store
from .types import Check

logger = logging.getLogger("petitbleu.database")

FRESH = 5.0
"""Seconds for which what was read is good enough for a check."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """`seconds` is for how long the oldest one has held back dead rows, `by` says in words who that is; `dead_rows` are
    those of the queue, by the server's estimate."""

    seconds: float
    by: str
    dead_rows: int


class HorizonWatch:
    """Reads the horizon of a PostgreSQL database; of others there is none. Past `threshold` seconds the check warns.

    Of slots, standbys and other logins' transactions the server does not tell since when they hold what they hold: it
    counts from when this process first saw it. `clock` counts seconds.
    """

    def __init__(self, store: Store, threshold: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._threshold = threshold
        self._clock = clock
        self._seen: dict[tuple[str, str, str], float] = {}
        self._read_at = float("-inf")
        self._last: Horizon | None = None
        self._lock = asyncio.Lock()

    async def read(self, on: BaseDBAsyncClient | None = None) -> Horizon | None:
        if self._store.dialect == "sqlite":
            return None
        now = self._clock()
        rows = await self._store.rows("horizon", on=on)
        seen = {(row["kind"], row["name"], row["xmin"]): now for row in rows}
        self._seen = seen | {key: since for key, since in self._seen.items() if key in seen}
        held = [(self._age(row, now), row) for row in rows]
        seconds, oldest = max(held, key=lambda one: one[0], default=(0.0, {}))
        dead = await self._store.rows("dead_rows", on=on)
        self._read_at = now
        self._last = Horizon(seconds, _words(oldest), dead[0]["dead"] if dead else 0)
        return self._last

    def _age(self, row: Mapping[str, Any], now: float) -> float:
        if row["seconds"] is not None:
            return max(0.0, float(row["seconds"]))
        return now - self._seen[row["kind"], row["name"], row["xmin"]]

    async def checks(self) -> list[Check]:
        """A warning rather than a failure: messages go out as before, and no other server would be better off."""
        if self._store.dialect == "sqlite":
            return []
        try:
            async with self._lock:
                fresh = self._clock() - self._read_at < FRESH
                found = self._last if fresh else await self.read()
        except Exception as error:
            logger.warning("the database's horizon cannot be read: %s: %s", type(error).__name__, error)
            return []
        if found is None or found.seconds < self._threshold:
            return [Check("horizon", True, "dead rows can be cleared away")]
        text = f"{found.by} for {_span(found.seconds)} and keeps dead rows from being cleared away"
        return [Check("horizon", True, text, warning=True)]


def _words(row: Mapping[str, Any]) -> str:
    match row.get("kind"):
        case None:
            return ""
        case "transaction":
            of = f" of application {row['application']}" if row["application"] else ""
            state = f", {row['state']}" if row["state"] else ""
            return f"a transaction{of} (pid {row['name']}, user {row['login']}{state}) has been open"
        case "prepared":
            return f"the prepared transaction {row['name']!r} of user {row['login']} has been waiting"
        case "standby":
            return f"a query on the standby {row['application'] or '?'} (pid {row['name']}) has been running"
        case _:
            return f"the replication slot {row['name']} ({row['state']}) has stood still"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
