"""Section `plugins.amqp` of the configuration."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from petitbleu import Settings
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

LOOPBACK = ("localhost", "127.0.0.1", "::1")

QueueName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class AmqpSettings(Settings):
    """Section `plugins.amqp`."""

    url: str
    """`amqps://HOST[:PORT][/VHOST]`, or `amqp://` for a broker on this machine."""
    login: str = "guest"
    password: SecretStr
    plain: bool = False
    """`amqp://` to another machine: login, password and events cross the network in clear."""
    ca_file: Path | None = None
    """Whom to trust, in place of the system's authorities."""
    cert_file: Path | None = None
    key_file: Path | None = None

    queue: QueueName = "petitbleu.events"
    dead_letter: QueueName = "petitbleu.refused"
    """The queue where a message goes that cannot be taken as it is, with the reasons in its headers."""
    declare: bool = True
    """Make both queues, durable, where they are not there yet; without it they must be there."""
    kind: Literal["quorum", "classic"] = "quorum"
    """Of the queues that are made."""

    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 300
    """Messages that the broker hands out ahead; no more are held here."""
    batch: Annotated[int, Field(ge=1, le=1000)] = 100
    """Events stored in one commit; at most `limits.events`."""
    origin: str = ""
    """Of events that name none and whose message has no `app_id`."""
    event_types: tuple[str, ...] | None = None
    """Those that may come this way; without it all."""
    brands: tuple[str, ...] | None = None
    """Those whose events may come this way; without it all."""

    connect: Seconds = 10.0
    """For TCP, TLS and log-on."""
    heartbeat: Annotated[int, Field(ge=5, le=600)] = 30
    """Seconds; a connection that is silent for three is given up."""
    retry_cap: Seconds = 30.0
    """The longest wait before another try to connect, or to store what there was no room for."""

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("amqps", "amqp") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("should be amqps://HOST, with port and virtual host where needed")
        if parts.username or parts.password:
            raise ValueError("should hold no login; give it as login and password")
        return value

    @model_validator(mode="after")
    def _sound(self) -> AmqpSettings:
        parts = urlsplit(self.url)
        if parts.scheme == "amqp" and parts.hostname not in LOOPBACK and not self.plain:
            raise ValueError("url: the password would cross the network in clear: use amqps, or say plain: true")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file come together")
        if any(name.startswith("amq.") for name in (self.queue, self.dead_letter)):
            raise ValueError("queue, dead_letter: names that begin with amq. are the broker's own")
        if self.dead_letter == self.queue:
            raise ValueError("dead_letter: is the queue itself")
        return self

    def address(self) -> str:
        """As the client wants it, login and password included."""
        scheme, _, rest = self.url.partition("://")
        login, password = quote(self.login, safe=""), quote(self.password.get_secret_value(), safe="")
        return f"{scheme}://{login}:{password}@{rest}?heartbeat={self.heartbeat}"

    def tls(self) -> ssl.SSLContext | None:
        if not self.url.startswith("amqps:"):
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context
