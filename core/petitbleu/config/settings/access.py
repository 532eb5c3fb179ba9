"""Who may do what, and logging on."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema

from ...networks import Network
from .values import Count, Duration, Section

Right: TypeAlias = Literal["push", "read", "data", "publish", "suppress", "audit", "admin"]


def _password(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(
        r"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+", secret.get_secret_value()
    ):
        raise ValueError("should be an Argon2id hash ($argon2id$…), not the password itself")
    return secret


class OperatorSettings(Section):
    password: Annotated[SecretStr, AfterValidator(_password), WithJsonSchema({"type": "string"})] | None = Field(
        None, description="Argon2id hash of the password; without one nobody can log on as this operator."
    )
    rights: frozenset[Right] = Field(
        description="What the operator may do: push, read, data, publish, suppress, audit, admin."
    )
    event_types: frozenset[str] | None = Field(None, description="The only event types the rights reach.")
    brands: frozenset[str] | None = Field(None, description="The only brands the rights reach.")
    password_token_from: tuple[Network, ...] = Field(
        (), description="Networks from where login/password may stand in place of a session token."
    )
    trusted_from: tuple[Network, ...] = Field(
        (), description="Networks whose callers are this operator without any credentials."
    )


class Sessions(Section):
    lifetime: Duration = Field(86400.0, description="How long a session token holds.")
    per_operator: Count = Field(1000, description="Open sessions of one operator; a further one ends the oldest.")
    cache: Duration = Field(
        5.0, description="How long a session or token is trusted without asking the database again."
    )
    password_cache: Duration = Field(300.0, description="How long a correct login/password need not be hashed again.")
    remembered: Count = Field(
        10_000, description="Sessions, tokens, passwords and callers kept in memory, of each kind."
    )
    hashing: int = Field(2, ge=1, le=32, description="Passwords hashed at the same time (64 MiB of memory each).")
    guess_delay: Duration = Field(
        0.5, description="Wait after a wrong password; doubles with each further one of the same login and address."
    )
    guess_delay_cap: Duration = Field(10.0, description="The longest such wait.")
    guess_memory: Duration = Field(900.0, description="How long wrong passwords are held against a caller.")
    guess_waiting: Count = Field(20, description="Calls of one login and address that may wait so; others are refused.")
    refusals: Count = Field(100, description="Failed sign-ins of a minute that a process writes into the audit.")
