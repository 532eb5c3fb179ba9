"""An event on its way in and out: as a caller wrote it, as it is stored, where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from .basics import Data, Queue


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An event as a caller wrote it, before any check.

    `attributes` keep the caller's spelling of names; `children` are `ctx`, `mobileApp` and whatever else there is.
    """

    queue: Queue
    attributes: Mapping[str, str]
    children: Mapping[str, Data] = field(default_factory=dict)
    problems: Sequence[Reject] = ()
    """What whoever read it found wrong with its form. The event is refused, and its caller hears of this together with
    what else is wrong."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event that passed the door. `data` is what templates call `rtEvent`: every attribute and child."""

    id: int
    type: str
    queue: Queue
    channel: str
    data: Mapping[str, Data]
    created: datetime
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By attribute: `email`, `mobilePhone`, `registrationToken`, and what plugins' channels have for an address."""
    language: str = ""
    country: str = ""
    external_id: str = ""
    origin: str = ""
    priority: int = 5
    scheduled: datetime | None = None
    expiration: datetime | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event goes: a channel, in the name of a brand, with the template of `template` (an event type)."""

    channel: str
    brand: str
    template: str


@dataclass(frozen=True, slots=True)
class Recycle:
    """Send an event once more by another channel; `reason` stands in its history."""

    channel: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse an event at the door: which attribute, and why, in words for the caller."""

    attribute: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suppress:
    """Do not send: the event ends *ignored* with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Not before `until`; costs no try."""

    until: datetime
    reason: str
