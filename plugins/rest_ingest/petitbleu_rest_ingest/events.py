"""Events: pushed one by one or many at once, looked up, listed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from petitbleu import (
    Comparison,
    EventProblem,
    EventQuery,
    EventsRefused,
    FoundEvent,
    IncomingEvent,
    JsonEvent,
    Queue,
    Services,
    event_from_json,
)
from pydantic import AfterValidator, Field, WithJsonSchema

from .bridge import parsed, pointer
from .operation import JSON, Answer, Body, Call, Given, Operation, Raw, Success, Told
from .problems import FieldError, Problem

TAG = "Events"
ROOT = "/api/v1/events"


def _number(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) >= 1 << 63:
        raise ValueError("should be the id of an event: a whole number of up to 63 bits")
    return text


EventId = Annotated[str, AfterValidator(_number), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,19}$"})]
"""As text, since a JavaScript number cannot hold 64 bits."""


class TypePath(Given):
    type: str = Field(description="The event type.")


class EventPath(Given):
    id: EventId = Field(description="The event's id, whole or without its high byte.")


class Stored(Told):
    """An event that is stored for good, and will be dealt with."""

    id: EventId = Field(description="The event's id: a number of 64 bits, as text.")
    href: str = Field(description="Where to ask what became of it.")
    external_id: str | None = Field(None, description="The caller's own key, as it was given.")


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


# ------------------------------------------------------------------------------------------------------------- pushing


async def push_event(call: Call, path: TypePath, body: Raw) -> Answer:
    value = parsed(body.content)
    try:
        event = event_from_json(
            value, _queue_of(call.door.services), event_type=path.type, depth=call.door.settings.json_depth
        )
        (event_id,) = await call.door.accept([event], call.operator)
    except EventsRefused as refused:
        raise refusal(refused, [value], alone=True) from None
    stored = _stored(event_id, event)
    return Answer(202, stored, {"Location": stored.href})


def _queue_of(services: Services) -> Any:
    def queue_of(event_type: str) -> Queue:
        declared = services.event_types.get(event_type)
        return Queue.REALTIME if declared is None else Queue(declared.queue)

    return queue_of


def _stored(event_id: int, event: IncomingEvent) -> Stored:
    external = next((value for name, value in event.attributes.items() if name.lower() == "externalid"), None)
    return Stored(id=str(event_id), href=f"{ROOT}/{event_id}", external_id=external)


def refusal(refused: EventsRefused, values: Sequence[Any], alone: bool) -> Problem:
    """The problem document for events that were refused; `values` are the events as they were given."""
    errors = [FieldError(pointer=_where(one, values, alone), detail=one.text) for one in refused.problems]
    events = len({one.position for one in refused.problems})
    what = "The event" if alone else f"{events} of {len(values)} events"
    return Problem("invalid-event", f"{what} cannot be used; nothing is stored.", errors)


_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def _where(problem: EventProblem, values: Sequence[Any], alone: bool) -> str:
    steps: list[int | str] = [] if alone else [problem.position - 1]
    path = [name or int(number) - 1 for name, number in _STEP.findall(problem.attribute)]
    if path and problem.position <= len(values) and isinstance(values[problem.position - 1], Mapping):
        path[0] = _given_name(str(path[0]), values[problem.position - 1])
    return pointer([*steps, *path])


def _given_name(name: str, value: Mapping[str, Any]) -> str:
    """As the caller wrote it: in another case, or under another name for the same."""
    if name in value:
        return name
    if name == "wishedChannel" and "channel" in value:
        return "channel"
    return next((given for given in value if given.lower() == name.lower()), name)


# ------------------------------------------------------------------------------------------------------------- reading


async def get_event(call: Call, path: EventPath) -> Answer:
    services = call.door.services
    found = await services.find_events(EventQuery(Comparison("id", "=", (path.id,))), call.operator)
    if not found:
        raise Problem("not-found", f"There is no event {path.id}, or it is none that the operator may read.")
    return Answer(200, EventStatus(**told(found[0], services)))


OPERATIONS = (
    Operation(
        method="POST",
        path=f"{ROOT}/{{type}}",
        name="pushEvent",
        summary="Push one event",
        text="The answer comes once the event is stored for good: it will be dealt with, whatever happens to the "
        "server. A member of the body that is not listed is kept, and templates can use it.",
        tag=TAG,
        right="push",
        run=push_event,
        parameters=TypePath,
        body=Body({JSON: JsonEvent}, raw=True),
        answers={202: Success("The event is stored.", Stored, headers={"Location": "Where to ask about it."})},
        problems=frozenset({"invalid-event"}),
    ),
    Operation(
        method="GET",
        path=f"{ROOT}/{{id}}",
        name="getEvent",
        summary="What became of an event",
        tag=TAG,
        right="read",
        run=get_event,
        parameters=EventPath,
        answers={200: Success("The event.", EventStatus)},
        problems=frozenset({"not-found"}),
    ),
)
