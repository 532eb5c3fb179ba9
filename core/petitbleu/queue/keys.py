"""Keys of events and calls where they are stored: who comes first holds a key until its window is over."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..errors import EventsRefused
from ..store import Store
from .idempotency import First, Proposal, Proposed, Stored, resolve


async def store_keyed(
    store: Store, proposed: list[Proposed], insert: Callable[[Sequence[Proposal], Any], Awaitable[None]]
) -> list[list[Stored] | EventsRefused]:
    """Store, by `insert` and in one transaction, what is new; the answer to each call, in order."""
    keys = sorted({key for call in proposed for key in call.all_keys()})
    async with store.transaction() as transaction:
        known = await _lock(store, keys, transaction)
        answers = resolve(proposed, known)
        fresh: list[Proposal] = []
        taken: list[dict[str, Any]] = []
        for call, answer in zip(proposed, answers, strict=True):
            if isinstance(answer, EventsRefused):
                continue
            new = [one for one, stored in zip(call.events, answer, strict=True) if stored.fresh]
            fresh += new
            taken += [_taken(one.key, one, one.id) for one in new if one.key]
            if call.key and call.key not in known:
                known[call.key] = First(answer[0].id, call.digest)
                taken.append(_taken(call.key, call, answer[0].id, [one.id for one in answer]))
        if fresh:
            await insert(fresh, transaction)
        if taken:
            await store.rows("take_keys", taken, on=transaction)
        # more leave than come, so the table shrinks to what still holds, and no sweeper is needed
        await store.rows("purge_keys", 2 * len(keys), on=transaction)
    return answers


async def _lock(store: Store, keys: Sequence[str], transaction: Any) -> dict[str, First]:
    rows = await store.rows("lock_keys", [{"key": key} for key in keys], on=transaction)
    return {
        row["key"]: First(row["event"], row["digest"], tuple(json.loads(row["events"] or "[]")))
        for row in rows
        if row["holds"]
    }


def _taken(key: str, what: Proposal | Proposed, event: int, ids: list[int] | None = None) -> dict[str, Any]:
    events = None if ids is None else json.dumps(ids)
    return {"key": key, "event": event, "digest": what.digest, "until": what.until, "events": events}
