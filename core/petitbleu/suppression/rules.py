"""What outcomes and receipts say of an address, and when that is enough.

Only scope *address* counts. An error for good acts at once; one that may pass is counted, each event once however often
it is tried, and acts when there are enough of them over a long enough time: a morning's outage is no dead mailbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from ..operating import SuppressionReason
from ..types import Deferred, Delivered, Failed, Outcome, Receipt, ReceiptState, Scope

MOST_COUNTED = 100
"""Soft errors of one address that are kept; more make no difference."""
LONGEST_TEXT = 500
_DAY = 86_400_000_000
Reason: TypeAlias = SuppressionReason


class Sign(StrEnum):
    """What was heard of an address."""

    GOOD = "good"
    SOFT = "soft"
    HARD = "hard"
    COMPLAINT = "complaint"


class Source(StrEnum):
    """By what it was heard. That a provider took a message says nothing about errors which receipts told of."""

    OUTCOME = "outcome"
    RECEIPT = "receipt"


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one channel, in microseconds: soft errors of `threshold` events within `period`, the last at least `span`
    after the first, suppress. `lasting` is how long an entry holds by its reason; without one, for ever."""

    threshold: int = 5
    period: int = 30 * _DAY
    span: int = _DAY
    lasting: Mapping[Reason, int] = field(default_factory=dict)

    def expires(self, reason: Reason, now: int) -> int | None:
        lasting = self.lasting.get(reason)
        return None if lasting is None else now + lasting


@dataclass(frozen=True, slots=True)
class Note:
    """What one event's message showed about its address, to be written down. `address` is a key."""

    event: int
    channel: str
    address: str
    brand: str
    sign: Sign
    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class SoftError:
    """The first soft error of an event; `at` in microseconds."""

    event: int
    at: int
    source: str


def outcome_sign(outcome: Outcome) -> Sign | None:
    """None: it says nothing about the address."""
    match outcome:
        case Delivered():
            return Sign.GOOD
        case Failed(scope=Scope.ADDRESS):
            return Sign.HARD
        case Deferred(scope=Scope.ADDRESS):
            return Sign.SOFT
        case _:
            return None


def receipt_sign(receipt: Receipt) -> Sign | None:
    """None: it says nothing about the address."""
    match receipt.state:
        case ReceiptState.RECEIVED:
            return Sign.GOOD
        case ReceiptState.COMPLAINED:
            return Sign.COMPLAINT
        case ReceiptState.BOUNCED if receipt.scope is Scope.ADDRESS:
            return Sign.HARD if receipt.permanent else Sign.SOFT
        case _:
            return None


def counted(errors: Sequence[SoftError], note: Note, now: int, terms: Terms) -> list[SoftError]:
    """The soft errors that count after `note`, the oldest first."""
    recent = [one for one in errors if one.at > now - terms.period]
    if note.sign is Sign.GOOD:
        return [one for one in recent if note.source is Source.OUTCOME and one.source != Source.OUTCOME]
    if any(one.event == note.event for one in recent):
        return recent
    # the oldest ones stay: they tell for how long it has been going on
    return [*recent[: MOST_COUNTED - 1], SoftError(note.event, now, note.source)]


def enough(errors: Sequence[SoftError], terms: Terms) -> bool:
    return len(errors) >= terms.threshold and errors[-1].at - errors[0].at >= terms.span


def line(text: str) -> str:
    """A provider's words on one line, fit for every database."""
    text = " ".join(text.encode("utf-8", "replace").decode().replace("\0", "\ufffd").split())
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


__all__ = ["MOST_COUNTED", "Note", "Reason", "Sign", "SoftError", "Source", "Terms", "counted", "enough", "line"]
