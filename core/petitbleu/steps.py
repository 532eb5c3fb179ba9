"""What is claimed, what becomes of it, and how one hand-over went: the values that queue, worker and delivery exchange,
and the row that the database gets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .data import to_json
from .lifecycle import FINAL, PROCESSING, SENT, TRANSITIONS
from .reports.tally import RECYCLED, RETRIED, Tally, bin_of
from .store.payload import micros
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
    chain: str = ""
    """The channels it has been through, by spaces, with the one it is for now; empty until it was recycled."""
    avoid: str = ""
    """Providers it has failed with, by spaces."""
    awaits: int = 0
    """The attempt whose receipt did not come."""
    names: str = ""
    """What receipts will call the message of that earlier try, as a JSON list."""


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
    names: tuple[str, ...] = ()
    """What receipts will call its parts."""


@dataclass(slots=True)
class Step:
    """What became of a claimed event: a final status, or `pending` with the time of its next try.

    `moved` is the channel of that next try, where it is another one. With `awaits`, an attempt's number, a receipt is
    waited for until `due`. `watch` is when it matters whether there is a receipt for a message that is sent.
    """

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
    moved: str | None = None
    chain: str = ""
    avoid: str = ""
    awaits: int = 0
    handed_off: str = ""
    watch: int | None = None
    cause: str = ""
    """In one word, why it ended unsent or its try failed."""
    suppressed: str = ""
    """The reason of the suppression that ended it."""
    note: Note | None = None
    """What the attempt showed about the address."""
    brand: str = ""
    """In whose name it was to be sent, once that is known."""
    rendered: tuple[bytes, int] | None = None
    """A copy of the message, and until when it is kept."""

    def __post_init__(self) -> None:
        if self.status not in TRANSITIONS[PROCESSING] or (self.due is None) != (self.status in FINAL):
            raise ValueError(f"a processing event cannot become {self.status} with due={self.due}")


_NO_ATTEMPT = dict.fromkeys(
    ("number", "provider", "started", "ended", "outcome", "scope", "code", "text", "reference", "names"),
)


_UNTIMED = dict.fromkeys(("queuing", "sending", "took", "bin"))


def step_row(step: Step, tally: Tally) -> dict[str, Any]:
    """For `settle`: the step and its attempt together, which share channel and template, and as what it counts."""
    final, attempt, event = step.due is None, step.attempt, step.claimed.event
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
        "reason": words(step.reason),
        "at": step.at,
        "moved": step.moved,
        "chain": step.chain,
        "avoid": step.avoid,
        "awaits": step.awaits,
        "handed_off": step.handed_off,
        "watch": step.watch,
        "told": None,
        "kind": "",
        "news": "",
        "type": event.type,
        "brand": step.brand or tally.brand(event.type),
        "counted": tally.origin(event.origin),
        "cause": step.cause,
        "fact": step.status if final else RECYCLED if step.moved is not None else RETRIED if attempt else None,
    }
    row["rendered"], row["until"] = (None, None) if step.rendered is None or attempt is None else step.rendered
    row |= _times(event, attempt, step.at) if attempt is not None and step.status == SENT else _UNTIMED
    if attempt is None:
        return row | _NO_ATTEMPT
    row["number"] = attempt.number
    row["provider"] = words(attempt.provider, 128)
    row["started"] = attempt.started
    row["ended"] = attempt.ended
    row["outcome"] = attempt.outcome
    row["scope"] = attempt.scope
    row["code"] = words(attempt.code, 64)
    row["text"] = words(attempt.text)
    row["reference"] = words(attempt.reference, 255)
    row["names"] = to_json([words(name, 255) for name in attempt.names]) if attempt.names else None
    return row


def _times(event: Event, attempt: AttemptRecord, at: int) -> dict[str, int]:
    """Of an event that is sent, in microseconds: from accepted, or from its scheduled time, to the try that sent it,
    that try, and both together."""
    created = micros(event.created)
    took = max(0, at - (created if event.scheduled is None else max(created, micros(event.scheduled))))
    sending = min(took, max(0, attempt.ended - attempt.started))
    return {"queuing": took - sending, "sending": sending, "took": took, "bin": bin_of(took)}


def words(text: str, most: int | None = None) -> str:
    """Fit for every database: whatever a provider says, its answer must be recorded, or the message goes out again."""
    if not text.isascii() or "\0" in text:
        text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return text if most is None or len(text) <= most else text[:most]


__all__ = ["AttemptRecord", "Claimed", "Step", "step_row", "words"]
