"""The plugin's section of the configuration."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from petitbleu import GuardSettings, Settings, host_of
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

LOOPBACK = ("localhost", "127.0.0.1", "::1")
APNS = {"production": "https://api.push.apple.com", "sandbox": "https://api.sandbox.push.apple.com"}
ALIASES = {"ios": ("41",), "android": ("42",), "web": ("webpush",)}
"""By channel, how else callers wish for it: Message Center has numbers for two."""
PUSH_SERVICES = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
"""Where the browsers that people use have their subscriptions."""

Seconds = Annotated[float, Field(gt=0, le=3600)]
AppName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")]
Uuid = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,64}$")]
_TEN = r"^[A-Z0-9]{10}$"
_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}")
_ORIGIN = re.compile(r"https?://[^/?#@]+/*")
_CONTACT = re.compile(r"mailto:[^@\s]+@[^@\s]+\.[^@\s]+|https://\S+")


def origin(value: str) -> str:
    """Scheme, host and port. Clear text is for this machine only, where tests and the demo have their servers."""
    host = host_of(value)
    if not host or not _ORIGIN.fullmatch(value):
        raise ValueError("should be scheme and host, such as https://api.push.apple.com")
    if value.startswith("http:") and host not in LOOPBACK:
        raise ValueError("tokens would cross the network in clear: use https")
    return value.rstrip("/")


def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key from PEM, or from the 32 bytes in base64url that web push tools print. Raises `ValueError`."""
    wrong = "should be a P-256 private key: PEM, or its 32 bytes in base64url"
    try:
        if "-----BEGIN" in text:
            key = load_pem_private_key(text.encode(), None)
        else:
            number = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
            if len(number) != 32:
                raise ValueError(wrong)
            key = ec.derive_private_key(int.from_bytes(number), ec.SECP256R1())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(wrong) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(wrong)
    return key


class Timeouts(Settings):
    """Seconds for each stage. Their sum should stay below the core's limit for one delivery."""

    wait: Seconds = 20
    """For room on a connection."""
    connect: Seconds = 10
    """For TCP, TLS and the first words of HTTP/2."""
    answer: Seconds = 15
    """For the answer after the request was written."""


class Apns(Settings):
    """Apple's push service, with token authentication."""

    team: str = Field(pattern=_TEN)
    """Apple's id of the developer team, ten characters."""
    key_id: str = Field(pattern=_TEN)
    """Apple's id of the key, ten characters."""
    key: SecretStr
    """The content of the .p8 file."""
    topic: str
    """The app's bundle id."""
    environment: Literal["production", "sandbox"] = "production"
    """Which of Apple's two services the app's device tokens come from."""
    url: str = ""
    """In place of the environment's own."""
    ca_file: Path | None = None
    """PEM certificates to trust instead of the system's."""
    token_life: float = Field(2400, ge=1200, le=3600)
    """Seconds a provider token is used: Apple takes none older than an hour, and wants no new one within 20 minutes."""
    connections: int = Field(2, ge=1, le=100)
    """At the same time, at most, in each process. A second one is opened when the first has no room."""
    streams: int = Field(500, ge=1, le=10_000)
    """Requests on one connection at a time, at most, also where Apple would take more."""
    ping: Seconds = 60
    """A connection that is silent for so long is asked whether it still lives."""
    timeouts: Timeouts = Timeouts()

    @field_validator("key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        private_key(value.get_secret_value())
        return value

    @field_validator("topic")
    @classmethod
    def _topic(cls, value: str) -> str:
        if not _TOPIC.fullmatch(value):
            raise ValueError("should be the app's bundle id, such as com.example.shop")
        return value

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return value and origin(value)

    @field_validator("ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @property
    def address(self) -> str:
        return self.url or APNS[self.environment]


class Fcm(Settings):
    """Firebase Cloud Messaging, HTTP v1."""

    service_account: SecretStr
    """The JSON that the Google Cloud console gives for a service account."""
    project: str = Field("", pattern=r"^[a-z0-9:.-]{0,100}$")
    """The service account's own unless given."""
    url: str = "https://fcm.googleapis.com"
    connections: int = Field(50, ge=1, le=1000)
    """At the same time, at most, in each process."""
    timeouts: Timeouts = Timeouts()

    @field_validator("service_account")
    @classmethod
    def _account(cls, value: SecretStr) -> SecretStr:
        try:
            found: Any = json.loads(value.get_secret_value())
        except ValueError:
            found = None
        needed = ("client_email", "private_key", "token_uri")
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in needed):
            raise ValueError(f"should be a service account's JSON, with {', '.join(needed)}")
        try:
            key = load_pem_private_key(found["private_key"].encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("its private_key should be an RSA private key in PEM")
        origin("{0.scheme}://{0.netloc}".format(urlsplit(found["token_uri"])))
        return value

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return origin(value)

    @model_validator(mode="after")
    def _project(self) -> Self:
        if not self.project_id:
            raise ValueError("project is needed: the service account's JSON has no project_id")
        return self

    @property
    def account(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.service_account.get_secret_value())
        return found

    @property
    def project_id(self) -> str:
        return self.project or str(self.account.get("project_id", ""))


class Web(Settings):
    """Web push for browsers (RFC 8030), with VAPID (RFC 8292)."""

    key: SecretStr
    """The P-256 private key whose public half the pages subscribe with: PEM, or base64url."""
    contact: str
    """Whom the push services may write to: mailto:somebody@example.com, or an https address."""

    @field_validator("key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        private_key(value.get_secret_value())
        return value

    @field_validator("contact")
    @classmethod
    def _contact(cls, value: str) -> str:
        if not _CONTACT.fullmatch(value):
            raise ValueError("should be mailto: and an address with a dotted domain, or an https address")
        return value


class App(Settings):
    """An app, as events name it by its uuid, and the services that reach it."""

    uuid: Uuid
    """What events say in `<mobileApp uuid="…"/>`."""
    apns: Apns | None = None
    fcm: Fcm | None = None
    web: Web | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.apns is None and self.fcm is None and self.web is None:
            raise ValueError("no service reaches it: give apns, fcm or web")
        return self


class PushSettings(Settings):
    """Section `plugins.push`."""

    apps: dict[AppName, App] = Field(default_factory=dict)
    """By a name of your own, which stands in the names of providers: apns/NAME, fcm/NAME, web/NAME. Without any,
    notifications can be written and previewed, and none is sent."""
    fetch: GuardSettings = GuardSettings(hosts=PUSH_SERVICES)
    """What web push may connect to: subscriptions come from callers."""
    web_connections: int = Field(50, ge=1, le=1000)
    """To all web push services together, at the same time, at most, in each process."""
    reply_length: int = Field(500, ge=80, le=10_000)
    """Characters kept of what a provider says."""
    failure_memory: Seconds = 300
    """Seconds a provider's failure shows on the health page when nothing has been sent since."""

    @field_validator("apps")
    @classmethod
    def _distinct(cls, value: dict[str, App]) -> dict[str, App]:
        seen: dict[str, str] = {}
        for name, app in value.items():
            other = seen.setdefault(app.uuid.lower(), name)
            if other != name:
                raise ValueError(f"{other} and {name} have the same uuid")
        return value

    @field_validator("fetch")
    @classmethod
    def _hosts(cls, value: GuardSettings) -> GuardSettings:
        return value if value.hosts is not None else value.model_copy(update={"hosts": PUSH_SERVICES})
