"""An event as the text of its `payloads` row, and back."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from ..data import from_json, to_json
from ..types import Event, Queue
from .vault import Vault

logger = logging.getLogger("petitbleu.database")

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_EXACT = 2**32 * 1_000_000
"""Up to here, the year 2106, a float of seconds is one microsecond and no other."""


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Raises `OverflowError` for what no calendar has."""
    if -_EXACT < value < _EXACT:
        return datetime.fromtimestamp(value / 1_000_000, UTC)
    # exactly: the last moment of the year 9999, which callers write for "never", must not become one of the next
    return _EPOCH + timedelta(microseconds=value)


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


def readable(vault: Vault, number: int, body: str | None) -> Event | None:
    """What is stored of an event, for somebody who looks at it or puts an end to it: None where it is not kept any
    more, and where it cannot be read, which is logged."""
    if body is None:
        return None
    try:
        return decode(number, vault.open(number, body))
    except Exception as error:
        logger.error("event %d cannot be read: %s", number, type(error).__name__, extra={"event": number})
        return None
