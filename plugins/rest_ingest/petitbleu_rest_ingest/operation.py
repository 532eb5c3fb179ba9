"""What an operation is: one declaration, from which its route, its checks and its description come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from petitbleu import Accept, Actor, Operator, Services
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from .settings import RestSettings

JSON = "application/json"
LINES = "application/x-ndjson"


class Given(BaseModel):
    """Base of what callers give: parameters and bodies. A name that is not known is refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )


class Told(BaseModel):
    """Base of what answers tell. What is None is left out."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


@dataclass(frozen=True, slots=True)
class Door:
    """What every call may use."""

    settings: RestSettings
    services: Services
    accept: Accept


@dataclass(frozen=True, slots=True)
class Call:
    """One call by a known operator, who has the operation's right."""

    door: Door
    operator: Operator
    request: web.Request

    @property
    def actor(self) -> Actor:
        """The operator, for what the audit will say of a change."""
        return Actor(self.operator, "rest", self.request.remote or "")


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that the operation reads itself. `media` is its content type, without parameters."""

    content: bytes
    media: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`content` is told as JSON; None is an empty body. Bytes go as they are, under the content type `media`, and so
    do pieces of text, one after the other."""

    status: int
    content: BaseModel | bytes | AsyncIterator[str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = JSON


@dataclass(frozen=True, slots=True)
class Body:
    """What a request body may be: by content type the model it is described by. With `raw` the operation gets it as a
    `Raw` and reads it itself, else as the model of its content type. `needed` is whether one must be there."""

    media: Mapping[str, Any]
    raw: bool = False
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Success:
    """One way in which the operation ends well: what it means, and the model of what is told, by content type."""

    text: str
    model: Any = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer, each with what it says."""
    also: Mapping[str, Any] = field(default_factory=dict)
    """Other content types that it may have, where the caller asks for them, each with its model."""
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By `operationId`, operations that go on from here, with their parameters as OpenAPI's runtime expressions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path.

    `run` is awaited with the call, and by name with what is declared: `path` (the model of the path's parameters),
    `query` (that of the query's), `headers` (that of the request headers the operation knows) and `body`. It gives the
    answer, or raises a `Problem`, or one of the core's errors, for which `problems.py` has an answer.
    """

    method: str
    path: str
    """With parameters in braces, such as `/api/v1/events/{id}`."""
    name: str
    """Its `operationId`."""
    summary: str
    text: str = ""
    """More about it, in Markdown."""
    tag: str
    right: str
    """What the operator needs."""
    run: Callable[..., Awaitable[Answer]]
    parameters: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    body: Body | None = None
    answers: Mapping[int, Success]
    problems: frozenset[str] = frozenset()
    """Kinds of `problems.KINDS`, beside those that any operation may end with."""
