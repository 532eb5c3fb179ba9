"""Section `plugins.line` of the configuration, and the form of an address."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from petitbleu import Settings
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_USER_ID = re.compile(r"U[0-9a-f]{32}")
_TOKEN = re.compile(r"[\x21-\x7e]+")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Account(Settings):
    """A LINE Official Account, by its Messaging API channel."""

    token: SecretStr
    """Channel access token: a long-lived one, or one of v2.1."""
    brands: tuple[str, ...] = ()
    """Whose messages come from it; without any, those of every brand that no other account has."""

    @field_validator("token")
    @classmethod
    def _fit_for_a_header(cls, value: SecretStr) -> SecretStr:
        if not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("should be a channel access token: visible ASCII characters without a space")
        return value


class LineSettings(Settings):
    """Section `plugins.line`."""

    accounts: Annotated[dict[Name, Account], Field(min_length=1)]
    url: str = "https://api.line.me"
    connections: Annotated[int, Field(ge=1, le=1000)] = 50
    """Requests at a time to one account."""
    connect: Seconds = 10.0
    """For TCP and TLS."""
    answer: Seconds = 20.0
    """For a whole request."""
    limit_wait: Annotated[float, Field(gt=0, le=86_400)] = 3600.0
    """After the answer that the month's messages are used up."""
    reply_length: Annotated[int, Field(ge=50, le=5000)] = 500
    """Characters of an answer that are kept."""

    @field_validator("url")
    @classmethod
    def _origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.path.strip("/"):
            raise ValueError("should be scheme and host, such as https://api.line.me")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("tokens would cross the network in clear: use https")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_account_for_each_brand(self) -> LineSettings:
        owners: dict[str, str] = {}
        for name, account in self.accounts.items():
            for brand in account.brands or ("",):
                if brand in owners:
                    what = f"the brand {brand!r} has" if brand else "brands that no account names have"
                    raise ValueError(f"accounts: {what} two accounts, {owners[brand]} and {name}")
                owners[brand] = name
        return self

    def account_of(self, brand: str) -> str | None:
        """The name of the account that speaks for a brand."""
        named = (name for name, account in self.accounts.items() if brand in account.brands)
        open_to_all = (name for name, account in self.accounts.items() if not account.brands)
        return next(named, None) or next(open_to_all, None)


def user_id(text: str) -> str:
    """`text`, if it is a user ID as LINE's webhooks and LINE Login tell it. Raises `ValueError`."""
    if not _USER_ID.fullmatch(text):
        raise ValueError("is not a LINE user ID: U and 32 digits from 0 to f, not the LINE ID people search for")
    return text
