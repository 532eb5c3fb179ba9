"""Whose receipts they are: the attempts that rows of `receipts` belong to, by number or by the names they go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..data import from_json, to_json
from ..steps import words
from ..store import Store
from ..store.payload import micros, optional_moment
from ..types import Receipt, ReceiptState, Scope
from .refining import forward, worst

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One receipt, and what it makes of its attempt, whose receipts so far made it `before`."""

    row: int
    """The receipt's own."""
    receipt: Receipt
    event: int
    number: int
    channel: str
    part: tuple[int, str] | None
    """The part of the message that is something else now, and what."""
    before: str
    after: str


async def find(store: Store, taken: Sequence[Row], on: Any) -> tuple[list[Step], list[Row]]:
    """The receipts of known attempts, whose events are locked then, and those that have none; in the order they came
    in."""
    targets = await _targets(store, taken, on)
    attempts: dict[tuple[int, int], Row] = {}
    parts: dict[tuple[int, int], dict[int, str]] = {}
    if targets:
        # what is read before the lock may be what another process is about to change
        await store.rows("lock_events", [{"id": one} for one in sorted({one[0] for one in targets.values()})], on=on)
        asked = [{"event": event, "number": number} for event, number in sorted({one[:2] for one in targets.values()})]
        for row in await store.rows("find_attempts", asked, on=on):
            attempts[row["event"], row["number"]] = row
        for row in await store.rows("find_parts", asked, on=on):
            parts.setdefault((row["event"], row["number"]), {})[row["id"]] = row["state"]
    states = {key: row["feedback"] for key, row in attempts.items()}
    steps, unmatched = [], []
    for row in taken:
        target = targets.get(row["id"])
        attempt = None if target is None else attempts.get(target[:2])
        if target is None or attempt is None or attempt["channel"] != row["channel"]:
            unmatched.append(row)
            continue
        key, part, new = target[:2], target[2], row["state"]
        changed = None
        if part is not None:
            known = parts[key]
            before, known[part] = known[part], forward(known[part], new)
            changed = (part, known[part]) if known[part] != before else None
            new = worst([*known.values()])
        was, states[key] = states[key], forward(states[key], new)
        steps.append(Step(row["id"], _receipt(row), *key, row["channel"], changed, was, states[key]))
    return steps, unmatched


async def _targets(store: Store, taken: Sequence[Row], on: Any) -> dict[int, tuple[int, int, int | None]]:
    """Event, attempt and part by receipt."""
    names = sorted({(row["channel"], name) for row in taken for name in from_json(row["names"])})
    awaited: dict[tuple[str, str], list[Row]] = {}
    if names:
        asked = [{"channel": channel, "name": name} for channel, name in names]
        for row in await store.rows("find_awaited", asked, on=on):
            awaited.setdefault((row["channel"], row["name"]), []).append(row)
    targets: dict[int, tuple[int, int, int | None]] = {}
    for row in taken:
        if row["event"] is not None and row["number"] is not None:
            targets[row["id"]] = row["event"], row["number"], None
        elif (part := _part(row, awaited)) is not None:
            targets[row["id"]] = part["event"], part["number"], part["id"]
    return targets


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


def stored(one: Receipt) -> dict[str, Any]:
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
        "at": _known(one.at),
    }


def _known(at: datetime | None) -> int | None:
    """In microseconds; of a time that no calendar has, which could not be read again, nothing."""
    if at is None:
        return None
    try:
        return micros(at.astimezone(UTC))
    except OverflowError:
        return None


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


__all__ = ["Step", "find", "stored"]
