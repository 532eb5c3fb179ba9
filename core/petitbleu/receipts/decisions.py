"""How an event goes on that was sent and did not arrive, or of which nothing is heard: with the next provider, by
another channel, or not at all.

It is decided outside of any transaction, since plugins are asked; what is heard meanwhile makes the decision void.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..failover import Failover
from ..hosting.calls import Calls
from ..lifecycle import FAILED, PENDING, SENT
from ..metrics import Metrics
from ..outbox.notices import Outbox
from ..recycling import longer
from ..reports.tally import RECYCLED, REOPENED, Fact, Tally
from ..steps import words
from ..store import Store
from ..store.payload import optional_micros, readable
from ..types import Event, ReceiptState, Recycle

MOST = 500
"""Decisions taken up at once."""
DECIDING = 60_000_000
"""Microseconds after which a decision that was begun and not made is taken up again."""

Row = Mapping[str, Any]


class Decisions:
    """`addresses` tells which address each channel needs, `failovers` what the settings say of its providers;
    `lifetime` is what an event gets that has no expiration, in microseconds like `now`, the database's clock; `opened`
    is called when there is something to claim again."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        addresses: Mapping[str, str],
        failovers: Mapping[str, Failover],
        lifetime: int,
        now: Callable[[], int],
        metrics: Metrics,
        opened: Callable[[], None],
        outbox: Outbox | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._store = store
        self._tally = tally or Tally()
        self._calls = calls
        self._addresses = addresses
        self._failovers = failovers
        self._lifetime = lifetime
        self._now = now
        self._metrics = metrics
        self._opened = opened
        self._outbox = outbox

    async def decide(self) -> int:
        """Let events go another way that did not arrive, or of which nothing is heard; how many were looked at."""
        watches = await self._store.rows("take_watches", DECIDING, MOST)
        if not watches:
            return 0
        ids = [{"id": row["id"]} for row in watches]
        events = {row["id"]: row for row in await self._store.rows("concerned", ids)}
        tried: dict[int, list[Row]] = {}
        for one in await self._store.rows("tried_with", ids):
            tried.setdefault(one["event"], []).append(one)
        for watch in watches:
            row = events.get(watch["id"])
            undecided = row is not None and _undecided(row, watch)
            event = readable(self._store.vault, row["id"], row["body"]) if row is not None and undecided else None
            if row is None or event is None:
                await self._store.rows("end_watches", [{"id": watch["id"]}])
                continue
            await self._decide(watch, row, event, tried.get(watch["id"], []))
        return len(watches)

    async def _decide(self, watch: Row, row: Row, event: Event, tried: Sequence[Row]) -> None:
        channel, failure = row["channel"], watch["failure"]
        been = list(dict.fromkeys(one["channel"] for one in tried)) or [channel]
        target, chain, avoid, reason = "", "", "", ""
        expires = optional_micros(event.expiration)
        if expires is None or expires > self._now():
            failover = self._failovers.get(channel, Failover())
            wanted = failover.bounced if failure == "bounced" else failover.no_receipt is not None
            used = list(dict.fromkeys(one["provider"] for one in tried if one["channel"] == channel))
            if wanted and failover.after(used) is not None:
                target, avoid = channel, " ".join(used)
                chain = " ".join(been) if len(been) > 1 else ""
                reason = f"tried with another provider: {_FAILURES[failure]}"
            else:
                answer = await self._calls.recycle_event(event, channel, failure, row["reason"])
                if answer is not None and self._possible(event, answer):
                    chain = longer(" ".join(been), channel, answer.channel) or ""
                    target, reason = (
                        (answer.channel, f"goes on by {answer.channel}: {answer.reason}") if chain else ("", "")
                    )
        if await self._go_on(watch, row, event, target, chain, avoid, reason) and target:
            self._opened()
            if self._outbox is not None:
                self._outbox.arrived()
            await self._calls.outcome_recorded(event, PENDING, None, reason)

    def _possible(self, event: Event, answer: Recycle) -> bool:
        return bool(event.addresses.get(self._addresses.get(answer.channel, "")))

    async def _go_on(
        self, watch: Row, row: Row, event: Event, target: str, chain: str, avoid: str, reason: str
    ) -> bool:
        """Compare-and-set: what was heard meanwhile counts."""
        ids = [{"id": event.id}]
        async with self._store.transaction() as on:
            await self._store.rows("lock_events", ids, on=on)
            (now_row,) = await self._store.rows("concerned", ids, on=on) or ({},)
            if not now_row or any(now_row[key] != row[key] for key in ("status", "feedback", "last")):
                return False
            await self._store.rows("end_watches", ids, on=on)
            if not target:
                return True
            back = {
                "id": event.id,
                "status": row["status"],
                "priority": event.priority,
                "channel": target,
                "chain": chain,
                "avoid": avoid,
                "due": 0,
                "expires": optional_micros(event.expiration),
            }
            if not await self._store.rows("reopen", words(reason), [back], on=on):
                return False
            await self._store.rows("insert_reopened", self._lifetime, [back], on=on)
            key = (event.type, row["channel"], row["brand"], row["origin"])
            facts = [Fact(self._now(), REOPENED, *key, row["status"])]
            if target != row["channel"]:
                facts.append(Fact(self._now(), RECYCLED, *key, watch["failure"]))
                moved = {"at": self._now(), "attempts": watch["number"], "channel": row["channel"], "moved": target}
                await self._store.rows("insert_recyclings", [{"id": event.id, **moved, "reason": words(reason)}], on=on)
                self._metrics.recycled(row["channel"], target, watch["failure"])
            if self._outbox is not None:
                kind = "recycled" if target != row["channel"] else "reopened"
                more = {"channel": row["channel"], "attempt": watch["number"], "feedback": row["feedback"]}
                told = self._outbox.row(kind, event.id, event, status=PENDING, at=self._now(), reason=reason, **more)
                await self._outbox.write([told], on)
            await self._tally.count(self._store, facts, on)
        return True


_FAILURES = {"bounced": "by the last one it did not arrive", "no_receipt": "no receipt came from the last one"}


def _undecided(row: Row, watch: Row) -> bool:
    if row["last"] != watch["number"] or row["status"] not in (SENT, FAILED):
        return False
    heard = {"no_receipt": ("", ReceiptState.UNDERWAY), "bounced": (ReceiptState.BOUNCED,)}
    return row["feedback"] in heard.get(watch["failure"], ())


__all__ = ["Decisions"]
