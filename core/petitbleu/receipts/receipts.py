"""Receipts: facts about messages that were handed over, from the moment they come to what follows from them.

A receipt is stored first, and only then does its sender hear so. Then its attempt is looked for, by the names it goes
by; one that comes before its attempt is written down is looked for again. What it says moves the parts of the message,
the attempt and the event forward, never back. Where an event might go another way, that is left to `decisions.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..batching import Batcher
from ..hosting.calls import Calls
from ..metrics import Metrics
from ..outbox.notices import Outbox
from ..reports.tally import Tally
from ..steps import words
from ..store import Store
from ..store.payload import decode
from ..suppression import Note
from ..suppression.guard import Added, Suppressions
from ..types import Event, Receipt
from .matching import Matched, find, stored
from .refining import Refined, facts_of, refine

logger = logging.getLogger("petitbleu.receipts")

MOST = 500
"""Receipts of one transaction."""
BUSY = 500_000
"""Microseconds until a receipt is looked at again whose event a worker has."""
AGAIN = ((10, 0.5), (60, 2.0), (600, 30.0), (3600, 120.0), (86_400, 1800.0))
"""Until a receipt without an attempt is as old as the first number of seconds, it is looked at every second number."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _After:
    """What follows once it is stored."""

    news: Sequence[tuple[Event, Receipt]] = ()
    ended: Sequence[tuple[Event, str, str]] = ()
    """With the new status and its reason."""
    added: Sequence[Added] = ()
    noted: bool = False
    """Whether plugins are to be told something."""


