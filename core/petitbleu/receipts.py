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

from .batching import Batcher
from .data import from_json, to_json
from .hosting.calls import Calls
from .lifecycle import EXPIRED, FAILED, FINAL, PENDING, SENT
from .metrics import Metrics
from .outbox.notices import Outbox
from .steps import words
from .store import Store
from .store.payload import decode, micros, optional_moment
from .suppression import Note
from .suppression.guard import Added, Suppressions
from .tally import REOPENED, Fact, Tally
from .types import Event, Receipt, ReceiptState, Scope

logger = logging.getLogger("petitbleu.receipts")

RANKS = {"": 0, **{state.value: rank for rank, state in enumerate(ReceiptState, 1)}}
MOST = 500
"""Receipts of one transaction."""
AGAIN = ((10, 0.5), (60, 2.0), (600, 30.0), (3600, 120.0), (86_400, 1800.0))
"""Until a receipt without an attempt is as old as the first number of seconds, it is looked at every second number."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refined:
    """What an event becomes by what is now known of one of its attempts; `None`: as it was."""

    feedback: str | None = None
    status: str | None = None
    reason: str | None = None
    channel: str | None = None
    drop: bool = False
    """Its row in the queue goes: it waits for nothing any more."""
    watched: bool | None = None
    """False: nobody needs to look for a receipt any more. True: somebody has to decide how it goes on."""


@dataclass(slots=True)
class _Matched:
    """The receipts of one attempt that came together, and what they make of it."""

    event: int
    number: int
    channel: str
    receipts: list[tuple[int, Receipt]]
    parts: dict[int, str]
    changed: dict[int, str]
    before: str
    after: str


def forward(before: str, after: str) -> str:
    """The stronger of two states."""
    return after if RANKS[after] > RANKS[before] else before


def worst(parts: Sequence[str]) -> str:
    """The state of a message of several parts: it is received when every part is."""
    for state in (ReceiptState.COMPLAINED, ReceiptState.BOUNCED):
        if state in parts:
            return state.value
    if all(part == ReceiptState.RECEIVED for part in parts):
        return ReceiptState.RECEIVED.value
    return ReceiptState.UNDERWAY.value if any(parts) else ""


def refine(row: Row, number: int, channel: str, state: str, text: str) -> Refined:
    """What attempt `number`, which went by `channel`, makes of its event. `row` is the event as it is stored."""
    status, queued, last = row["status"], row["state"], row["last"] == number
    awaited = status == PENDING and row["awaits"] == number
    unsent = status == PENDING and queued is not None and not row["handed_off"] and not row["awaits"]
    if state in (ReceiptState.RECEIVED, ReceiptState.COMPLAINED):
        if awaited:
            return Refined(state, SENT, text, channel, drop=True, watched=False)
        if unsent:
            # it was to go another way, and need not any more
            return Refined(state, SENT, f"it arrived by {channel} after all: {text}", channel, drop=True, watched=False)
        if status in (FAILED, EXPIRED):
            return Refined(state, SENT, f"it arrived after all: {text}", channel, watched=False)
        return Refined(state, watched=False) if status == SENT and last else Refined()
    if state == ReceiptState.UNDERWAY:
        if awaited:
            return Refined(state, SENT, text, channel, drop=True)
        return Refined(state) if status == SENT and last else Refined()
    if awaited:
        return Refined(state, FAILED, f"it did not arrive: {text}", channel, drop=True, watched=True)
    if last and status in (SENT, FAILED):
        return Refined(state, watched=True if status == SENT else None)
    return Refined()


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
        self._coming: Batcher[Receipt, None] = Batcher(self._write, linger=0.001)
        self._arrived = asyncio.Event()

    # -------------------------------------------------------------------------------------------------------- coming

    async def record(self, receipts: Sequence[Receipt]) -> None:
        """Store them durably. Raises `Unavailable`."""
        await asyncio.gather(*(self._coming.begin(one) for one in receipts))
        self._arrived.set()

    async def _write(self, receipts: list[Receipt]) -> list[None]:
        rows = [_stored(one) for one in receipts]
        # stored a second time, a receipt says nothing new
        await self._store.again(lambda: self._store.rows("insert_receipts", rows))
        self._metrics.batch("receipts", len(rows))
        return [None] * len(receipts)

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
        news: list[tuple[Event, Receipt]] = []
        ended: list[tuple[Event, str, str]] = []
        added: list[Added] = []
        noted = False
        async with self._store.transaction() as on:
            taken = await self._store.rows("take_receipts", MOST, on=on)
            if taken:
                news, ended, added, noted = await self._apply(taken, on)
        if noted and self._outbox is not None:
            self._outbox.arrived()
        self._suppressions.count(added)
        for event, receipt in news:
            await self._calls.receipt_recorded(event, receipt)
        for event, status, reason in ended:
            await self._calls.outcome_recorded(event, status, None, reason)
        return len(taken)

    async def _apply(
        self, taken: Sequence[Row], on: Any
    ) -> tuple[list[tuple[Event, Receipt]], list[tuple[Event, str, str]], list[Added], bool]:
        found, unmatched = await self._found(taken, on)
        events: dict[int, Row] = {}
        if found:
            ids = [{"id": one} for one in sorted({one.event for one in found})]
            await self._store.rows("lock_events", ids, on=on)
            events = {row["id"]: row for row in await self._store.rows("concerned", ids, on=on)}
        refined = {
            (one.event, one.number): refine(events[one.event], one.number, one.channel, one.after, _said(one))
            for one in found
            if one.event in events and one.after != one.before
        }
        dropping = [{"id": event} for (event, _), change in sorted(refined.items()) if change.drop]
        dropped = {row["id"] for row in await self._store.rows("drop_waiting", dropping, on=on)} if dropping else set()
        # a worker has it this moment: what it makes of it comes first
        busy = {key for key, change in refined.items() if change.drop and key[0] not in dropped}
        settled = [one for one in found if (one.event, one.number) not in busy]
        now = int(taken[0]["now"])
        await self._write_down(settled, refined, events, now, on)
        looked = [
            {"id": one, "event": event, "number": number, "look": look}
            for one, event, number, look in (
                *((number, each.event, each.number, None) for each in settled for number, _ in each.receipts),
                *((row["id"], row["event"], row["number"], self._next_look(row, now)) for row in unmatched),
            )
        ]
        if looked:
            await self._store.rows("match_receipts", looked, on=on)
        later = [
            {"id": number, "event": receipt.event, "number": receipt.attempt, "look": now + 500_000}
            for each in found
            if (each.event, each.number) in busy
            for number, receipt in each.receipts
        ]
        if later:
            await self._store.rows("match_receipts", later, on=on)
        opened = self._store.vault.open
        bodies = {key: None if row["body"] is None else opened(key, row["body"]) for key, row in events.items()}
        news = [
            (decode(one.event, body), receipt)
            for one in settled
            if one.after != one.before and (body := bodies.get(one.event)) is not None
            for _, receipt in one.receipts
        ]
        notes = [note for event, receipt in news if (note := self._note(event, receipt)) is not None]
        added = await self._suppressions.attempt(notes, on)
        ended = [
            (decode(event, body), change.status, change.reason or "")
            for (event, number), change in refined.items()
            if change.status is not None and (event, number) not in busy and (body := bodies.get(event)) is not None
        ]
        noted = await self._notice(settled, refined, events, now, on)
        return news, ended, added, noted

    async def _notice(
        self,
        settled: Sequence[_Matched],
        refined: Mapping[tuple[int, int], Refined],
        events: Mapping[int, Row],
        now: int,
        on: Any,
    ) -> bool:
        if self._outbox is None:
            return False
        rows = []
        for one in settled:
            change, row = refined.get((one.event, one.number)), events.get(one.event)
            if change is None or change.feedback is None or row is None:
                continue
            last = one.receipts[-1][1]
            event = row if row["body"] is None else decode(one.event, row["body"])
            more: dict[str, Any] = {
                "status": change.status or row["status"],
                "channel": one.channel,
                "attempt": one.number,
                "provider": last.provider,
                "code": last.code,
                "feedback": str(change.feedback),
            }
            rows.append(self._outbox.row(change.feedback, one.event, event, at=now, reason=_said(one), **more))
            if change.status is not None:
                reason = change.reason or ""
                rows.append(self._outbox.row(change.status, one.event, event, at=now, reason=reason, **more))
        return await self._outbox.write(rows, on)

    def _note(self, event: Event, receipt: Receipt) -> Note | None:
        address = event.addresses.get(self._addresses.get(receipt.channel, ""), "")
        if not address:
            return None
        return self._suppressions.note_receipt(event.id, receipt.channel, address, self._brand(event), receipt)

    async def _found(self, taken: Sequence[Row], on: Any) -> tuple[list[_Matched], list[Row]]:
        """The receipts by their attempts, and those that have none."""
        names = sorted({(row["channel"], name) for row in taken for name in from_json(row["names"])})
        awaited: dict[tuple[str, str], list[Row]] = {}
        if names:
            asked = [{"channel": channel, "name": name} for channel, name in names]
            for row in await self._store.rows("find_awaited", asked, on=on):
                awaited.setdefault((row["channel"], row["name"]), []).append(row)
        targets: dict[int, tuple[int, int, int | None]] = {}
        for row in taken:
            if row["event"] is not None and row["number"] is not None:
                targets[row["id"]] = row["event"], row["number"], None
            elif (part := _part(row, awaited)) is not None:
                targets[row["id"]] = part["event"], part["number"], part["id"]
        asked = [{"event": event, "number": number} for event, number in sorted({one[:2] for one in targets.values()})]
        attempts: dict[tuple[int, int], Row] = {}
        parts: dict[tuple[int, int], dict[int, str]] = {}
        if asked:
            for row in await self._store.rows("find_attempts", asked, on=on):
                attempts[row["event"], row["number"]] = row
            for row in await self._store.rows("find_parts", asked, on=on):
                parts.setdefault((row["event"], row["number"]), {})[row["id"]] = row["state"]
        found: dict[tuple[int, int], _Matched] = {}
        unmatched = []
        for row in taken:
            target = targets.get(row["id"])
            attempt = None if target is None else attempts.get(target[:2])
            if target is None or attempt is None or attempt["channel"] != row["channel"]:
                unmatched.append(row)
                continue
            one = found.get(target[:2])
            if one is None:
                before = attempt["feedback"]
                known = dict(parts.get(target[:2], {}))
                one = found[target[:2]] = _Matched(*target[:2], row["channel"], [], known, {}, before, before)
            one.receipts.append((row["id"], _receipt(row)))
            _advance(one, target[2], row["state"])
        return list(found.values()), unmatched

    async def _write_down(
        self,
        matched: Sequence[_Matched],
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
            facts = [fact for row in after for fact in _facts(before[row["id"]], row, now, scopes.get(row["id"], ""))]
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


def _part(row: Row, awaited: Mapping[tuple[str, str], Sequence[Row]]) -> Row | None:
    """The latest part that goes by the first of a receipt's names: providers give a number again after a while."""
    for name in from_json(row["names"]):
        found = [
            one
            for one in awaited.get((row["channel"], name), ())
            if not row["provider"] or one["provider"] == row["provider"]
        ]
        if found:
            return found[-1]
    return None


