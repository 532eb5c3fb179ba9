"""What a receipt makes of its attempt and its event: forward, never back. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..lifecycle import EXPIRED, FAILED, FINAL, PENDING, SENT
from ..reports.tally import REOPENED, Fact
from ..types import ReceiptState

RANKS = {"": 0, **{state.value: rank for rank, state in enumerate(ReceiptState, 1)}}

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
    # another attempt may have said more
    further = RANKS[state] > RANKS[row["feedback"]]
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
        return Refined(state) if status == SENT and last and further else Refined()
    if awaited:
        return Refined(state, FAILED, f"it did not arrive: {text}", channel, drop=True, watched=True)
    if last and status in (SENT, FAILED) and further:
        return Refined(state, watched=True if status == SENT else None)
    return Refined()


def moved(row: Row, change: Refined) -> Row:
    """The event as it is stored once it is changed."""
    named = {"feedback": change.feedback, "status": change.status, "reason": change.reason, "channel": change.channel}
    given = {name: value for name, value in named.items() if value is not None}
    return {**row, **given, **(dict.fromkeys(("state", "handed_off", "awaits")) if change.drop else {})}


def facts_of(before: Row, after: Row, now: int, scope: str) -> list[Fact]:
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


__all__ = ["RANKS", "Refined", "facts_of", "forward", "moved", "refine", "worst"]
