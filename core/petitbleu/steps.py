"""What is claimed, what becomes of it, and how one hand-over went: the values that queue, worker and delivery exchange,
and the row that the database gets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .lifecycle import FINAL, PROCESSING, TRANSITIONS
from .suppression import Note
from .types import Event


@dataclass(slots=True)
class Claimed:
    """An event that is ours until the lease runs out. Never changed; not frozen, since that takes thrice as long."""

    id: int
    lease: str
    event: Event
    tries: int
    attempts: int
    crashes: int
    unknowns: int
    handed_off: str
    """The provider that an earlier, crashed try may have given the message to."""
    claimed_at: int
    expires: int | None


@dataclass(slots=True)
class AttemptRecord:
    """How one hand-over went. Times in microseconds; `outcome` is `delivered`, `deferred`, `failed` or `unknown`."""

    number: int
    channel: str
    provider: str
    template: str
    started: int
    ended: int
    outcome: str
    scope: str = ""
    code: str = ""
    text: str = ""
    reference: str = ""


@dataclass(slots=True)
class Step:
    """What became of a claimed event: a final status, or `pending` with the time of its next try."""

    claimed: Claimed
    status: str
    reason: str
    channel: str
    template: str = ""
    tries: int = 0
    attempts: int = 0
    unknowns: int = 0
    due: int | None = None
    attempt: AttemptRecord | None = None
    at: int = 0
    suppressed: str = ""
    """The reason of the suppression that ended it."""
    note: Note | None = None
    """What the attempt showed about the address."""

    def __post_init__(self) -> None:
        if self.status not in TRANSITIONS[PROCESSING] or (self.due is None) != (self.status in FINAL):
            raise ValueError(f"a processing event cannot become {self.status} with due={self.due}")


_NO_ATTEMPT = dict.fromkeys(
    ("number", "provider", "started", "ended", "outcome", "scope", "code", "text", "reference"),
)


def step_row(step: Step) -> dict[str, Any]:
    """For `settle`: the step and its attempt together, which share channel and template."""
    final, attempt = step.due is None, step.attempt
    row: dict[str, Any] = {
        "id": step.claimed.id,
        "lease": step.claimed.lease,
        "due": step.due,
        "tries": step.tries,
        "attempts": step.attempts,
        "unknowns": step.unknowns,
        "status": step.status,
        "channel": step.channel,
        "errors": step.attempts if not final or step.status != "sent" else step.attempts - 1,
        "processing": step.claimed.claimed_at,
        "processed": step.at if final else None,
        "process_requested": step.due,
        "template": step.template,
        "reason": _words(step.reason),
    }
    if attempt is None:
        return row | _NO_ATTEMPT
    row["number"] = attempt.number
    row["provider"] = _words(attempt.provider, 128)
    row["started"] = attempt.started
    row["ended"] = attempt.ended
    row["outcome"] = attempt.outcome
    row["scope"] = attempt.scope
    row["code"] = _words(attempt.code, 64)
    row["text"] = _words(attempt.text)
    row["reference"] = _words(attempt.reference, 255)
    return row


def _words(text: str, most: int | None = None) -> str:
    """Fit for every database: whatever a provider says, its answer must be recorded, or the message goes out again."""
    if not text.isascii() or "\0" in text:
        text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return text if most is None or len(text) <= most else text[:most]


__all__ = ["AttemptRecord", "Claimed", "Step", "step_row"]
