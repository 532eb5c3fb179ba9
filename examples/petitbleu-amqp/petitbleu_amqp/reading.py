"""From a message to the events it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson
from aiormq.abc import DeliveredMessage
from lxml import etree
from petitbleu import (
    EventProblem,
    EventsRefused,
    EventType,
    IncomingEvent,
    Queue,
    XmlRefused,
    event_from_json,
    incoming_event,
    parse_xml,
)

_XML = {"application/xml", "text/xml"}
_JSON = {"application/json", "text/json", ""}
_ELEMENTS = {"rtevent": Queue.REALTIME, "batchevent": Queue.BATCH}


class Reader:
    """`longest` is in bytes; `origin` is of events that name none."""

    def __init__(self, types: Mapping[str, EventType], longest: int, origin: str) -> None:
        self._types = types
        self._longest = longest
        self._origin = origin

    def events(self, message: DeliveredMessage) -> list[IncomingEvent]:
        """One event, or all of an array or of a collection. Raises `EventsRefused` with what is wrong with its form."""
        properties = message.header.properties
        kind = (properties.content_type or "").partition(";")[0].strip().lower()
        if len(message.body) > self._longest:
            raise _refused(f"the message has {len(message.body)} bytes; the limit is {self._longest}")
        encoding = properties.content_encoding or "utf-8"
        if encoding.lower() not in ("utf-8", "utf8", "identity"):
            raise _refused(f"content_encoding {encoding[:60]!r} is not read; send UTF-8")
        if kind in _XML:
            found = self._from_xml(message.body)
        elif kind in _JSON:
            found = self._from_json(message.body)
        else:
            raise _refused(f"content_type {kind[:60]!r} is not read; send application/json or application/xml")
        if not found:
            raise _refused("the message holds no event")
        return self._named(found, properties.message_id or "", properties.app_id or self._origin)

    def _from_json(self, body: bytes) -> list[IncomingEvent]:
        try:
            value = orjson.loads(body)
        except ValueError as error:
            raise _refused(f"the body is no JSON: {error}") from None
        values = value if isinstance(value, list) else [value]
        return [event_from_json(one, self._queue_of) for one in values]

    def _from_xml(self, body: bytes) -> list[IncomingEvent]:
        try:
            root = parse_xml(body)
        except XmlRefused as error:
            raise _refused(f"the body is no XML that is read: {error}") from None
        if (queue := _queue(root)) is not None:
            return [incoming_event(root, queue)]
        return [incoming_event(child, queue) for child in root if (queue := _queue(child)) is not None]

    def _queue_of(self, event_type: str) -> Queue:
        declared = self._types.get(event_type)
        return Queue.REALTIME if declared is None else Queue(declared.queue)

    def _named(self, events: list[IncomingEvent], message_id: str, origin: str) -> list[IncomingEvent]:
        """With the message's own id for a key where an event has none: so a message that comes twice is known again."""
        return [
            replace(event, attributes=_with(event.attributes, externalId=key, origin=origin))
            for number, event in enumerate(events, 1)
            for key in [f"{message_id}/{number}" if message_id and len(events) > 1 else message_id]
        ]


def _with(attributes: Mapping[str, str], **defaults: str) -> Mapping[str, str]:
    given = {name.lower() for name, value in attributes.items() if value}
    return {**attributes, **{name: value for name, value in defaults.items() if value and name.lower() not in given}}


def _queue(element: etree._Element) -> Queue | None:
    return _ELEMENTS.get(etree.QName(element).localname.lower())


def _refused(text: str) -> EventsRefused:
    return EventsRefused([EventProblem(1, "", "", text)])