class Receipts:
    """`patience` is for how many seconds a receipt may be without an attempt; `addresses` tells which address each
    channel needs, `brand` in whose name an event was sent ("": not known), since a complaint is about one sender."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        patience: float,
        metrics: Metrics,
        suppressions: Suppressions,
        addresses: Mapping[str, str],
        brand: Callable[[Event], str],
        outbox: Outbox | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._tally = tally or Tally()
        self._calls = calls
        self._patience = patience
        self._metrics = metrics
        self._suppressions = suppressions
        self._addresses = addresses
        self._brand = brand
        self._coming: Batcher[Row, None] = Batcher(self._write, linger=0.001)
        self._arrived = asyncio.Event()

    # -------------------------------------------------------------------------------------------------------- coming

    async def record(self, receipts: Sequence[Receipt]) -> None:
        """Store them durably. Raises `Unavailable`."""
        rows = [stored(one) for one in receipts]
        await asyncio.gather(*(self._coming.begin(one) for one in rows))
        self._arrived.set()

    async def _write(self, rows: list[Row]) -> list[None]:
        # stored a second time, a receipt says nothing new
        await self._store.again(lambda: self._store.rows("insert_receipts", rows))
        self._metrics.batch("receipts", len(rows))
        return [None] * len(rows)

    # ------------------------------------------------------------------------------------------------------- running

    async def run(self, poll: float, decide: Callable[[], Awaitable[int]]) -> None:
        """Match what has come and `decide` what is due, until cancelled."""
        while True:
            self._arrived.clear()
            try:
                while await self.match() >= MOST:
                    pass
                while await decide() >= MOST:
                    pass
            except Exception as error:
                logger.warning("receipts cannot be worked on: %s: %s", type(error).__name__, error)
            try:
                async with asyncio.timeout(poll):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    # ------------------------------------------------------------------------------------------------------ matching

    async def match(self) -> int:
        """Find the attempts of up to `MOST` receipts, and write down what follows; how many were looked at."""
        after = _After()
        async with self._store.transaction() as on:
            taken = await self._store.rows("take_receipts", MOST, on=on)
            if taken:
                after = await self._apply(taken, on)
        if after.noted and self._outbox is not None:
            self._outbox.arrived()
        self._suppressions.count(after.added)
        for event, receipt in after.news:
            await self._calls.receipt_recorded(event, receipt)
        for event, status, reason in after.ended:
            await self._calls.outcome_recorded(event, status, None, reason)
        return len(taken)

    async def _apply(self, taken: Sequence[Row], on: Any) -> _After:
        found, unmatched = await find(self._store, taken, on)
        rows = await self._lock(found, on)
        refined = {
            (one.event, one.number): refine(rows[one.event], one.number, one.channel, one.after, one.said)
            for one in found
            if one.event in rows and one.after != one.before
        }
        busy = await self._busy(refined, on)
        settled = [one for one in found if (one.event, one.number) not in busy]
        waiting = [one for one in found if (one.event, one.number) in busy]
        now = int(taken[0]["now"])
        await self._write_down(settled, refined, rows, now, on)
        await self._look(settled, waiting, unmatched, now, on)
        opened = self._store.vault.open
        events = {key: decode(key, opened(key, row["body"])) for key, row in rows.items() if row["body"] is not None}
        news = [
            (events[one.event], receipt)
            for one in settled
            if one.after != one.before and one.event in events
            for _, receipt in one.receipts
        ]
        notes = [note for event, receipt in news if (note := self._note(event, receipt)) is not None]
        return _After(
            news,
            [
                (events[event], change.status, change.reason or "")
                for (event, number), change in refined.items()
                if change.status is not None and (event, number) not in busy and event in events
            ],
            await self._suppressions.attempt(notes, on),
            await self._notice(settled, refined, {**rows, **events}, rows, now, on),
        )

    async def _lock(self, found: Sequence[Matched], on: Any) -> dict[int, Row]:
        """The events that the receipts are about."""
        ids = [{"id": one} for one in sorted({one.event for one in found})]
        if not ids:
            return {}
        await self._store.rows("lock_events", ids, on=on)
        return {row["id"]: row for row in await self._store.rows("concerned", ids, on=on)}

    async def _busy(self, refined: Mapping[tuple[int, int], Refined], on: Any) -> set[tuple[int, int]]:
        """Take what has ended from the queue. What a worker has this moment stays: what it makes of it comes first."""
        dropping = [{"id": event} for (event, _), change in sorted(refined.items()) if change.drop]
        dropped = {row["id"] for row in await self._store.rows("drop_waiting", dropping, on=on)} if dropping else set()
        return {key for key, change in refined.items() if change.drop and key[0] not in dropped}

    async def _look(
        self,
        settled: Sequence[Matched],
        waiting: Sequence[Matched],
        unmatched: Sequence[Row],
        now: int,
        on: Any,
    ) -> None:
        """Write down when each receipt is looked at again, if it is."""
        looks = [
            *((number, one.event, one.number, None) for one in settled for number, _ in one.receipts),
            *((row["id"], row["event"], row["number"], self._next_look(row, now)) for row in unmatched),
            *((number, each.event, each.attempt, now + BUSY) for one in waiting for number, each in one.receipts),
        ]
        if looks:
            names = ("id", "event", "number", "look")
            await self._store.rows("match_receipts", [dict(zip(names, one, strict=True)) for one in looks], on=on)

    async def _notice(
        self,
        settled: Sequence[Matched],
        refined: Mapping[tuple[int, int], Refined],
        events: Mapping[int, Event | Row],
        before: Mapping[int, Row],
        now: int,
        on: Any,
    ) -> bool:
        if self._outbox is None:
            return False
        rows = []
        for one in settled:
            change = refined.get((one.event, one.number))
            if change is None or change.feedback is None:
                continue
            last = one.receipts[-1][1]
            more: dict[str, Any] = {
                "status": change.status or before[one.event]["status"],
                "channel": one.channel,
                "attempt": one.number,
                "provider": last.provider,
                "code": last.code,
                "feedback": str(change.feedback),
            }
            for kind, reason in ((change.feedback, one.said), (change.status, change.reason or "")):
                if kind is not None:
                    rows.append(self._outbox.row(kind, one.event, events[one.event], at=now, reason=reason, **more))
        return await self._outbox.write(rows, on)

    def _note(self, event: Event, receipt: Receipt) -> Note | None:
        address = event.addresses.get(self._addresses.get(receipt.channel, ""), "")
        if not address:
            return None
        return self._suppressions.note_receipt(event.id, receipt.channel, address, self._brand(event), receipt)

    async def _write_down(
        self,
        matched: Sequence[Matched],
        refined: Mapping[tuple[int, int], Refined],
        before: Mapping[int, Row],
        now: int,
        on: Any,
    ) -> None:
        for one in matched:
            for _, receipt in one.receipts:
                self._metrics.receipt(receipt.channel, receipt.state.value)
        parts = [{"id": part, "state": state} for one in matched for part, state in one.changed.items()]
        if parts:
            await self._store.rows("record_parts", parts, on=on)
        told = [one for one in matched if one.after != one.before]
        if not told:
            return
        rows = [{"event": one.event, "number": one.number, "state": one.after} for one in told]
        await self._store.rows("record_attempts", rows, on=on)
        changes = [(one, refined[one.event, one.number]) for one in told if (one.event, one.number) in refined]
        events = [
            {
                "id": one.event,
                "state": change.feedback,
                "status": change.status,
                "reason": change.reason and words(change.reason),
                "channel": change.channel,
            }
            for one, change in changes
            if change.feedback is not None
        ]
        if events:
            after = await self._store.rows("record_feedback", now, events, on=on)
            scopes = {one.event: one.receipts[-1][1].scope.value for one, _ in changes}
            facts = [fact for row in after for fact in facts_of(before[row["id"]], row, now, scopes.get(row["id"], ""))]
            await self._tally.count(self._store, facts, on)
        over = [{"id": one.event} for one, change in changes if change.watched is False]
        if over:
            await self._store.rows("end_watches", over, on=on)
        begun = [
            {"id": one.event, "number": one.number, "failure": "bounced"} for one, change in changes if change.watched
        ]
        if begun:
            await self._store.rows("begin_watches", begun, on=on)

    def _next_look(self, row: Row, now: int) -> int | None:
        age = (now - row["received"]) / 1e6
        if age >= self._patience:
            self._metrics.receipt_unmatched(row["channel"])
            logger.warning("a receipt of %s/%s belongs to no message known here", row["channel"], row["provider"])
            return None
        return now + int(next((pause for until, pause in AGAIN if age < until), AGAIN[-1][1]) * 1e6)


__all__ = ["Receipts"]
