"""The plugin's section of the configuration."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Self
from urllib.parse import urlsplit

from petitbleu import FetchRefused, GuardedClient, GuardSettings, Settings
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

PREFIX = "whsec_"


def secret_bytes(text: str) -> bytes:
    """Of a secret as Standard Webhooks writes it: `whsec_` and the base64 of 24 to 64 bytes. Raises `ValueError`."""
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not text.startswith(PREFIX) or not 24 <= len(found) <= 64:
        raise ValueError(f"should be {PREFIX} and the base64 of 24 to 64 random bytes")
    return found


def _secret(value: SecretStr) -> SecretStr:
    secret_bytes(value.get_secret_value())
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Secret = Annotated[SecretStr, AfterValidator(_secret)]


class Receiver(Settings):
    """A system that takes messages, and the secrets it knows us by."""

    url: str
    """Where its addresses begin, such as https://shop.example.com/hooks/."""
    secrets: tuple[Secret, ...] = Field(min_length=1, max_length=5)
    """Each signs every message: while a secret is replaced, the old and the new one."""

    def has(self, url: str) -> bool:
        mine, theirs = urlsplit(self.url), urlsplit(url)
        same = (mine.scheme, mine.netloc.lower()) == (theirs.scheme, theirs.netloc.lower())
        # a path that climbs up again would be somebody else's
        return same and theirs.path.startswith(mine.path or "/") and ".." not in theirs.path.split("/")


class WebhookSettings(Settings):
    """Section `plugins.webhook`."""

    receivers: dict[Name, Receiver] = Field(min_length=1)
    """By a name of your own, which stands in attempts and limits as the provider."""
    fetch: GuardSettings = GuardSettings()
    """What may be connected to, and for how long."""
    connections: int = Field(50, ge=1, le=1000)
    """Requests at the same time, at most, in each process."""
    reply_length: int = Field(200, ge=0, le=1000)
    """Characters kept of what a receiver says."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        for name, one in self.receivers.items():
            try:
                GuardedClient(self.fetch).check(one.url)
            except FetchRefused as refused:
                raise ValueError(f"receivers.{name}.url: {refused}; fetch says what is allowed") from None
        return self

    def receiver_of(self, url: str) -> str | None:
        """Of those whose addresses it may be, the one that says so most exactly."""
        found = [name for name, one in self.receivers.items() if one.has(url)]
        return max(found, key=lambda name: len(self.receivers[name].url), default=None)

    def address(self, text: str) -> str:
        """For events: an address of a receiver that is known here. Raises `ValueError`."""
        try:
            GuardedClient(self.fetch).check(text)
        except FetchRefused as refused:
            raise ValueError(f"cannot be used: {refused}") from None
        if self.receiver_of(text) is None:
            raise ValueError("is at none of the receivers that are known here")
        return text
