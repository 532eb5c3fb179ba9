"""Seeds: made-up recipients with test data, by which templates are previewed, proofed and checked before publishing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..data import Element
from ..types import Channel, Data, Event, Queue


@dataclass(frozen=True, slots=True)
class Seed:
    """`attributes` and `ctx` are what a caller would send."""

    name: str
    address: str
    language: str = ""
    country: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    ctx: Data = field(default_factory=Element)

    def event(self, event_type: str, channel: Channel, created: datetime) -> Event:
        """The event a caller would have sent for this seed; its id is 0."""
        given = {"type": event_type, channel.address: self.address, "language": self.language, "country": self.country}
        attributes = {**self.attributes, **{name: value for name, value in given.items() if value}}
        return Event(
            id=0,
            type=event_type,
            queue=Queue.REALTIME,
            channel=channel.name,
            data=Element({**attributes, "ctx": self.ctx}),
            created=created,
            addresses={channel.address: self.address},
            language=self.language,
            country=self.country,
            external_id=self.attributes.get("externalId", ""),
            origin=self.attributes.get("origin", ""),
        )
