"""Receipts: facts about messages that were handed over, from the moment they come to what follows from them.

A receipt is stored first, and only then does its sender hear so. Then its attempt is looked for, by the names it goes
by; one that comes before its attempt is written down is looked for again. What it says moves the parts of the message,
the attempt and the event forward, never back; receipts that are looked at together count one after the other. Where an
event might go another way, that is left to `decisions.py`.
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
from ..store.payload import readable
from ..suppression import Note
from ..suppression.guard import Added, Suppressions
from ..types import Event, Receipt
from .matching import Step, find, stored
from .refining import Refined, facts_of, moved, refine

logger = logging.getLogger("petitbleu.receipts")

MOST = 500
"""Receipts of one transaction."""
BUSY = 500_000
"""Microseconds until a receipt is looked at again whose event a worker has."""
AGAIN = ((10, 0.5), (60, 2.0), (600, 30.0), (3600, 120.0), (86_400, 1800.0))
"""Until a receipt without an attempt is as old as the first number of seconds, it is looked at every second number."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Change:
    """What one receipt makes of its event, as that is stored before and after."""

    step: Step
    refined: Refined
    before: Row
    after: Row


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
        steps, unmatched = await find(self._store, taken, on)
        ids = [{"id": one} for one in sorted({one.event for one in steps})]
        rows = {row["id"]: row for row in await self._store.rows("concerned", ids, on=on)} if ids else {}
        changes = _changes(steps, rows)
        busy = await self._busy(changes, on)
        settled = [one for one in steps if one.event not in busy]
        waiting = [one for one in steps if one.event in busy]
        changes = [one for one in changes if one.step.event not in busy]
        now = int(taken[0]["now"])
        await self._write_down(settled, changes, now, on)
        await self._look(settled, waiting, unmatched, now, on)
        vault = self._store.vault
        events = {key: found for key, row in rows.items() if (found := readable(vault, key, row["body"])) is not None}
        news = [(events[one.event], one.receipt) for one in settled if one.after != one.before and one.event in events]
        notes = [note for event, receipt in news if (note := self._note(event, receipt)) is not None]
        return _After(
            news,
            [
                (events[one.step.event], one.refined.status, one.refined.reason or "")
                for one in changes
                if one.refined.status is not None and one.step.event in events
            ],
            await self._suppressions.attempt(notes, on),
            await self._notice(changes, {**rows, **events}, now, on),
        )

    async def _busy(self, changes: Sequence[_Change], on: Any) -> set[int]:
        """Take what has ended from the queue. What a worker has this moment stays: what it makes of it comes first."""
        dropping = sorted({one.step.event for one in changes if one.refined.drop})
        if not dropping:
            return set()
        dropped = await self._store.rows("drop_waiting", [{"id": event} for event in dropping], on=on)
        return set(dropping) - {row["id"] for row in dropped}

    async def _look(
        self,
        settled: Sequence[Step],
        waiting: Sequence[Step],
        unmatched: Sequence[Row],
        now: int,
        on: Any,
    ) -> None:
        """Write down when each receipt is looked at again, if it is."""
        looks = [
            *((one.row, one.event, one.number, None) for one in settled),
            *((row["id"], row["event"], row["number"], self._next_look(row, now)) for row in unmatched),
            *((one.row, one.receipt.event, one.receipt.attempt, now + BUSY) for one in waiting),
        ]
        if looks:
            names = ("id", "event", "number", "look")
            await self._store.rows("match_receipts", [dict(zip(names, one, strict=True)) for one in looks], on=on)

    async def _notice(self, changes: Sequence[_Change], events: Mapping[int, Event | Row], now: int, on: Any) -> bool:
        if self._outbox is None:
            return False
        rows = []
        for one in changes:
            step, change = one.step, one.refined
            if change.feedback is None:
                continue
            more: dict[str, Any] = {
                "status": one.after["status"],
                "channel": step.channel,
                "attempt": step.number,
                "provider": step.receipt.provider,
                "code": step.receipt.code,
                "feedback": str(change.feedback),
            }
            for kind, reason in ((change.feedback, step.receipt.text), (change.status, change.reason or "")):
                if kind is not None:
                    rows.append(self._outbox.row(kind, step.event, events[step.event], at=now, reason=reason, **more))
        return await self._outbox.write(rows, on)

    def _note(self, event: Event, receipt: Receipt) -> Note | None:
        address = event.addresses.get(self._addresses.get(receipt.channel, ""), "")
        if not address:
            return None
        return self._suppressions.note_receipt(event.id, receipt.channel, address, self._brand(event), receipt)

    async def _write_down(self, steps: Sequence[Step], changes: Sequence[_Change], now: int, on: Any) -> None:
        for one in steps:
            self._metrics.receipt(one.receipt.channel, one.receipt.state.value)
        # of what changes more than once, the last counts
        parts = dict(one.part for one in steps if one.part is not None)
        if parts:
            rows = [{"id": part, "state": state} for part, state in parts.items()]
            await self._store.rows("record_parts", rows, on=on)
        attempts = {(one.event, one.number): one.after for one in steps if one.after != one.before}
        if attempts:
            told = [{"event": event, "number": number, "state": state} for (event, number), state in attempts.items()]
            await self._store.rows("record_attempts", told, on=on)
        events: dict[int, dict[str, Any]] = {}
        watches: dict[int, tuple[int, bool]] = {}
        for each in changes:
            event, change = each.step.event, each.refined
            if change.feedback is not None:
                row = events.setdefault(event, {"id": event, "status": None, "reason": None, "channel": None})
                row["state"] = change.feedback
                if change.status is not None:
                    row |= {"status": change.status, "reason": words(change.reason or ""), "channel": change.channel}
            if change.watched is not None:
                watches[event] = each.step.number, change.watched
        if events:
            await self._store.rows("record_feedback", now, list(events.values()), on=on)
            facts = [
                fact
                for each in changes
                for fact in facts_of(each.before, each.after, now, each.step.receipt.scope.value)
            ]
            await self._tally.count(self._store, facts, on)
        over = [{"id": event} for event, (_, watched) in watches.items() if not watched]
        if over:
            await self._store.rows("end_watches", over, on=on)
        begun = [
            {"id": event, "number": number, "failure": "bounced"}
            for event, (number, watched) in watches.items()
            if watched
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


def _changes(steps: Sequence[Step], rows: Mapping[int, Row]) -> list[_Change]:
    """What becomes of the events in `rows`, each receipt judging what the one before it left."""
    current, changes = dict(rows), []
    for one in steps:
        if one.event in current and one.after != one.before:
            before = current[one.event]
            change = refine(before, one.number, one.channel, one.after, one.receipt.text)
            current[one.event] = after = moved(before, change)
            changes.append(_Change(one, change, before, after))
    return changes


__all__ = ["Receipts"]
