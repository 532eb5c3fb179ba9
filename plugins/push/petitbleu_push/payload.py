"""What goes to the devices: JSON as APNs, FCM and a page's service worker take it, and how big it may be."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from .fields import AndroidFields, IosFields, PushFields, WebFields

APNS_LIMIT = 4096
"""Bytes of a payload: Apple, "Generating a remote notification"."""
FCM_LIMIT = 4096
"""Bytes of notification and data together: Firebase, "About FCM messages"."""
WEB_LIMIT = 3993
"""What is left of the 4096 bytes every push service takes (RFC 8030 7.2) after header, padding and tag (RFC 8291 4)."""
LONGEST_TTL = 2_419_200
"""Four weeks, the most that FCM and web push services keep a message."""

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


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None)}


def apns(fields: IosFields) -> bytes:
    """The body of a request to APNs; `image` and `link` are for the app's own code."""
    alert = _given({"title": fields.title, "subtitle": fields.subtitle, "body": fields.body})
    aps = _given(
        {
            "badge": fields.badge,
            "sound": fields.sound,
            "category": fields.category,
            "thread-id": fields.thread,
            "interruption-level": fields.interruption,
        }
    )
    if fields.silent:
        aps = {**_given({"badge": fields.badge}), "content-available": 1}
    else:
        aps["alert"] = alert
        if fields.image:
            aps["mutable-content"] = 1  # lets the app's extension fetch the picture
    return orjson.dumps({"aps": aps, **_given({"image": fields.image, "link": fields.link}), **fields.data})


def _fcm_parts(fields: AndroidFields) -> dict[str, Any]:
    data = {**fields.data, **_given({"link": fields.link})}
    found: dict[str, Any] = {"data": data} if data else {}
    if not fields.silent:
        found["notification"] = _given({"title": fields.title, "body": fields.body, "image": fields.image})
    return found


def fcm_measured(fields: AndroidFields) -> bytes:
    return orjson.dumps(_fcm_parts(fields))


def fcm(fields: AndroidFields, address: str, tag: str, ttl: int | None) -> bytes:
    """The body of `messages:send`. A repeat replaces the first by its `tag`; a `collapse_key` goes out only where the
    template has one, since FCM keeps no more than four of them for a device that is off."""
    android: dict[str, Any] = {"priority": fields.priority.upper()}
    if ttl is not None:
        android["ttl"] = f"{ttl}s"
    if fields.collapse:
        android["collapse_key"] = tag
    if not fields.silent:
        android["notification"] = _given(
            {
                "tag": tag,
                "sound": fields.sound,
                "click_action": fields.category,
                "channel_id": fields.notification_channel,
                "notification_count": fields.badge,
            }
        )
    return orjson.dumps({"message": {**_target(address), **_fcm_parts(fields), "android": android}})


def fcm_for_ios(headers: dict[str, str], body: bytes, address: str) -> bytes:
    """The body of `messages:send` for an iOS device that is registered with FCM: what APNs would get, passed on."""
    apns_part = {"headers": headers, "payload": orjson.Fragment(body)}
    return orjson.dumps({"message": {**_target(address), "apns": apns_part}})


def web(fields: WebFields) -> bytes:
    """What the page's service worker gets: options of `showNotification`, and beside them link and data."""
    shown = _given(
        {
            "title": fields.title,
            "body": fields.body,
            "image": fields.image,
            "icon": fields.icon,
            "badge": fields.badge,
            "sound": fields.sound,
            "link": fields.link,
        }
    )
    silent: dict[str, Any] = {"silent": True} if fields.silent else {}
    return orjson.dumps({**shown, **silent, **({"data": fields.data} if fields.data else {})})


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
