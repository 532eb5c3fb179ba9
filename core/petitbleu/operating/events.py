"""Events that are stored: found, shown with their whole way, and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from ..types import Data, Operator, Queue
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

    A time is ISO 8601, by the instance's time zone where it names none.
    """

    type: Annotated[str, Field(description="Only of this event type.")] = ""
    status: Annotated[
        str,
        Field(description="Only with this status, by any of its names; `open` is what is not sent yet and not paused."),
    ] = ""
    feedback: Annotated[
        str, Field(description="Only those of which receipts say this: underway, received, bounced, complained.")
    ] = ""
    external_id: Annotated[str, Field(description="Only with this external id, which their caller gave.")] = ""
    email: Annotated[str, Field(description="Only to this email address.")] = ""
    mobile_phone: Annotated[str, Field(description="Only to this phone number, with + and country code.")] = ""
    device: Annotated[str, Field(description="Only to this device's token, or to a channel's own kind of address.")] = (
        ""
    )
    channel: Annotated[str, Field(description="Only by this channel.")] = ""
    origin: Annotated[str, Field(description="Only from this system.")] = ""
    queue: Annotated[
        str, Field(description="Only of this queue: realtime or batch.", json_schema_extra={"enum": ["", *Queue]})
    ] = ""
    template: Annotated[str, Field(description="Only by this template version, such as `welcome/email v3`.")] = ""
    brand: Annotated[str, Field(description="Only in the name of this brand.")] = ""
    cause: Annotated[
        str, Field(description="Only what ended unsent, or failed to be sent, for this cause, such as `address`.")
    ] = ""
    created_since: Annotated[
        str, Field(description="Only what came then or later (ISO 8601, with a time, such as 2026-11-23T09:00Z).")
    ] = ""
    created_before: Annotated[str, Field(description="Only what came earlier (ISO 8601, with a time).")] = ""
    ended_since: Annotated[str, Field(description="Only what ended then or later (ISO 8601, with a time).")] = ""
    ended_before: Annotated[str, Field(description="Only what ended earlier (ISO 8601, with a time).")] = ""


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