def _advance(one: _Matched, part: int | None, state: str) -> None:
    if part is not None:
        new = forward(one.parts[part], state)
        if new != one.parts[part]:
            one.parts[part] = one.changed[part] = new
        one.after = forward(one.after, worst([*one.parts.values()]))
    else:
        one.after = forward(one.after, state)


def _said(one: _Matched) -> str:
    """The words of the receipt that decided."""
    telling = [receipt.text for _, receipt in one.receipts if receipt.state == one.after]
    return telling[-1] if telling else one.receipts[-1][1].text


def _facts(before: Row, after: Row, now: int, scope: str) -> list[Fact]:
    """What counts of an event that receipts have moved on. `scope` is whose fault a bounce is."""
    brand, origin = before["brand"], before["origin"]
    facts = []
    if after["status"] != before["status"]:
        if before["status"] in FINAL:
            key = (before["type"], before["channel"], brand, origin)
            facts.append(Fact(now, REOPENED, *key, before["status"]))
        cause = "receipt" if after["status"] == FAILED else ""
        facts.append(Fact(now, after["status"], before["type"], after["channel"], brand, origin, cause))
    heard = after["feedback"]
    if heard != before["feedback"] and heard != ReceiptState.UNDERWAY:
        cause = scope if heard == ReceiptState.BOUNCED else ""
        facts.append(Fact(now, heard, before["type"], after["channel"], brand, origin, cause))
    return facts


def _stored(one: Receipt) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "provider": words(one.provider, 128),
        "names": to_json([words(name, 255) for name in one.names]),
        "event": one.event,
        "number": one.attempt,
        "state": one.state.value,
        "text": words(one.text, 1000),
        "code": words(one.code, 64),
        "scope": one.scope.value,
        "permanent": int(one.permanent),
        "at": None if one.at is None else micros(one.at),
    }


def _receipt(row: Row) -> Receipt:
    return Receipt(
        channel=row["channel"],
        provider=row["provider"],
        state=ReceiptState(row["state"]),
        text=row["text"],
        names=tuple(from_json(row["names"])),
        event=row["event"],
        attempt=row["number"],
        code=row["code"],
        scope=Scope(row["scope"]),
        permanent=bool(row["permanent"]),
        at=optional_moment(row["at"]),
    )


__all__ = ["Receipts", "Refined", "forward", "refine", "worst"]
