"""What goes along with a notification, whatever the platform: names, keys and times; and the envelope of FCM."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import datetime, timedelta
from typing import Any

import orjson

from .fields import LONGEST_TTL, AndroidFields, PushFields, filled

_INSTALLATION = re.compile(r"[c-f][A-Za-z0-9_-]{21}")
_NAMESPACE = uuid.UUID("5b0e9b53-4c46-5c2b-9a0e-2f6f3bb4e5a1")


def message_id(key: str) -> str:
    """A UUID that is the same for each try of a message: `apns-id`."""
    return str(uuid.uuid5(_NAMESPACE, key))


def collapse_key(key: str, given: str = "") -> str:
    """What a repeat of the message replaces the first by: 32 characters of base64url's alphabet, which every platform
    takes (RFC 8030 5.4); or `given`, where that is the template's."""
    if given and len(given) <= 32 and given.replace("-", "").replace("_", "").isalnum() and given.isascii():
        return given
    return hashlib.sha256(given.encode() or key.encode()).hexdigest()[:32]


def _target(address: str) -> dict[str, str]:
    """A Firebase installation's id has 22 characters, the first of which is c, d, e or f; a registration token is
    longer."""
    return {"fid" if _INSTALLATION.fullmatch(address) else "token": address}


def fcm(fields: AndroidFields, address: str, tag: str, ttl: int | None) -> bytes:
    """The body of `messages:send`. A repeat replaces the first by its `tag`; a `collapse_key` goes out only where the
    template has one, since FCM keeps no more than four of them for a device that is off."""
    android: dict[str, Any] = {"priority": fields.priority.upper()}
    if ttl is not None:
        android["ttl"] = f"{ttl}s"
    if fields.collapse:
        android["collapse_key"] = tag
    if not fields.silent:
        android["notification"] = filled(
            {
                "tag": tag,
                "sound": fields.sound,
                "click_action": fields.category,
                "channel_id": fields.notification_channel,
                "notification_count": fields.badge,
            }
        )
    return orjson.dumps({"message": {**_target(address), **fields.parts(), "android": android}})


def fcm_for_ios(headers: dict[str, str], body: bytes, address: str) -> bytes:
    """The body of `messages:send` for an iOS device that is registered with FCM: what APNs would get, passed on."""
    apns_part = {"headers": headers, "payload": orjson.Fragment(body)}
    return orjson.dumps({"message": {**_target(address), "apns": apns_part}})


def keep_until(fields: PushFields, expires: datetime | None, now: datetime) -> datetime | None:
    """How long the service may keep the message for a device that is off; None: as long as it does by itself."""
    limits = [
        limit for limit in (expires, None if fields.ttl is None else now + timedelta(seconds=fields.ttl)) if limit
    ]
    return max(now, min([*limits, now + timedelta(seconds=LONGEST_TTL)])) if limits else None


def time_to_live(fields: PushFields, expires: datetime | None, now: datetime) -> int | None:
    """The same in whole seconds from now."""
    until = keep_until(fields, expires, now)
    return None if until is None else int((until - now).total_seconds())
