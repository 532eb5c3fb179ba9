"""Events in JSON, wherever they come from: one model, from which the check of an event and its JSON Schema come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from ..data import Element
from ..types import Data, IncomingEvent, Queue, Reject

DEPTH = 64
"""Levels of nesting that an event may have."""
_LARGEST = 1 << 63
"""JSON numbers of this size and above lose digits on their way."""
_TOO_LARGE = "is a number of more than 64 bits, which would lose digits; send it as text"
_OBJECT = 'should be an object such as {"type": "password_reset", "email": "zoe@example.com", "ctx": {}}'


def _text(value: Any) -> Any:
    """Numbers are what keys and codes often are; their text is meant."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer"]})]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class JsonEvent(BaseModel):
    """An event as a caller writes it. Members that are not listed are kept, and templates can use them. `null` is as
    good as absent."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    type: str | None = Field(None, description="One of the event types of the instance.")
    email: str | None = Field(None, description="Email address of the recipient.")
    mobilePhone: str | None = Field(None, description="With + and country code, or a national number with `country`.")
    registrationToken: str | None = Field(None, description="Of the device, for notifications.")
    channel: Text | None = Field(
        None,
        description="How it is to be sent: `email`, `sms`, `ios`, `android`, or another channel's name or number. "
        "Without it: by email where there is an email address, else by SMS.",
    )
    wishedChannel: Text | None = Field(None, description="Another name for `channel`.")
    emailFormat: Text | None = Field(None, description="`0` as the template, `1` text, `2` HTML, `3` both.")
    language: str | None = Field(None, description="Language variant of the template, such as `fr` or `fr-CA`.")
    country: str | None = Field(None, description="Country of the recipient (ISO 3166-1), such as `FR`.")
    externalId: Text | None = Field(
        None, description="The caller's own key for the event; where its type has idempotency, a repeat is recognised."
    )
    origin: str | None = Field(None, description="Which system the event comes from.")
    scheduled: Moment | None = Field(None, description="Not before: ISO 8601.")
    expiration: Moment | None = Field(None, description="Not after: ISO 8601.")
    priority: Annotated[int, Field(strict=True, ge=0, le=100)] | None = Field(
        None, description="Smaller is sooner; 5 without it."
    )
    queue: Literal["realtime", "batch"] | None = Field(
        None, description="`realtime` for what someone waits for; without it as the event type says."
    )
    ctx: Any = Field(None, description="Data for the template: any JSON.")
    mobileApp: dict[str, Any] | None = Field(
        None, description="For notifications: `uuid` names the app, `registered` says when it last told its token."
    )


def event_from_json(
    value: object, queue_of: Callable[[str], Queue], event_type: str = "", depth: int = DEPTH
) -> IncomingEvent:
    """The event that a JSON object says; `event_type` is the one that is known otherwise, `queue_of` tells the queue of
    an event that names none.

    Scalars outside `ctx` become attributes, and so text, as they are in XML; objects and lists become children, and
    what is in them keeps its JSON type. What is wrong with its form stands in the event's `problems`.
    """
    if not isinstance(value, Mapping):
        return IncomingEvent(Queue.REALTIME, {}, problems=(Reject("", _OBJECT),))
    event, problems = _read(value)
    given = {**event.__dict__, **(event.model_extra or {})}
    queue = given.pop("queue", None)
    wish = given.pop("channel", None)
    if wish is not None:
        if given.get("wishedChannel") not in (None, wish):
            problems.append(Reject("channel", "says another channel than wishedChannel"))
        given["wishedChannel"] = wish
    if event_type:
        if given.get("type") not in (None, event_type):
            problems.append(Reject("type", f"is not {event_type!r}, which the call is for"))
        given["type"] = event_type
    attributes: dict[str, str] = {}
    children: dict[str, Data] = {}
    for name, item in given.items():
        kind = item.__class__
        if item is None:
            continue
        if name == "ctx" or kind is dict or kind is list:
            children[name] = _tree(item, name, depth - 1, problems)
        elif kind is str:
            attributes[name] = item
        elif _wrong_number(item):
            problems.append(Reject(name, _TOO_LARGE))
        else:
            attributes[name] = str(item).lower() if kind is bool else str(item)
    return IncomingEvent(Queue(queue or queue_of(attributes.get("type", ""))), attributes, children, tuple(problems))


def _read(value: Mapping[Any, Any]) -> tuple[JsonEvent, list[Reject]]:
    """With what is wrong with its members, which are left out then."""
    try:
        return JsonEvent.model_validate(value), []
    except ValidationError:
        problems = [Reject(ascii(name), "should be a name, which is text") for name in value if not _is_text(name)]
    named = {name: item for name, item in value.items() if _is_text(name)}
    try:
        return JsonEvent.model_validate(named), problems
    except ValidationError as error:
        found = [Reject(str(one["loc"][0]), _said(one)) for one in error.errors(include_url=False)]
    wrong = {one.attribute for one in found}
    kept = {name: item for name, item in named.items() if name not in wrong}
    return JsonEvent.model_validate(kept), [*problems, *found]


def _is_text(name: object) -> bool:
    """YAML has other names than texts, and JSON has half characters (lone surrogates)."""
    return isinstance(name, str) and not any("\ud800" <= char <= "\udfff" for char in name)


def _tree(value: Any, path: str, depth: int, problems: list[Reject]) -> Any:
    """`value` with its objects as elements."""
    kind = value.__class__
    if kind is str or value is None or kind is bool:
        return value
    if kind is dict or kind is list:
        if not depth:
            problems.append(Reject(path, "is nested too deeply"))
            return None
        if kind is dict:
            return Element(
                {
                    # nearly all are text
                    name: item if item.__class__ is str else _tree(item, f"{path}.{name}", depth - 1, problems)
                    for name, item in value.items()
                }
            )
        return [_tree(item, f"{path}[{number}]", depth - 1, problems) for number, item in enumerate(value, 1)]
    if _wrong_number(value):
        problems.append(Reject(path, _TOO_LARGE))
    return value


def _wrong_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not -_LARGEST < value < _LARGEST


def _said(error: Any) -> str:
    """What pydantic says, in words that fit after the name of what is wrong."""
    return str(error["msg"]).replace("Input should be", "should be").replace("a valid string", "text")
