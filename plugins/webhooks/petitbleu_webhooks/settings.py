"""The plugin's section of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from petitbleu import NOTICE_KINDS, FetchRefused, GuardedClient, GuardSettings, Settings, Subscription
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from .signing import secret_bytes

USUAL = frozenset(
    ("sent", "ignored", "failed", "not_covered", "expired", "received", "bounced", "complained"),
)
"""How an event ended, and what is heard of it afterwards."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _kind(text: str) -> str:
    if text not in NOTICE_KINDS:
        raise ValueError(f"should be one of {', '.join(NOTICE_KINDS)}")
    return text


def _secret(value: SecretStr) -> SecretStr:
    secret_bytes(value.get_secret_value())
    return value


Kind = Annotated[str, AfterValidator(_kind)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]


class Endpoint(Settings):
    """A receiver, and what it wants to hear of."""

    url: str
    """Where it is posted to."""
    secrets: tuple[Secret, ...] = Field(min_length=1, max_length=5)
    """Each signs every message: while a secret is replaced, the old and the new one."""
    events: frozenset[Kind] = USUAL
    """What it is told of."""
    types: frozenset[str] = frozenset()
    """Event types; all of them unless given."""
    channels: frozenset[str] = frozenset()
    """Channels; all of them unless given."""
    brands: frozenset[str] = frozenset()
    """Brands; all of them unless given."""
    include: frozenset[Literal["address"]] = frozenset()
    """`address` puts the recipient's addresses into the message."""
    concurrency: int = Field(4, ge=1, le=100)
    """Requests at the same time, at most, in each process."""
    first: float = Field(5, gt=0, le=3600)
    """Seconds before the second try; doubles with every further one."""
    cap: float = Field(3600, gt=0, le=86_400)
    """The longest such wait, in seconds."""
    patience: float = Field(259_200, gt=0)
    """Seconds for which a message is tried."""


class WebhookSettings(Settings):
    """Section `plugins.webhooks`."""

    subscriptions: dict[Name, Endpoint] = Field(default_factory=dict)
    """By a name of your own."""
    fetch: GuardSettings = GuardSettings()
    """What may be connected to, and for how long."""
    reply_length: int = Field(200, ge=0, le=500)
    """Characters kept of what a receiver says when it does not take a message."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        client = GuardedClient(self.fetch)
        for name, one in self.subscriptions.items():
            try:
                client.check(one.url)
            except FetchRefused as refused:
                raise ValueError(f"subscriptions.{name}.url: {refused}; fetch says what is allowed") from None
        return self


def subscriptions(settings: WebhookSettings) -> Sequence[Subscription]:
    """What the core writes down for each endpoint."""
    return [
        Subscription(
            name,
            one.events,
            one.types,
            one.channels,
            one.brands,
            one.concurrency,
            settings.fetch.timeout + 5,
            one.first,
            one.cap,
            one.patience,
        )
        for name, one in settings.subscriptions.items()
    ]
