"""Questions about events, in the names that callers know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .basics import Queue


@dataclass(frozen=True, slots=True)
class Comparison:
    """`attribute operator value`; `in` takes several values, the others one. Values are as the caller wrote them."""

    attribute: str
    operator: Literal["=", "!=", "<", ">", "<=", ">=", "in", "like"]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Junction:
    """Terms joined by `and` or `or`."""

    kind: Literal["and", "or"]
    terms: tuple[Condition, ...]


Condition: TypeAlias = "Comparison | Junction"


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A question about events, by the names callers know (`id`, `status`, `externalId` …, see `EVENT_ATTRIBUTES`)."""

    where: Condition | None = None
    queue: Queue | None = None
    order_by: tuple[tuple[str, bool], ...] = ()
    """(attribute, descending) pairs."""
    limit: int = 100
    offset: int = 0


EVENT_ATTRIBUTES = (
    "id",
    "type",
    "channel",
    "status",
    "errors",
    "created",
    "processing",
    "processed",
    "processRequested",
    "externalId",
    "origin",
    "email",
    "mobilePhone",
    "template",
)
