"""Events that are stored: one with its whole way, and lists of them."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Literal, get_type_hints

from petitbleu import EventFilter, EventRecord, FoundEvent, QueryRefused, Services
from pydantic import AfterValidator, Field, WithJsonSchema, create_model

from .listing import Listing, next_page
from .operation import Answer, Call, Given, Operation, Success, Told
from .problems import FieldError, Problem

TAG = "Events"
ROOT = "/api/v1/events"


def _number(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) >= 1 << 63:
        raise ValueError("should be the id of an event: a whole number of up to 63 bits")
    return text


EventId = Annotated[str, AfterValidator(_number), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,19}$"})]
"""As text, since a JavaScript number cannot hold 64 bits."""


# OpenAPI knows a path by its shape: what stands in its place has one name for all methods
TYPE_OR_ID = "typeOrId"


class EventPath(Given):
    id: EventId = Field(alias=TYPE_OR_ID, description="The event's id, whole or without its high byte.")


class EventStatus(Told):
    """What became of an event."""

    id: EventId
    href: str
    type: str
    queue: str = Field(description="`realtime` or `batch`.")
    channel: str
    status: str = Field(description="`pending`, `processing`, `sent`, `ignored`, `failed`, `not_covered`, `expired`, …")
    rest_status: str = Field(description="The same by the names of Adobe Campaign's REST calls.")
    status_code: int = Field(description="The same as the number that SOAP callers read.")
    feedback: str | None = Field(
        None, description="What receipts say: `underway`, `received`, `bounced`, `complained`."
    )
    reason: str | None = Field(None, description="Why it ended so, often in the provider's words.")
    failed_tries: int = Field(description="Tries that failed so far.")
    created: datetime
    processing: datetime | None = Field(None, description="When it was taken up first.")
    processed: datetime | None = Field(None, description="When it ended.")
    next_try: datetime | None = Field(None, description="When it is due, while it waits.")
    external_id: str | None = None
    origin: str | None = None
    email: str | None = None
    mobile_phone: str | None = None
    template: str | None = Field(None, description="The template version of its message: type, channel and number.")


class Attempt(Told):
    """A hand-over to a provider."""

    number: int = Field(description="From 1, over the whole life of the event.")
    channel: str
    provider: str | None = None
    template: str | None = None
    started: datetime
    ended: datetime
    outcome: str = Field(description="`delivered`, `deferred`, `failed` or `unknown`.")
    scope: str | None = Field(None, description="Whose fault it was: `address`, `message`, `provider` or `us`.")
    code: str | None = Field(None, description="The provider's code.")
    text: str | None = Field(None, description="The provider's words.")
    reference: str | None = Field(None, description="The provider's own id of the message.")
    feedback: str | None = Field(None, description="What receipts say of it.")
    awaited: int = Field(description="Parts of it for which a receipt may come.")
    rendered: bool = Field(False, description="Whether the message that was handed over is still kept.")


class Receipt(Told):
    """What a provider said of an attempt later."""

    number: int = Field(description="Of the attempt.")
    channel: str
    provider: str | None = None
    state: str = Field(description="`underway`, `received`, `bounced` or `complained`.")
    text: str | None = None
    code: str | None = None
    scope: str | None = Field(None, description="Whose fault a bounce is.")
    permanent: bool
    at: datetime | None = Field(None, description="When it happened, by the provider's clock.")
    received: datetime


class Recycling(Told):
    """That the event went on by another channel."""

    at: datetime
    number: int = Field(description="Of the attempt after which it did.")
    origin: str = Field(description="The channel it did not get through by.")
    target: str = Field(description="The channel it went on by.")
    reason: str | None = None


class EventWay(EventStatus):
    """What became of an event, with its whole way, each part in the order of time."""

    attempts: tuple[Attempt, ...]
    receipts: tuple[Receipt, ...]
    recyclings: tuple[Recycling, ...]
    data: dict[str, Any] | None = Field(
        None, description="With `include=data`, while it is kept: what the caller sent; attributes as text."
    )


class SentMessage(Told):
    """A message as it was handed to the provider. What `masking` hides is `***`."""

    number: int = Field(description="Of the attempt.")
    channel: str
    address: str
    brand: str | None = None
    template: str
    parts: dict[str, str] = Field(description="By their names, such as `subject`, `text` and `html`.")
    fields: dict[str, Any] = Field(description="As the template set them.")
    files: dict[str, int] = Field(description="Bytes of each attachment and image.")
    instead_of: str | None = Field(None, description="Whom safe mode kept it from.")
    until: datetime = Field(description="How long it is kept.")


class EventsPage(Told):
    """A piece of a list, the newest first."""

    events: tuple[EventStatus, ...]
    cursor: str | None = Field(None, description="Asks for the next piece; missing where there is none.")


def told(event: FoundEvent, services: Services) -> dict[str, Any]:
    """What `EventStatus` tells."""
    status = services.statuses[event.status]
    return {
        "id": str(event.id),
        "href": f"{ROOT}/{event.id}",
        "type": event.type,
        "queue": event.queue,
        "channel": event.channel,
        "status": status.name,
        "rest_status": status.rest,
        "status_code": status.code,
        "feedback": event.feedback or None,
        "reason": event.reason or None,
        "failed_tries": event.errors,
        "created": event.created,
        "processing": event.processing,
        "processed": event.processed,
        "next_try": event.process_requested,
        "external_id": event.external_id or None,
        "origin": event.origin or None,
        "email": event.email or None,
        "mobile_phone": event.mobile_phone or None,
        "template": event.template or None,
    }


def _way(record: EventRecord, services: Services) -> EventWay:
    return EventWay(
        **told(record.event, services),
        attempts=tuple(Attempt(**filled(one)) for one in record.attempts),
        receipts=tuple(Receipt(**filled(one)) for one in record.receipts),
        recyclings=tuple(Recycling(**filled(one)) for one in record.recyclings),
        data=None if record.data is None else dict(record.data),
    )


def filled(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that say something."""
    return {one.name: found for one in fields(value) if (found := getattr(value, one.name)) not in ("", None)}


