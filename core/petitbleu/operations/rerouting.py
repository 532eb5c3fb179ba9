"""Sending an event by another channel because an operator says so: when that can be, and what is written then.

The event goes on under its own id, as one does that a rule recycles: its chain has the channels it has been through,
and overrules what routing says of the channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from ..hosting.calling import HookFailed
from ..hosting.calls import Calls
from ..lifecycle import FINAL
from ..queue.rows import HELD, LEASED
from ..reports.tally import RECYCLED, REOPENED, Fact, Tally
from ..steps import words
from ..store import Store
from ..store.payload import optional_micros
from .verdicts import Found, Verdict, prolonged

OPERATOR = "operator"
"""Why it goes on, in the counts; rules have a word for the failure."""
_LONGEST = 255


class Rerouting:
    """`addresses` tells which address each channel needs; `lifetime` is what an event gets whose expiration has passed,
    in microseconds like `now`, the database's clock."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        addresses: Mapping[str, str],
        lifetime: int,
        now: Callable[[], int],
        tally: Tally,
    ) -> None:
        self._store = store
        self._calls = calls
        self._addresses = addresses
        self._lifetime = lifetime
        self._now = now
        self._tally = tally

    def verdict(self, found: Found, to: str) -> Verdict:
        """By what is stored."""
        if found.event is None:
            return False, "what the caller sent is not kept any more, or cannot be read"
        if found.channel == to:
            return False, f"went by {to} last; retry or resend it"
        if found.state == LEASED:
            return False, "is being sent"
        if found.state == HELD:
            return False, "is paused; release it"
        if found.state is not None and found.handed_off:
            return False, f"may be with {found.handed_off} already; its receipt is awaited"
        kind = self._addresses.get(to, "")
        if not found.event.addresses.get(kind):
            return False, f"has no {kind}, which the channel {to} needs"
        return True, f"was {found.status} by {found.channel}, goes on by {to}" + prolonged(
            optional_micros(found.event.expiration), self._now(), self._lifetime
        )

    async def obstacle(self, found: Found, to: str) -> str:
        """What would keep a worker from sending it by `to`, as the plugins see it; empty: nothing."""
        if found.event is None:
            return ""
        try:
            route = await self._calls.route_event(found.event)
            if route is None:
                return "nothing says where to send it"
            template = await self._calls.resolve_template(found.event, replace(route, channel=to))
        except HookFailed as failed:
            return f"cannot be routed now: {failed}"
        return "" if template is not None else f"has no published template {route.template}/{to}"

    async def write(self, found: Sequence[Found], to: str, reason: str, on: Any) -> Set[int]:
        """Within the transaction `on`; which events go on so. What a worker did meanwhile counts."""
        rows = [row for one in sorted(found, key=lambda one: one.id) if (row := self._row(one, to)) is not None]
        ids = [{"id": row["id"]} for row in rows]
        # a purge that has them ends first; what it took is then seen to be gone
        locked = {row["id"] for row in await self._store.rows("lock_events", ids, on=on)}
        been: dict[int, list[str]] = {}
        for tried in await self._store.rows("tried_with", ids, on=on):
            been.setdefault(tried["event"], []).append(tried["channel"])
        for row in rows:
            row["chain"] = _chain(been.get(row["id"], []) or [row["left"]], to)
        waiting = [row for row in rows if row["id"] in locked and row["status"] not in FINAL]
        ended = [row for row in rows if row["id"] in locked and row["status"] in FINAL]
        moved = await self._move(waiting, reason, on) | await self._reopen(ended, reason, on)
        await self._record([row for row in rows if row["id"] in moved], to, reason, on)
        return moved

    def _row(self, one: Found, to: str) -> dict[str, Any] | None:
        event = one.event
        if event is None:
            return None
        return {
            "id": one.id,
            "status": one.status,
            "left": one.channel,
            "priority": event.priority,
            "channel": to,
            "chain": "",
            "avoid": "",
            "due": optional_micros(event.scheduled) or 0,
            "expires": optional_micros(event.expiration),
            "type": event.type,
            "origin": event.origin,
        }

    async def _move(self, rows: list[dict[str, Any]], reason: str, on: Any) -> Set[int]:
        free = await self._store.rows("lock_waiting", [{"id": row["id"]} for row in rows], on=on) if rows else []
        ours = {row["id"] for row in free}
        rows = [row for row in rows if row["id"] in ours]
        if not rows:
            return set()
        await self._store.rows("move_waiting", self._lifetime, rows, on=on)
        await self._store.rows("record_moved", words(reason), rows, on=on)
        return ours

    async def _reopen(self, rows: list[dict[str, Any]], reason: str, on: Any) -> Set[int]:
        if not rows:
            return set()
        reopened = {row["id"]: row for row in await self._store.rows("reopen", words(reason), rows, on=on)}
        back = [row for row in rows if row["id"] in reopened]
        if back:
            await self._store.rows("insert_reopened", self._lifetime, back, on=on)
            # nobody is to decide any more about what its last try came to
            await self._store.rows("end_watches", [{"id": row["id"]} for row in back], on=on)
            facts = [
                Fact(self._now(), REOPENED, row["type"], row["left"], brand["brand"], brand["origin"], row["status"])
                for row in back
                for brand in [reopened[row["id"]]]
            ]
            await self._tally.count(self._store, facts, on)
        return set(reopened)

    async def _record(self, rows: Sequence[Mapping[str, Any]], to: str, reason: str, on: Any) -> None:
        if not rows:
            return
        now = self._now()
        ids = [{"id": row["id"]} for row in rows]
        known = {row["id"]: row for row in await self._store.rows("concerned", ids, on=on)}
        moves = [
            {
                "id": row["id"],
                "at": now,
                "attempts": known[row["id"]]["last"] or 0,
                "channel": row["left"],
                "moved": to,
                "reason": words(reason),
            }
            for row in rows
        ]
        await self._store.rows("insert_recyclings", moves, on=on)
        facts = [
            Fact(now, RECYCLED, row["type"], row["left"], known[row["id"]]["brand"], row["origin"], OPERATOR)
            for row in rows
        ]
        await self._tally.count(self._store, facts, on)


def _chain(been: Sequence[str], to: str) -> str:
    """The channels it has been through, the one it is for now at the end. Whoever says so may send it back to one."""
    chain = " ".join([*dict.fromkeys(one for one in been if one != to), to])
    return chain if len(chain) <= _LONGEST else to


__all__ = ["OPERATOR", "Rerouting"]
