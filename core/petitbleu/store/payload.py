"""An event as the text of its `payloads` row, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from ..data import from_json, to_json
from ..types import Event, Queue


def micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def moment(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1_000_000, UTC)


def optional_micros(value: datetime | None) -> int | None:
    return None if value is None else micros(value)


def optional_moment(value: int | None) -> datetime | None:
    return None if value is None else moment(value)


def encode(event: Event) -> str:
    body: dict[str, Any] = {
        "type": event.type,
        "queue": event.queue.value,
        "channel": event.channel,
        "data": orjson.Fragment(to_json(event.data)),
        "created": micros(event.created),
        "addresses": event.addresses,
        "language": event.language,
        "country": event.country,
        "externalId": event.external_id,
        "origin": event.origin,
        "priority": event.priority,
        "scheduled": optional_micros(event.scheduled),
        "expiration": optional_micros(event.expiration),
    }
    try:
        return orjson.dumps(body).decode()
    except TypeError:  # what is no Unicode
        return to_json(body | {"data": event.data})


def decode(event_id: int, text: str) -> Event:
    body = from_json(text)
    return Event(
        id=event_id,
        type=body["type"],
        queue=Queue(body["queue"]),
        channel=body["channel"],
        data=body["data"],
        created=moment(body["created"]),
        addresses=body["addresses"],
        language=body["language"],
        country=body["country"],
        external_id=body["externalId"],
        origin=body["origin"],
        priority=body["priority"],
        scheduled=optional_moment(body["scheduled"]),
        expiration=optional_moment(body["expiration"]),
    )
