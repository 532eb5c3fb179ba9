"""The plugin's section of the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from petitbleu import Host, Settings
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHORTEST_SECRET = 16
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_LOCAL_PART = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EHLO_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|\[[A-Za-z0-9.:]+\]")

Seconds = Annotated[float, Field(gt=0, le=3600)]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class Timeouts(Settings):
    """Seconds for each stage. Their sum should stay below the core's limit for one delivery."""

    wait: Seconds = 20
    """For a free connection."""
    connect: Seconds = 10
    """For the TCP connection, and once more for TLS from the start and the greeting."""
    ehlo: Seconds = 10
    """For each of EHLO, STARTTLS and the steps of the login."""
    command: Seconds = 20
    """For each of RSET, MAIL, RCPT and DATA."""
    data: Seconds = 60
    """For the answer after the whole message was written."""
    quit: Seconds = 2
    """For good manners when a connection is closed."""


class Provider(Settings):
    """An SMTP relay, and the pool of connections to it."""

    host: Host
    port: int = Field(25, ge=1, le=65535)
    security: Literal["plain", "starttls", "tls"] = "plain"
    """`starttls` and `tls` verify certificate and name, and never fall back to clear text."""
    ca_file: Path | None = None
    """PEM certificates to trust instead of the system's."""
    username: str = ""
    password: SecretStr = SecretStr("")
    local_hostname: str = ""
    """What EHLO says. Empty: this machine's name if it has a domain, else its address."""
    connections: int = Field(10, ge=1, le=1000)
    messages_per_connection: int = Field(100, ge=1)
    idle: Seconds = 30
    """Seconds an unused connection is kept."""
    timeouts: Timeouts = Timeouts()

    @field_validator("local_hostname")
    @classmethod
    def _ehlo_name(cls, value: str) -> str:
        if value and not _EHLO_NAME.fullmatch(value):
            raise ValueError("must be a host name with its domain, or an address in brackets such as [192.0.2.1]")
        return value

    @field_validator("ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @model_validator(mode="after")
    def _login(self) -> Self:
        if bool(self.username) != bool(self.password.get_secret_value()):
            raise ValueError("username and password go together: give both or none")
        if self.username and self.security == "plain" and self.host not in LOOPBACK:
            raise ValueError("the password would cross the network in clear: set security to starttls or tls")
        return self


class Listen(Settings):
    """Where bounces come in."""

    host: Host = "127.0.0.1"
    port: int = Field(2525, ge=0, le=65535)
    """The processes of one installation share it; port 0 takes a free one."""
    protocol: Literal["smtp", "lmtp"] = "smtp"
    """`lmtp` behind a mail server that faces the world, `smtp` without one."""


class BounceLimits(Settings):
    """What the listener takes at most."""

    size: int = Field(1_048_576, ge=65_536)
    """Bytes of one mail."""
    connections: int = Field(20, ge=1, le=10_000)
    """At the same time, in each process."""
    recipients: int = Field(10, ge=1, le=1000)
    """Of one mail."""
    idle: Seconds = 60
    """Seconds without a command, and for the whole of a mail."""
    session: Seconds = 300
    """Seconds of one connection."""
    closing: Seconds = 5
    """Seconds in which a mail that is being taken may finish when the server stops."""


class Bounces(Settings):
    """Return paths of our own, and what comes back to them."""

    domain: str = Field(max_length=190)
    """Behind the @ of every return path; its MX is the listener. For nothing else."""
    secrets: tuple[SecretStr, ...] = Field(min_length=1, max_length=8)
    """What return paths are signed with. The first one signs, all of them are accepted."""
    feedback: tuple[str, ...] = ()
    """Names before the @ to which feedback reports come, such as `fbl`. Nothing else is taken there."""
    success: bool = False
    """Ask for word of delivery, too, where the relay offers DSN."""
    listen: Listen = Listen()
    limits: BounceLimits = BounceLimits()

    @field_validator("domain")
    @classmethod
    def _host_name(cls, value: str) -> str:
        lower = value.lower()
        if not _DOMAIN.fullmatch(lower) or any(len(label) > 63 for label in lower.split(".")):
            raise ValueError("must be a domain in its ASCII form, such as bounces.example.com")
        return lower

    @field_validator("secrets")
    @classmethod
    def _hard_to_guess(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(secret.get_secret_value()) < SHORTEST_SECRET for secret in value):
            raise ValueError(f"each needs {SHORTEST_SECRET} characters or more, such as `openssl rand -hex 16` makes")
        return value

    @field_validator("feedback")
    @classmethod
    def _local_parts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _LOCAL_PART.fullmatch(name):
                raise ValueError(f"{name[:64]!r} is not what stands before an @: letters, digits, dots, hyphens")
        return tuple(name.lower() for name in value)


class EmailSettings(Settings):
    """Section `plugins.email`."""

    providers: dict[ProviderName, Provider] = Field(min_length=1)
    """By name. The first one is used unless `default`, a template or its brand names another."""
    default: tuple[ProviderName, ...] = ()
    """Those for messages whose template and brand name none; of several, the core's `delivery.failover` decides."""
    max_size: int = Field(26_214_400, ge=1024)
    """Bytes of one message as it goes out."""
    cached_files: int = Field(64, ge=0)
    """Attached files kept in memory as base64."""
    reply_length: int = Field(500, ge=80, le=10_000)
    """Characters kept of what a provider says."""
    failure_memory: Seconds = 300
    """Seconds a provider's failure shows on the health page when nothing has been sent since."""
    bounces: Bounces | None = None
    """Without it the envelope's sender is the message's, and bounces go there."""

    @model_validator(mode="after")
    def _known_default(self) -> Self:
        for name in self.default:
            if name not in self.providers:
                raise ValueError(f"default names {name!r}; providers has {', '.join(self.providers)}")
        return self