class EventInclude(Given):
    include: Literal["data"] | None = Field(
        None, description="`data`: also what the caller sent, which needs the right `data`."
    )


async def get_event(call: Call, path: EventPath, query: EventInclude) -> Answer:
    services = call.door.services
    record = await services.desk.events.record(int(path.id), call.operator, data=query.include == "data")
    return Answer(200, _way(record, services))


class MessagePath(Given):
    id: EventId = Field(description="The event's id, whole or without its high byte.")


class MessageQuery(Given):
    attempt: int | None = Field(None, ge=1, le=100_000, description="The number of the attempt; without it the last.")
    images: bool = Field(False, description="With the message's images within its HTML, as `data:` URIs.")


async def get_message(call: Call, path: MessagePath, query: MessageQuery) -> Answer:
    found = await call.door.services.desk.events.rendered(
        int(path.id), query.attempt, call.operator, images=query.images
    )
    return Answer(
        200,
        SentMessage(
            number=found.number,
            channel=found.channel,
            address=found.address,
            brand=found.brand or None,
            template=found.template,
            parts=dict(found.parts),
            fields=dict(found.fields),
            files=dict(found.files),
            instead_of=found.instead_of or None,
            until=found.until,
        ),
    )


_FILTERS: dict[str, Any] = {name: (hint, "") for name, hint in get_type_hints(EventFilter, include_extras=True).items()}
EventsQuery = create_model("EventsQuery", __base__=Listing, **_FILTERS)
"""Every filter there is, each a parameter."""


async def list_events(call: Call, query: Listing) -> Answer:
    services = call.door.services
    wanted = EventFilter(**query.model_dump(by_alias=False, include=set(_FILTERS)))
    try:
        page = await services.desk.events.search(wanted, call.operator, query.rows(call), query.cursor)
    except QueryRefused as refused:
        raise parameter_refused(refused, query) from None
    events = tuple(EventStatus(**told(one, services)) for one in page.items)
    return Answer(200, EventsPage(events=events, cursor=page.cursor or None), next_page(call, page.cursor))


def parameter_refused(refused: QueryRefused, query: Listing) -> Problem:
    """The problem for a value that the core cannot compare with; its words begin with `@` and the attribute."""
    name, _, text = str(refused).partition(": ")
    given = query.model_dump(by_alias=True, exclude_defaults=True)
    about = [one for one in given if name.startswith("@") and one.startswith(name[1:])]
    errors = [FieldError(parameter=one, detail=text) for one in about]
    return Problem("invalid-parameters", str(refused), errors)


OPERATIONS = (
    Operation(
        method="GET",
        path=ROOT,
        name="listEvents",
        summary="Events, the newest first",
        text="Only those that the operator may read. What comes meanwhile shifts nothing: the next piece begins where "
        "the one before ended.",
        tag=TAG,
        right="read",
        run=list_events,
        query=EventsQuery,
        answers={200: Success("A piece of the list.", EventsPage, headers={"Link": "Where the next piece is."})},
    ),
    Operation(
        method="GET",
        path=f"{ROOT}/{{{TYPE_OR_ID}}}",
        name="getEvent",
        summary="What became of an event",
        text="With its attempts, what receipts say, and which ways it went.",
        tag=TAG,
        right="read",
        run=get_event,
        parameters=EventPath,
        query=EventInclude,
        answers={200: Success("The event.", EventWay)},
    ),
    Operation(
        method="GET",
        path=f"{ROOT}/{{id}}/message",
        name="getMessage",
        summary="A message as it was sent",
        text="Of event types with `rendered: true`, while it is kept; the attempts with `rendered` have one.",
        tag=TAG,
        right="data",
        run=get_message,
        parameters=MessagePath,
        query=MessageQuery,
        answers={200: Success("The message, word for word.", SentMessage)},
    ),
)
