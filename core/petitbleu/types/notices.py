"""What plugins subscribe to, and what they are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

NOTICE_KINDS = (
    "accepted",
    "deferred",
    "recycled",
    "reopened",
    "paused",
    "released",
    "sent",
    "ignored",
    "failed",
    "not_covered",
    "expired",
    "underway",
    "received",
    "bounced",
    "complained",
    "alert",
)
"""What a plugin can be told of an event: it is stored; it waits for its next try; it goes on by another channel; it was
put back; it is held, or let go; each final status; each state of a receipt. `alert` is no event's: something with
thresholds came to another level."""
AlertLevel: TypeAlias = Literal["ok", "warning", "alert"]


@dataclass(frozen=True, slots=True)
class Alert:
    """How something with thresholds stands, in the whole installation. `value`, `warning` and `alert` are in `unit`."""

    name: str
    """As the setting in `alerts`, such as `error_rate`."""
    label: str
    """For people."""
    level: AlertLevel
    was: AlertLevel
    """What it was before."""
    since: datetime | None
    """When it came to this level; None: it never was at another one."""
    value: float | None
    """As it was last measured; None: it never was."""
    measured: datetime | None
    unit: Literal["events", "percent", "seconds"]
    warning: float | None
    """From here on it is worth a warning; None: never."""
    alert: float | None
    text: str
    """The value in words."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a plugin wants to be told, without fail, of which events; empty filters let everything through, and `alert`
    passes any.

    A notice that cannot be told is tried again after `first` seconds, doubled each time up to `cap`, with jitter, until
    `patience` seconds have passed. Raises `ValueError`.
    """

    name: str
    kinds: frozenset[str]
    """Out of `NOTICE_KINDS`."""
    types: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()
    concurrency: int = 4
    """Notices that each process tells at the same time, at most."""
    deadline: float = 30.0
    """Seconds that telling one may take."""
    first: float = 5.0
    cap: float = 3600.0
    patience: float = 259_200.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= 64 or not self.name.isprintable() or "/" in self.name:
            raise ValueError(f"{self.name[:80]!r} should be a name of 1 to 64 characters without /")
        if unknown := sorted(self.kinds.difference(NOTICE_KINDS)):
            raise ValueError(f"{self.name}: {unknown[0]!r} is none of {', '.join(NOTICE_KINDS)}")
        if self.concurrency < 1 or min(self.deadline, self.first, self.cap, self.patience) <= 0:
            raise ValueError(f"{self.name}: concurrency, deadline, first, cap and patience should be above 0")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened to an event, as one subscription is told it.

    It is what was so at `at`; the event may have moved on. Notices come in no certain order, and each may come more
    than once: `key` is the same every time.
    """

    subscription: str
    key: str
    kind: str
    """Out of `NOTICE_KINDS`."""
    event: int
    at: datetime
    tries: int
    """How often it was tried before."""
    type: str
    channel: str
    status: str
    """A name of the status table."""
    external_id: str = ""
    origin: str = ""
    brand: str = ""
    template: str = ""
    attempt: int = 0
    """The number of the attempt it is about; 0: none."""
    provider: str = ""
    code: str = ""
    reason: str = ""
    feedback: str = ""
    """What receipts say: `underway`, `received`, `bounced`, `complained`; empty: nothing."""
    alert: Alert | None = None
    """Of kind `alert`, where `event` is 0, and what else is said of an event is empty."""


@dataclass(frozen=True, slots=True)
class Told:
    """The notice has arrived; `text` is what the receiver said."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class NotTold:
    """Try again later; `text` says why, `retry_after` how many seconds the receiver wants to be left alone.

    With `ended` the receiver wants nothing any more: what comes is kept, and told once an operator enables the
    subscription again.
    """

    text: str
    retry_after: float | None = None
    ended: bool = False
