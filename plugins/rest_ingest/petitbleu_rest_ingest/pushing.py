"""Events pushed: one, or many at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from petitbleu import (
    EventProblem,
    EventsRefused,
    IncomingEvent,
    JsonEvent,
    KeyReused,
    Queue,
    event_from_json,
)
from pydantic import AfterValidator, Field, WithJsonSchema

from .bridge import note, parsed, pointer
from .events import ROOT, TAG, TYPE_OR_ID, EventId
from .operation import JSON, LINES, Answer, Body, Call, Given, Operation, Raw, Success, Told
from .problems import KINDS, FieldError, Problem, problem_of


class TypePath(Given):
    type: str = Field(alias=TYPE_OR_ID, description="The event type.")


class Stored(Told):
    """An event that is stored for good, and will be dealt with."""

    id: EventId = Field(description="The event's id: a number of 64 bits, as text.")
    href: str = Field(description="Where to ask what became of it.")
    external_id: str | None = Field(None, description="The caller's own key, as it was given.")


class StoredEvents(Told):
    """All events of a call, in its order."""

    events: tuple[Stored, ...]


class Result(Told):
    """What became of one event of several."""

    status: int = Field(description="202 where it is stored, else the status its refusal would have had alone.")
    id: EventId | None = None
    href: str | None = None
    external_id: str | None = None
    detail: str | None = Field(None, description="Why it was refused.")
    errors: tuple[FieldError, ...] | None = Field(None, description="Everything that is wrong with it.")


class Results(Told):
    """What became of each event of a call, in its order."""

    events: tuple[Result, ...]
    stored: int
    refused: int


def _key(text: str) -> str:
    """The header's text, or the structured string that it should be (RFC 9651)."""
    key = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?", key):
        raise ValueError("should be 1 to 255 printable ASCII characters")
    return key


class PushHeaders(Given):
    idempotency_key: Annotated[
        str, AfterValidator(_key), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255})
    ] = Field(
        "",
        alias="Idempotency-Key",
        description="A name for this very call, such as a UUID: a repeat of it gets the answer of the first one.",
    )


class PushQuery(Given):
    partial: bool = Field(False, description="Store what can be stored, and tell of each event what became of it.")


async def push_event(call: Call, path: TypePath, headers: PushHeaders, body: Raw) -> Answer:
    value = parsed(body.content)
    event, stored = await push_one(call, value, path.type, headers.idempotency_key)
    return Answer(202, told_stored(stored, event), {"Location": f"{ROOT}/{stored}"})


async def push_one(call: Call, value: Any, event_type: str, key: str) -> tuple[IncomingEvent, int]:
    """Stores the event that a JSON value says, and gives its id."""
    event = event_of(call, value, event_type)
    try:
        (event_id,) = await call.door.accept([event], call.operator, key)
    except EventsRefused as refused:
        raise refusal(refused, [value], alone=True) from None
    return event, event_id


async def push_events(call: Call, query: PushQuery, headers: PushHeaders, body: Raw) -> Answer:
    values = _values(body)
    if query.partial:
        return await _push_each(call, values, headers.idempotency_key)
    events = [event_of(call, value) for value in values]
    try:
        ids = await call.door.accept(events, call.operator, headers.idempotency_key)
    except EventsRefused as refused:
        raise refusal(refused, values, alone=False) from None
    stored = [told_stored(event_id, event) for event_id, event in zip(ids, events, strict=True)]
    return Answer(202, StoredEvents(events=tuple(stored)))


async def _push_each(call: Call, values: Sequence[Any], key: str) -> Answer:
    """Every event is a call of its own, with a key of its own; what comes together is stored together all the same."""
    limit = call.door.services.event_limit
    if len(values) > limit:
        raise Problem("invalid-event", f"{len(values)} events in one call; the limit is {limit}.")

    async def push(number: int, value: Any) -> Result:
        event = event_of(call, value)
        try:
            (event_id,) = await call.door.accept([event], call.operator, f"{key}\n{number}" if key else "")
        except Exception as error:
            if isinstance(error, EventsRefused):
                return _refused(refusal(error, [value], alone=True), event)
            note(error, "pushEvents")
            return _refused(problem_of(error, call.door.settings.retry_after), event)
        return Result(status=202, **told_stored(event_id, event).model_dump(by_alias=False))

    # a failure of ours is told like any other: what is stored by then must not be kept from the caller
    results = await asyncio.gather(*(push(number, value) for number, value in enumerate(values)))
    stored = sum(one.status == 202 for one in results)
    told = Results(events=tuple(results), stored=stored, refused=len(results) - stored)
    return Answer(202 if stored == len(results) else 207, told)


