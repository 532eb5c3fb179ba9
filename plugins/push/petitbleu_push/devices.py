"""Whom a push event is for: the app that its `mobileApp` names, and the device, by the form of its token."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from petitbleu import Data

from .settings import App

Service: TypeAlias = Literal["apns", "fcm", "web"]

SERVICES: Mapping[str, tuple[Service, ...]] = {"ios": ("apns", "fcm"), "android": ("fcm",), "web": ("web",)}
"""By channel, the services that reach its devices."""

_APNS_TOKEN = re.compile(r"(?:[0-9a-fA-F]{2}){32,100}")
_BASE64 = re.compile(r"[A-Za-z0-9_-]+={0,2}")


class DeviceRefused(Exception):
    """`attribute` of the event names no app or device that can be reached; with `ours` other settings would do."""

    def __init__(self, attribute: str, reason: str, ours: bool = False) -> None:
        self.attribute = attribute
        self.ours = ours
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A browser's, as `PushSubscription.toJSON()` has it (W3C Push API)."""

    endpoint: str = field(repr=False)
    key: bytes
    """The browser's public key `p256dh`, an uncompressed point of P-256 (RFC 8291 3.1)."""
    secret: bytes = field(repr=False)
    """The 16 bytes `auth` (RFC 8291 3.2)."""

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    @property
    def origin(self) -> str:
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc}"


class Apps:
    """The apps of the configuration, by the uuid that events give, and by none where there is but one."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._apps = apps
        self._names = {app.uuid.lower(): name for name, app in apps.items()}

    def find(self, data: Mapping[str, Data], channel: str) -> tuple[str, App]:
        """Raises `DeviceRefused`."""
        uuid = mobile_app(data, "uuid")
        if uuid:
            name = self._names.get(uuid.lower())
            if name is None:
                raise DeviceRefused(
                    "mobileApp", f"no app has the uuid {uuid[:64]!r}; plugins.push.apps lists them", True
                )
        else:
            fitting = [name for name, app in self._apps.items() if services(app, channel)]
            if not fitting:
                raise DeviceRefused("mobileApp", f"no app of plugins.push.apps has the channel {channel}", True)
            if len(fitting) > 1:
                raise DeviceRefused("mobileApp", f"has no uuid; the channel {channel} needs it to know the app")
            (name,) = fitting
        if not services(self._apps[name], channel):
            needed = " or ".join(SERVICES[channel])
            raise DeviceRefused("mobileApp", f"the app {name} has no {needed}, which the channel {channel} needs", True)
        return name, self._apps[name]


def mobile_app(data: Mapping[str, Data], name: str) -> str:
    """An attribute of the event's `<mobileApp>`, or a member of it in JSON; "" without it. Case does not matter."""
    child = data.get("mobileApp")
    if not isinstance(child, Mapping):
        return ""
    for key, value in child.items():
        if key.lower().lstrip("@") == name and isinstance(value, str):
            return value.strip()
    return ""


def services(app: App, channel: str) -> list[Service]:
    return [service for service in SERVICES[channel] if getattr(app, service) is not None]


def service_of(app: App, channel: str, token: str) -> Service:
    """Which service the token is for. Raises `DeviceRefused`."""
    offered = services(app, channel)
    if "web" in offered:
        subscription(token)
        return "web"
    if "apns" in offered and _APNS_TOKEN.fullmatch(token):
        return "apns"
    if "fcm" in offered:
        return "fcm"
    raise DeviceRefused("registrationToken", "is not a device token of APNs: 64 to 200 hexadecimal digits")


def registered(data: Mapping[str, Data]) -> datetime | None:
    """When the app last told the caller its token: `<mobileApp registered="2026-11-25T10:00:00Z"/>`, UTC where it has
    no offset. Raises `DeviceRefused`."""
    text = mobile_app(data, "registered")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DeviceRefused("mobileApp", "registered is not a date and time such as 2026-11-25T10:00:00Z") from None


def subscription(token: str) -> Subscription:
    """The JSON of a subscription, as it is or in base64url. Raises `DeviceRefused`."""
    try:
        text = token if token.startswith("{") else _decoded(token).decode()
        found: Any = json.loads(text)
        endpoint, keys = found["endpoint"], found["keys"]
        made = Subscription(endpoint, _decoded(keys["p256dh"]), _decoded(keys["auth"]))
        if not endpoint.startswith("https://") and not endpoint.startswith("http://"):
            raise ValueError
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), made.key)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        expected = 'the JSON {"endpoint": "https://…", "keys": {"p256dh": "…", "auth": "…"}}, as it is or in base64url'
        raise DeviceRefused("registrationToken", f"is not a subscription of a browser: {expected}") from None
    if len(made.key) != 65 or len(made.secret) != 16:
        raise DeviceRefused("registrationToken", "is not a subscription of a browser: a key has the wrong length")
    return made


def _decoded(text: str) -> bytes:
    if not _BASE64.fullmatch(text):
        raise ValueError
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error:
        raise ValueError from None
