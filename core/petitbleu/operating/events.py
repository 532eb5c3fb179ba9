"""Events that are stored: found, shown with their whole way, and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from ..types import Data, Operator
from .asking import Actor, Page

EventAction = Literal["cancel", "retry", "resend", "reroute", "hold", "release"]


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event as status queries see it. `status` is a name of the status table, `template` is `type/channel vN`."""

    id: int
    type: str
    queue: str
    channel: str
    status: str
    errors: int
    created: datetime
    processing: datetime | None
    processed: datetime | None
    process_requested: datetime | None
    external_id: str
    origin: str
    email: str
    mobile_phone: str
    template: str
    reason: str
    feedback: str = ""
    """What receipts say of its last attempt: `underway`, `received`, `bounced`, `complained`; empty: nothing."""
    brand: str = ""
    """In whose name it is sent."""
    cause: str = ""
    """In one word, why it ended unsent, or why its last try failed."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant: those of which all holds that is said here; what is empty leaves it open.

    `status` takes a name, REST name or number of the status table, or `open`: what is not sent yet and not paused.
    `device` is an address that is neither an email address nor a phone number, such as the token of a device.
    `created_since` is the first moment, `created_before` the first one after, both in ISO 8601, by the instance's time
    zone where they name none; so are `ended_since` and `ended_before`. `cause` is in one word why it ended unsent, or
    why its last try failed.
    """

    type: str = ""
    status: str = ""
    feedback: str = ""
    external_id: str = ""
    email: str = ""
    mobile_phone: str = ""
    device: str = ""
    channel: str = ""
    origin: str = ""
    queue: str = ""
    template: str = ""
    brand: str = ""
    cause: str = ""
    created_since: str = ""
    created_before: str = ""
    ended_since: str = ""
    ended_before: str = ""


@dataclass(frozen=True, slots=True)
class EventAttempt:
    """A hand-over to a provider. `template` is `type/channel vN`; `scope` and `code` are empty where the outcome has
    none; `awaited` is the number of parts for which a receipt may come."""

    number: int
    channel: str
    provider: str
    template: str
    started: datetime
    ended: datetime
    outcome: str
    scope: str
    code: str
    text: str
    reference: str
    feedback: str
    awaited: int
    rendered: bool = False
    """Whether `EventDesk.rendered` still has the message that was handed over."""


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """A receipt for attempt `number`: `at` by the provider's clock, `received` by ours."""

    number: int
    channel: str
    provider: str
    state: str
    text: str
    code: str
    scope: str
    permanent: bool
    at: datetime | None
    received: datetime


@dataclass(frozen=True, slots=True)
class EventRecycling:
    """That the event went on by another channel after attempt `number`."""

    at: datetime
    number: int
    origin: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event with its whole way, each part in the order of time. `data` is what the caller sent, where it was asked
    for and is still kept, without what `masking` hides."""

    event: FoundEvent
    attempts: Sequence[EventAttempt]
    receipts: Sequence[EventReceipt]
    recyclings: Sequence[EventRecycling]
    data: Mapping[str, Data] | None = None


@dataclass(frozen=True, slots=True)
class RenderedMessage:
    """What attempt `number` gave to the provider, as it was kept `until` then: `parts` by the channel's part names,
    such as `subject`, `text` and `html`; `fields` as the template set them, `files` by their names with their sizes in
    bytes. What `masking` hides is `***`. `instead_of` is whom safe mode kept it from."""

    number: int
    channel: str
    address: str
    brand: str
    template: str
    parts: Mapping[str, str]
    fields: Mapping[str, Any]
    files: Mapping[str, int]
    instead_of: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one request. `text` says what was done (or would be), or why not."""

    id: int
    ok: bool
    text: str
    new_id: int | None = None
    """Of a resend: the id of the new event."""
    missing: bool = False
    """Whether there is no such event, or none in the operator's reach."""


class EventDesk(Protocol):
    """Events that are stored. An id may lack its high byte."""

    async def search(self, wanted: EventFilter, operator: Operator, limit: int, cursor: str = "") -> Page[FoundEvent]:
        """The newest first. Right `read`."""
        ...

    async def count(self, wanted: EventFilter, operator: Operator) -> int:
        """Looks at every event that may be meant. Right `read`."""
        ...

    async def record(self, event_id: int, operator: Operator, *, data: bool = False) -> EventRecord:
        """Right `read`, and `data` for what the caller sent."""
        ...

    async def rendered(
        self, event_id: int, number: int | None, operator: Operator, *, images: bool = False
    ) -> RenderedMessage:
        """The message of attempt `number`, word for word; None: the last that is there. It is kept for event types
        with `rendered: true`, for `retention.rendered`, and not where the worker died before the provider answered;
        `EventAttempt.rendered` tells which attempts have one. Right `data`. Raises `NotFound` where there is none (any
        more). With `images` those of the message stand in its parts, for a page that can fetch nothing."""
        ...

    async def change(
        self,
        action: EventAction,
        which: Sequence[int] | EventFilter,
        actor: Actor,
        *,
        to: str = "",
        reason: str = "",
        rehearsal: bool = False,
        limit: int = 0,
        cursor: str = "",
    ) -> Page[Done]:
        """An answer for each event; with `rehearsal` nothing is changed. Right `admin`. `to` is the channel of a
        `reroute`, and of nothing else.

        Of those that a filter means, `limit` at a time (0: as many as the settings allow), those with the smallest ids
        first; the cursor goes on with the rest, and takes none that came after the first call. Raises `Unavailable`
        where the queue has no room for them: none of this call's events is changed then.
        """
        ...


@dataclass(frozen=True, slots=True)
class QueueLine:
    """What is open in one queue for one channel, in numbers of events: `ready` to be sent, to be tried `later`, with a
    worker (`sending`), `paused`. `oldest` is for how many seconds one of the ready ones has been due."""

    queue: str
    channel: str
    ready: int
    later: int
    sending: int
    paused: int
    oldest: float

    @property
    def events(self) -> int:
        return self.ready + self.later + self.sending + self.paused