def _refused(problem: Problem, event: IncomingEvent) -> Result:
    return Result(
        status=KINDS[problem.kind].status,
        detail=problem.detail,
        errors=problem.errors or None,
        external_id=external_id(event),
    )


def _values(body: Raw) -> list[Any]:
    """The events of a JSON list, or of JSON lines, as values."""
    if body.media == LINES:
        lines = enumerate(body.content.splitlines(), 1)
        return [parsed(line, number) for number, line in lines if line.strip()]
    values = parsed(body.content)
    if not isinstance(values, list):
        text = f"should be a list of events; a single one goes to {ROOT}/TYPE"
        raise Problem("invalid-fields", "The body is no list.", [FieldError(pointer="", detail=text)])
    return values


def event_of(call: Call, value: Any, event_type: str = "") -> IncomingEvent:
    """The event that a JSON object says."""
    types = call.door.services.event_types

    def queue_of(event_type: str) -> Queue:
        return Queue(types[event_type].queue) if event_type in types else Queue.REALTIME

    return event_from_json(value, queue_of, event_type, call.door.settings.json_depth)


def external_id(event: IncomingEvent) -> str | None:
    return next((value for name, value in event.attributes.items() if name.lower() == "externalid"), None)


def told_stored(event_id: int, event: IncomingEvent) -> Stored:
    return Stored(id=str(event_id), href=f"{ROOT}/{event_id}", external_id=external_id(event))


def refusal(refused: EventsRefused, values: Sequence[Any], alone: bool, below: str = "") -> Problem:
    """The problem document for events that were refused; `values` are the events as they were given, `below` a JSON
    Pointer in the body."""
    if isinstance(refused, KeyReused):
        text = "The Idempotency-Key is that of an earlier call, whose events were others. A new call needs a new key."
        return Problem("key-reused", text, [FieldError(parameter="Idempotency-Key", detail="was used before")])
    errors = [FieldError(pointer=below + _where(one, values, alone), detail=one.text) for one in refused.problems]
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


OPERATIONS = (
    Operation(
        method="POST",
        path=f"{ROOT}/{{{TYPE_OR_ID}}}",
        name="pushEvent",
        summary="Push one event",
        text="The answer comes once the event is stored for good: it will be dealt with, whatever happens to the "
        "server. A member of the body that is not listed is kept, and templates can use it.",
        tag=TAG,
        right="push",
        run=push_event,
        parameters=TypePath,
        headers=PushHeaders,
        body=Body({JSON: JsonEvent}, raw=True),
        answers={
            202: Success(
                "The event is stored.",
                Stored,
                headers={"Location": "Where to ask about it."},
                links={"getEvent": {TYPE_OR_ID: "$response.body#/id"}},
            )
        },
        problems=frozenset({"invalid-event", "key-reused"}),
    ),
    Operation(
        method="POST",
        path=ROOT,
        name="pushEvents",
        summary="Push many events",
        text="A list of events, or one on each line (JSON lines); each names its `type`. Either all are stored, or "
        "none is. With `partial=true` each is taken or refused by itself, and the answer tells which.",
        tag=TAG,
        right="push",
        run=push_events,
        query=PushQuery,
        headers=PushHeaders,
        body=Body({JSON: list[JsonEvent], LINES: str}, raw=True),
        answers={
            202: Success(
                "All events are stored.",
                StoredEvents | Results,
                links={"getEvent": {TYPE_OR_ID: "$response.body#/events/0/id"}},
            ),
            207: Success("With `partial=true`: some events, or all, are refused.", Results),
        },
        problems=frozenset({"invalid-event", "invalid-fields", "key-reused"}),
    ),
)
