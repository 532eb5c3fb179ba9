"""The outbox as operators see it: how subscriptions are doing, what is told once more, who is told again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from ..audit import Change, record
from ..errors import AccessDenied
from ..operating import Actor
from ..services import SubscriptionState
from ..store import Store, is_id, whole_id
from ..store.payload import micros, optional_moment
from .notices import Outbox

REPLAYED = 1000
"""Notices that one transaction puts back."""

_UNKNOWN: Mapping[str, Any] = {"failures": 0, "until": 0, "told": None, "failed": None, "ended": None, "answer": ""}


class OutboxDesk:
    """Implements `services.Outbox`. `names` are the subscriptions of the configuration, `most` is how many notices of
    one are counted."""

    def __init__(self, store: Store, outbox: Outbox, names: Collection[str], most: int, cell: int) -> None:
        self._store = store
        self._outbox = outbox
        self._names = names
        self._most = most
        self._cell = cell

    async def states(self) -> list[SubscriptionState]:
        kept = {row["name"]: row for row in await self._store.rows("subscription_states")}
        names = {row["name"] for row in await self._store.rows("outbox_names")}
        given_up = {row["name"]: row["notices"] for row in await self._store.rows("given_up")}
        states = []
        for name in sorted(names | {*self._names}):
            (found,) = await self._store.rows("measure_subscription", name, self._most + 1)
            row = kept.get(name, _UNKNOWN)
            paused = row["until"] if row["failures"] and row["until"] > found["now"] else None
            states.append(
                SubscriptionState(
                    name=name,
                    configured=name in self._names,
                    waiting=found["waiting"],
                    oldest=optional_moment(found["oldest"]),
                    given_up=given_up.get(name, 0),
                    failures=row["failures"],
                    told=optional_moment(row["told"]),
                    failed=optional_moment(row["failed"]),
                    paused_until=optional_moment(paused),
                    ended=optional_moment(row["ended"]),
                    text=row["answer"],
                )
            )
        return states

    async def replay(
        self,
        name: str,
        actor: Actor,
        *,
        events: Collection[int] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        given_up: bool = False,
        rehearsal: bool = False,
    ) -> int:
        _admin(actor)
        terms, values = ["subscription = ?", "state = 2" if given_up else "state > 0"], list[Any]([name])
        for words_, at in (("at >= ?", since), ("at < ?", until)):
            if at is not None:
                terms.append(words_)
                values.append(micros(at))
        if events is not None:
            ids = sorted({whole_id(one, self._cell) for one in events if is_id(one)})
            terms.append(f"event IN ({', '.join('?' * len(ids)) or 'NULL'})")
            values += ids
        where = " AND ".join(terms)
        if rehearsal:
            counted = f"SELECT count(*) AS found FROM outbox WHERE {where}"  # noqa: S608 - our own words
            return int((await self._store.read(counted, values))[0]["found"])
        page = f"SELECT id FROM outbox WHERE {where} AND id > ? ORDER BY id LIMIT ?"  # noqa: S608 - our own words
        last, replayed = 0, 0
        # what is told meanwhile is not found a second time
        while found := await self._store.read(page, [*values, last, REPLAYED]):
            last = found[-1]["id"]
            async with self._store.transaction() as on:
                rows = await self._store.rows("replay_notices", [{"id": row["id"]} for row in found], on=on)
                change = Change("outbox.replay", name, {"notices": len(rows), "first": found[0]["id"], "last": last})
                await record(self._store, [change], actor, on)
            replayed += len(rows)
        self._outbox.arrived()
        return replayed

    async def enable(self, name: str, actor: Actor) -> bool:
        _admin(actor)
        async with self._store.transaction() as on:
            enabled = await self._store.rows("enable_subscription", name, on=on)
            if enabled:
                await self._store.rows("hasten_notices", name, on=on)
                await record(self._store, [Change("outbox.enable", name)], actor, on)
        self._outbox.arrived()
        return bool(enabled)


def _admin(actor: Actor) -> None:
    """Notices are of all event types, and so is what becomes of a subscription."""
    operator = actor.operator
    if not operator.may("admin") or operator.event_types is not None or operator.brands is not None:
        raise AccessDenied


__all__ = ["OutboxDesk"]
