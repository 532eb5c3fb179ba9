"""What callers may push, and which way it goes: event types, routing, recycling, brands."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, field_validator, model_validator

from ...masking import parsed
from ...suppression import Reason
from ...types import Queue
from .values import (
    Bytes,
    Country,
    Duration,
    EmailAddress,
    Language,
    Line,
    Name,
    Section,
    Share,
    Variable,
    checked,
    one_of,
)


class Kind(StrEnum):
    """What a path of a ctx contract holds; `intake/contract.py` knows how to check each."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    LIST = "list"
    ANY = "any"


CtxPath = Annotated[str, checked(r"[^\s.]+(\.[^\s.]+)*", "a path into ctx such as client.firstname")]


def _maskable(text: str) -> str:
    parsed(text)
    return text


MaskPath = Annotated[str, AfterValidator(_maskable)]


class CtxContract(Section):
    max_size: Bytes | None = Field(None, description="Bytes of the ctx, as JSON, at most.")
    required: dict[CtxPath, Kind] = Field(
        default_factory=dict, description="Path in ctx, such as client.firstname, to what must stand there."
    )


class TypeRetention(Section):
    events: Duration | None = Field(None, description="How long its ended events are kept, as retention.events.")
    payloads: Duration | None = Field(None, description="How long what callers sent is kept, as retention.payloads.")
    attempts: Duration | None = Field(None, description="How long their attempts are kept, as retention.attempts.")
    rendered: Duration | None = Field(None, description="How long what was sent is kept, as retention.rendered.")
    archive: Duration | Literal[False] | None = Field(
        None, description="How long they stay in the archive, as retention.archive.keep; false: they do not come there."
    )
    statistics: Duration | None = Field(None, description="How long they are counted, as retention.statistics.")


class TypeSuppression(Section):
    ignore: frozenset[Reason] = Field(
        frozenset(), description="Reasons that do not keep these events back; `suppression: ignore` means all."
    )


class EventTypeSettings(Section):
    label: Line = Field("", description="Name for people; the type's own name by default.")
    queue: Queue = Field(Queue.REALTIME, description="Queue of events that come by a way that names none.")
    brand: str = Field("", description="Brand in whose name these events are sent.")
    share: Share = Field(1.0, description="Of the places its brand has while others wait: 2 gets twice as many as 1.")
    idempotency: Duration | None = Field(
        None, description="How long an event with the same origin and externalId is the same event; off by default."
    )
    retention: TypeRetention = Field(
        default_factory=TypeRetention, description="What of these events is kept shorter or longer than others'."
    )
    suppression: TypeSuppression | Literal["ignore"] = Field(
        default_factory=TypeSuppression, description="In spite of which suppressions these events go out."
    )
    ctx: CtxContract | None = Field(None, description="What the ctx of these events must hold, checked at the door.")
    masking: tuple[MaskPath, ...] = Field((), description="Paths into ctx that are never shown, with those of masking.")
    rendered: bool = Field(False, description="Whether a copy of each message that was sent is kept for operators.")

    @property
    def ignored_reasons(self) -> frozenset[Reason]:
        return frozenset(Reason) if self.suppression == "ignore" else self.suppression.ignore


EventProperty = Annotated[str, *one_of("type", "channel", "queue", "origin", "language", "country")]


class RuleSettings(Section):
    when: dict[EventProperty, str] = Field(
        description="What the event must have, every line of it, for the rule to hold."
    )
    channel: str = Field("", description="Send by this channel instead.")
    brand: str = Field("", description="Send in the name of this brand instead.")
    template: str = Field("", description="Use the template of this event type instead.")

    @model_validator(mode="after")
    def _sets_something(self) -> RuleSettings:
        if not (self.channel or self.brand or self.template):
            raise ValueError("should set channel, brand or template")
        return self


class Routing(Section):
    rules: tuple[RuleSettings, ...] = Field((), description="The first rule that holds decides.")
    languages: dict[Country, Language] = Field(
        default_factory=dict, description="Country to language, for events that name a country but no language."
    )


Failure: TypeAlias = Literal["failed", "expired", "unknown", "bounced", "no_receipt"]


class RecyclingSettings(Section):
    when: dict[EventProperty, str] = Field(
        description="What the event must have, every line of it; channel is the one it did not get through by."
    )
    on: frozenset[Failure] = Field(
        frozenset({"failed", "bounced"}),
        min_length=1,
        description="failed: refused for good; expired: no try left; unknown: it may have arrived or not; bounced: a "
        "receipt says it did not arrive; no_receipt: none has come. With unknown and no_receipt two may arrive.",
    )
    after: Duration | None = Field(None, description="With no_receipt: for how long a receipt is waited for.")
    to: str = Field(min_length=1, description="The channel by which the event then goes on.")

    @model_validator(mode="after")
    def _after_no_receipt(self) -> RecyclingSettings:
        if ("no_receipt" in self.on) != (self.after is not None):
            raise ValueError("after and no_receipt need each other: how long is a receipt waited for?")
        return self


class RecyclingRules(Section):
    rules: tuple[RecyclingSettings, ...] = Field((), description="The first rule that holds decides.")


class Sender(Section):
    name: Line = Field("", description="Display name.")
    address: EmailAddress = Field(description="Email address.")


class Brand(Section):
    name: Line = Field("", description="Name for customers, brand.name in templates; the brand's key by default.")
    sender: Sender | None = Field(None, description="Who emails of this brand come from.")
    reply_to: EmailAddress | None = Field(None, description="Where replies go, if not to the sender.")
    share: Share = Field(1.0, description="Of a worker's places while other brands wait: 2 gets twice as many as 1.")
    variables: dict[Name, Variable] = Field(
        default_factory=dict, description="Values for templates, as brand.NAME; they also fill fields left open there."
    )

    @field_validator("variables")
    @classmethod
    def _not_taken(cls, variables: Mapping[str, Variable]) -> Mapping[str, Variable]:
        for name in ("name", "sender", "reply_to", "share"):
            if name in variables:
                raise ValueError(f"{name} has a meaning of its own and cannot be a variable")
        return variables
