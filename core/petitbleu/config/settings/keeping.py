"""What is kept, for how long, and how it is encrypted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema, field_validator

from ...store.vault import key_bytes
from .values import Count, Duration, Section, checked


class ArchiveSettings(Section):
    path: Path | None = Field(
        None, description="Folder, from the configuration's directory, for what is deleted here; off without it."
    )
    keep: Duration = Field(31104000.0, description="How long events stay there.")


class Retention(Section):
    events: Duration = Field(2592000.0, description="How long ended events are kept, with all that belongs to them.")
    payloads: Duration = Field(2592000.0, description="How long what callers sent is kept once the event has ended.")
    attempts: Duration = Field(2592000.0, description="How long attempts are kept once the event has ended.")
    rendered: Duration = Field(86400.0, description="How long what was sent is kept, of types with rendered: true.")
    archive: ArchiveSettings = Field(
        default_factory=ArchiveSettings, description="Where events go that are deleted here."
    )
    every: Duration = Field(3600.0, description="How often to delete what is over.")
    batch: Count = Field(200, description="Events that one transaction deletes.")
    share: float = Field(0.1, gt=0, le=1, description="Part of the time that deleting may take.")
    audit: Duration = Field(31536000.0, description="How long it is kept who changed what.")
    outbox: Duration = Field(604800.0, description="How long notices of subscriptions are kept, told or not.")
    statistics: Duration = Field(31104000.0, description="How long it is kept how many events there were, for reports.")
    minutes: Duration = Field(172800.0, description="For how long of that by the minute.")
    hours: Duration = Field(5184000.0, description="For how long by the hour; what is older, by the day.")


def _key(secret: SecretStr) -> SecretStr:
    key_bytes(secret.get_secret_value())
    return secret


class EncryptionKey(Section):
    id: Annotated[str, checked(r"[A-Za-z0-9_.-]{1,32}", "a name of letters, digits, _, . and -")] = Field(
        description="Name of the key, stored with what it encrypts: never give it to another key."
    )
    key: Annotated[SecretStr, AfterValidator(_key), WithJsonSchema({"type": "string"})] = Field(
        description="32 random bytes in base64, as petitbleu encrypt --new-key prints them; from a file, best."
    )


class Encryption(Section):
    keys: tuple[EncryptionKey, ...] = Field(
        (), description="The first one encrypts what callers send from now on, all of them decrypt."
    )

    @field_validator("keys")
    @classmethod
    def _told_apart(cls, keys: tuple[EncryptionKey, ...]) -> tuple[EncryptionKey, ...]:
        if len({one.id for one in keys}) < len(keys):
            raise ValueError("two keys have the same id")
        return keys
