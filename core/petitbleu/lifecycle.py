"""The statuses of an event, and which may follow which.

    pending ⇄ processing ─► sent ─► (received, bounced: feedback, recorded beside the status)
       │           ├──────► ignored       suppressed, or excluded by a check
       │           ├──────► failed        refused for good
       │           ├──────► not_covered   no published template, or nobody serves the channel
       │           └──────► expired       too late, or no try left
    paused ⇄ pending ─► ignored    cancelled by an operator
    ignored, failed, not_covered, expired ─► pending    put back by an operator
    sent, ignored, failed, not_covered, expired ─► pending    sent by another channel by an operator

`processing` is never stored: it is a pending event whose queue row is leased.
"""

from __future__ import annotations

from collections.abc import Mapping

from .services import StatusName

PENDING = "pending"
PROCESSING = "processing"
SENT = "sent"
IGNORED = "ignored"
FAILED = "failed"
NOT_COVERED = "not_covered"
EXPIRED = "expired"
PAUSED = "paused"

MOST_CRASHES = 3
"""With so many an event is parked, and with one less it is tried alone."""

STATUSES: Mapping[str, StatusName] = {
    status.name: status
    for status in (
        StatusName(PENDING, "Pending", "pending", 0),
        StatusName(PROCESSING, "Pending delivery", "processing", 1),
        StatusName(SENT, "Sent", "processed", 2),
        StatusName(IGNORED, "Ignored", "ignored", 3),
        StatusName(FAILED, "Delivery error", "deliveryFailed", 4),
        StatusName(NOT_COVERED, "Not covered", "routingFailed", 5),
        StatusName(EXPIRED, "Expired", "tooOld", 6),
        StatusName(PAUSED, "Paused", "paused", 7),
    )
}

FINAL = frozenset({SENT, IGNORED, FAILED, NOT_COVERED, EXPIRED})

TRANSITIONS: Mapping[str, frozenset[str]] = {
    PENDING: frozenset({PROCESSING, PAUSED, IGNORED}),
    PROCESSING: FINAL | {PENDING},
    PAUSED: frozenset({PENDING, IGNORED}),
    SENT: frozenset(),
    **dict.fromkeys(FINAL - {SENT}, frozenset({PENDING})),
}

REFINED: Mapping[str, frozenset[str]] = {
    SENT: frozenset({PENDING}),
    FAILED: frozenset({SENT, PENDING}),
    EXPIRED: frozenset({SENT}),
    PENDING: frozenset({SENT, FAILED}),
}
"""What receipts may make of an event beyond that: it arrived after all, it did not, or it goes on by another way."""


def statuses(codes: Mapping[str, int]) -> dict[str, StatusName]:
    """The status table with an administrator's own numbers."""
    return {
        name: StatusName(name, status.label, status.rest, codes.get(name, status.code))
        for name, status in STATUSES.items()
    }
