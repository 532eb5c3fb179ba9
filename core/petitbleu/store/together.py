"""What every event costs in writes: stored once, settled once or more, and counted each time. Each is one statement on
PostgreSQL, so that nothing waits between its parts, and one transaction on SQLite.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from .database import Store
from .queries import together, transposed

Row = Mapping[str, Any]
Parts = tuple[tuple[str, str, str], ...]

_INSERT: Parts = (
    ("queued", "insert_queue", "j"),
    ("recorded", "insert_events", "j"),
    ("kept", "insert_payloads", "j"),
    ("counted", "count_accepted", "j"),
)
_INSERT_AGAIN: Parts = (
    ("recorded", "insert_missing", "j"),
    ("missing", "SELECT j.* FROM j JOIN recorded ON recorded.id = j.id", ""),
    ("queued", "insert_queue", "missing AS j"),
    ("kept", "insert_payloads", "missing AS j"),
    ("counted", "count_accepted", "missing AS j"),
)
_CHANGED = "SELECT id FROM done UNION ALL SELECT id FROM back"
_RECORD: Parts = (
    ("recorded", "record_steps", "ours AS j"),
    ("written", "insert_attempts", "ours AS j"),
    ("counted", "count_steps", "ours AS j"),
)
_SETTLE: Parts = (
    ("done", "finish", "j"),
    ("back", "requeue", "j"),
    ("ours", f"SELECT j.* FROM j JOIN ({_CHANGED}) changed ON changed.id = j.id", ""),  # noqa: S608 - our own words
    *_RECORD,
)
_FINISH: Parts = (
    ("done", "finish", "j"),
    ("ours", "SELECT j.* FROM j JOIN done ON done.id = j.id", ""),
    *_RECORD,
)
"""Where nothing goes back into the queue, which is nearly always so."""
_FEEDBACK: Parts = (
    ("awaiting", "insert_awaited", "ours AS j"),
    ("watched", "insert_watches", "ours AS j"),
    ("recycled", "insert_recyclings", "ours AS j"),
)
"""Only where there is something of it: most statements need none."""
_ASIDE = (
    ("insert_awaited", "names"),
    ("insert_watches", "watch"),
    ("insert_recyclings", "moved"),
    ("insert_rendered", "rendered"),
)
"""On SQLite: statements for the rows that have something in a column."""
_RENDERED: Parts = (("shown", "insert_rendered", "ours AS j"),)
_NOTED: Parts = (("noted", "insert_notices", "j"),)
_NOTED_AGAIN: Parts = (("noted", "insert_notices", "missing AS j"),)
_NOTED_OURS: Parts = (("noted", "insert_notices", "ours AS j"),)
_statements = lru_cache(maxsize=32)(together)


async def insert(store: Store, rows: Sequence[Row], lease: int, on: Any = None) -> None:
    """The rows of `queue`, `events`, `payloads` and `outbox`, leased for `lease` microseconds where they name a lease.

    With `on`, within its transaction. Alone, a commit that is in doubt is followed by storing what is not there: the
    ids are nobody else's, so nothing comes twice. Raises `Unavailable`.
    """
    if store.dialect == "sqlite":
        async with store.joined(on) as transaction:
            await store.rows("insert_queue", lease, [*rows], on=transaction)
            for query in ("insert_events", "insert_payloads", "count_accepted"):
                await store.rows(query, [*rows], on=transaction)
            if told := [row for row in rows if row["told"] is not None]:
                await store.rows("insert_notices", told, on=transaction)
        return
    noted = any(row["told"] is not None for row in rows)
    parts = _INSERT + (_NOTED if noted else ())

    async def run() -> None:
        nonlocal parts
        statement, columns = _statements(parts, "SELECT", store.queries.shift)
        parts = _INSERT_AGAIN + (_NOTED_AGAIN if noted else ())
        await store.write(statement, [lease, *transposed(rows, columns)], on)

    await (run() if on is not None else store.again(run))


async def settle(
    store: Store, rows: Sequence[Row], also: Callable[[Any, set[int]], Awaitable[None]] | None = None
) -> set[int]:
    """Store what became of leased events, and the attempts among the rows; gives the ids whose lease still held.

    `also` is given the transaction and those ids, and writes what must be stored with them or not at all. A row with a
    `due` goes back into the queue, one without has ended. Raises `CommitUnknown`, after which the same may
    be done again; `settled` then tells what the first time did.
    """
    if store.dialect == "postgres":
        back = any(row["due"] is not None for row in rows)
        parts, result = (_SETTLE, _CHANGED) if back else (_FINISH, "SELECT id FROM done")
        if any(_has_feedback(row) for row in rows):
            parts += _FEEDBACK
        if any(row["rendered"] is not None for row in rows):
            parts += _RENDERED
        if any(row["told"] is not None for row in rows):
            parts += _NOTED_OURS
        statement, columns = _statements(parts, result, store.queries.shift)
        values = transposed(rows, columns)
        if also is None:
            return {row["id"] for row in await store.write(statement, values)}
        async with store.transaction() as transaction:
            ended = {row["id"] for row in await store.write(statement, values, transaction)}
            await also(transaction, ended)
        return ended
    changed: set[int] = set()
    async with store.transaction() as transaction:
        for query, some in (
            ("finish", [row for row in rows if row["due"] is None]),
            ("requeue", [row for row in rows if row["due"] is not None]),
        ):
            if some:
                changed |= {row["id"] for row in await store.rows(query, some, on=transaction)}
        ours = [row for row in rows if row["id"] in changed]
        if ours:
            await store.rows("record_steps", ours, on=transaction)
            await store.rows("count_steps", ours, on=transaction)
        if tried := [row for row in ours if row["number"] is not None]:
            await store.rows("insert_attempts", tried, on=transaction)
        for query, column in _ASIDE:
            if some := [row for row in ours if row[column] is not None]:
                await store.rows(query, some, on=transaction)
        if told := [row for row in ours if row["told"] is not None]:
            await store.rows("insert_notices", told, on=transaction)
        if also is not None:
            await also(transaction, changed)
    return changed


def _has_feedback(row: Row) -> bool:
    return row["names"] is not None or row["watch"] is not None or row["moved"] is not None


async def settled(store: Store, rows: Sequence[Row]) -> set[int]:
    """Of rows given to `settle`, the ids of those that are stored as they say."""
    return {row["id"] for row in await store.rows("settled", [*rows])}


__all__ = ["insert", "settle", "settled"]
