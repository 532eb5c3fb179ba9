"""Events as rows of the queue, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..addresses import device
from ..reports.tally import Tally
from ..steps import Claimed
from ..store import Store
from ..store.payload import decode, encode, micros, optional_micros
from ..types import Event, Queue
from .idempotency import Proposal

LANES = {Queue.REALTIME: 0, Queue.BATCH: 1}
QUEUES = {lane: queue for queue, lane in LANES.items()}
STATES = ("waiting", "ready", "leased", "paused")
"""By the number in the column `state`."""
WAITING, READY, LEASED, HELD = range(4)


def queue_row(event_id: int, event: Event, store: Store, tally: Tally) -> dict[str, Any]:
    """For `insert`: as nobody has claimed it, and with nothing to be told."""
    created = micros(event.created)
    due = created if event.scheduled is None else micros(event.scheduled)
    return {
        "id": event_id,
        "state": READY if due <= created else WAITING,
        "lease": None,
        "lane": LANES[event.queue],
        "priority": event.priority,
        "due": due,
        "expires": optional_micros(event.expiration),
        "type": event.type,
        "channel": event.channel,
        "created": created,
        "external_id": event.external_id,
        "origin": event.origin,
        "email": event.addresses.get("email", ""),
        "mobile_phone": event.addresses.get("mobilePhone", ""),
        "device": device(event.addresses),
        "body": store.vault.seal(event_id, encode(event)),
        "told": None,
        "kind": "",
        "at": created,
        "news": "",
        "brand": tally.brand(event.type),
        "counted": tally.origin(event.origin),
    }


def claimed_of(row: Mapping[str, Any], lease: str, store: Store) -> Claimed:
    return Claimed(
        id=row["id"],
        lease=lease,
        event=_for_channel(decode(row["id"], store.vault.open(row["id"], row["body"])), row["channel"]),
        tries=row["tries"],
        attempts=row["attempts"],
        crashes=row["crashes"],
        unknowns=row["unknowns"],
        handed_off=row["handed_off"],
        claimed_at=row["claimed"],
        expires=row["expires"],
        chain=row["chain"],
        avoid=row["avoid"],
        awaits=row["awaits"],
        names=row["names"],
    )


def _for_channel(event: Event, channel: str) -> Event:
    """A recycled event is for another channel than its caller wished."""
    return event if event.channel == channel else replace(event, channel=channel)


def fresh_of(one: Proposal, lease: str, now: int) -> Claimed:
    """What is leased as it is stored."""
    event = replace(one.event, id=one.id)
    return Claimed(one.id, lease, event, 0, 0, 0, 0, "", now, optional_micros(event.expiration))
