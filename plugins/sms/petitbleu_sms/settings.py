"""The plugin's section of the configuration: SMPP connectors, HTTP gateways, and what holds for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from petitbleu import Host, Scope, Settings
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from .gateway_settings import Gateway, Seconds, Senders
from .text import Concatenation, Transliterate

Octet = Annotated[int, Field(ge=0, le=255)]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class Binds(Settings):
    """How many sessions of each kind there are in each process; sections 2.2.1 and 4.1."""

    transceiver: int = Field(0, ge=0, le=100)
    transmitter: int = Field(0, ge=0, le=100)
    receiver: int = Field(0, ge=0, le=100)

    @model_validator(mode="after")
    def _sends(self) -> Self:
        if not self.transceiver + self.transmitter:
            raise ValueError("nothing could be sent: give a transceiver or a transmitter")
        return self


class Timeouts(Settings):
    """Seconds for each stage. The first four, and `response` once more, should stay below the core's limit for one
    delivery: what is cut off by that is unknown for good."""

    wait: Seconds = 10
    """For a session with a free place in its window."""
    connect: Seconds = 10
    """For the TCP connection with TLS, and once more for the bind."""
    response: Seconds = 30
    """For the response to a request. A message without one is unknown."""
    parts: Seconds = 30
    """For the later parts of a message whose first part is taken: they are offered again until then."""
    enquire_link: Seconds = 30
    """Of silence, after which the link is tried."""
    unbind: Seconds = 5
    """For what is under way, and for good manners, when a session is closed."""


class Reconnect(Settings):
    """Seconds between two tries to bind: `first`, doubled each time up to `cap`, with jitter."""

    first: Seconds = 1
    cap: Seconds = 60


class Throttle(Settings):
    """What follows ESME_RTHROTTLED and ESME_RMSGQFUL."""

    first: Seconds = 0.5
    """Seconds in which nothing is sent; doubled each time up to `cap`, until something is taken again."""
    cap: Seconds = 10
    patience: Seconds = 5
    """Seconds for which a message waits in its place; after them it is put back, at no cost to it."""


class Kind(Settings):
    """Type of number and numbering plan; sections 5.2.5 and 5.2.6."""

    ton: Octet
    npi: Octet


class Numbering(Settings):
    """Which TON and NPI the addresses get, by what they look like."""

    destination: Kind = Kind(ton=1, npi=1)
    """Whom messages go to: in international form, without a +."""
    international: Kind = Kind(ton=1, npi=1)
    """A sender written as +33612345678."""
    short: Kind = Kind(ton=3, npi=0)
    """A sender of up to eight digits."""
    alphanumeric: Kind = Kind(ton=5, npi=0)
    """A sender with letters in it."""


class Meaning(Settings):
    """What a status or error code of one provider means for a message, in place of the table in the README."""

    outcome: Literal["failed", "deferred"] = "failed"
    """`failed`: refused for good. `deferred`: to be tried again."""
    scope: Scope = Scope.MESSAGE


class ReceiptError(Settings):
    """What an error code in the receipts of one provider means."""

    scope: Scope = Scope.ADDRESS
    permanent: bool = True
    """Whether the next message will fare no better."""


def _status(value: Any) -> Any:
    """`0x401` as documents write it; YAML 1.2 reads it as a number, a quoted one is text."""
    return int(value, 0) if isinstance(value, str) and re.fullmatch(r"0[xX][0-9A-Fa-f]{1,8}|\d{1,10}", value) else value


class Connector(Settings):
    """One SMSC, reached by SMPP 3.4."""

    host: Host
    port: int = Field(2775, ge=1, le=65535)
    security: Literal["plain", "tls"] = "plain"
    """`tls` verifies certificate and name."""
    ca_file: Path | None = None
    """PEM certificates to trust instead of the system's."""
    system_id: str = Field("", max_length=15, pattern=r"^[\x20-\x7e]*$")
    password: SecretStr = SecretStr("")
    """SMPP 3.4 allows 8 characters; what more there is is sent all the same, up to 255."""
    system_type: str = Field("", max_length=12, pattern=r"^[\x20-\x7e]*$")
    service_type: str = Field("", max_length=5, pattern=r"^[\x20-\x7e]*$")
    address_range: str = Field("", max_length=40, pattern=r"^[\x20-\x7e]*$")
    """What a receiver hears of; empty leaves it to the SMSC."""
    binds: Binds = Binds(transceiver=1)
    window: int = Field(10, ge=1, le=10_000)
    """`submit_sm`s without a response, for each session that sends."""
    concatenation: Concatenation = "udh"
    """How the parts of a long text hold together: a user data header with a reference of one octet (`udh`) or two
    (`udh16`), SAR parameters (`sar`), or all of it in `message_payload`, to be split by the SMSC."""
    validity_period: bool = True
    """Tell the SMSC when the event expires."""
    user_message_reference: bool = True
    """Number each message, so that a receipt can be matched although the response was lost; needs an SMSC that
    gives the number back."""
    message_ids: Literal["auto", "same", "hex_to_decimal", "decimal_to_hex"] = "auto"
    """How receipts spell the identifiers of the responses. `auto` takes either spelling."""
    time_zone: str = "UTC"
    """Of the times in receipts."""
    statuses: dict[int, Meaning] = Field(default_factory=dict)
    """By command_status, such as 0x401, where this SMSC means something else by it than the README's table."""
    receipt_errors: dict[str, ReceiptError] = Field(default_factory=dict)
    """By the `err` of a receipt, as the SMSC documents them."""
    senders: Senders = Field(default_factory=dict)
    """As `plugins.sms.senders`, for this SMSC alone."""
    numbering: Numbering = Numbering()
    longest_pdu: int = Field(70_000, ge=512, le=1_000_000)
    """Octets of a unit that is read; a longer one ends the session."""
    timeouts: Timeouts = Timeouts()
    reconnect: Reconnect = Reconnect()
    throttle: Throttle = Throttle()

    @field_validator("statuses", mode="before")
    @classmethod
    def _statuses(cls, value: Any) -> Any:
        return {_status(key): meaning for key, meaning in value.items()} if isinstance(value, Mapping) else value

    @field_validator("ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("password")
    @classmethod
    def _fits(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        if len(secret) > 255 or not secret.isascii() or "\0" in secret:
            raise ValueError("must be at most 255 ASCII characters")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"there is no time zone {value!r}; names are such as Europe/Paris") from None
        return value


class SmsSettings(Settings):
    """Section `plugins.sms`."""

    connectors: dict[ProviderName, Connector] = Field(default_factory=dict)
    """SMSCs, by name."""
    gateways: dict[ProviderName, Gateway] = Field(default_factory=dict)
    """HTTP gateways, by name."""
    senders: Senders = Field(default_factory=dict)
    """By brand, then by the country of the recipient's number; `*` is any. The most exact one counts, the brand
    before the country. A template's own `sender` comes before all of them."""
    transliterate: Transliterate = "never"
    """Characters that the GSM alphabet lacks: `typography` writes quotes, dashes and the like plainly, `letters` drops
    accents too; both only where the whole text then fits the alphabet."""
    max_parts: int = Field(6, ge=1, le=255)
    """Of one message. A longer one is not sent."""
    reply_length: int = Field(500, ge=80, le=10_000)
    """Characters kept of what a provider says."""
    receipts_waiting: int = Field(10_000, ge=1)
    """Receipts that wait to be stored; past it the SMSC is told to come again later."""
    failure_memory: Seconds = 300
    """Seconds a provider's failure shows on the health page when nothing has been sent since."""

    @property
    def providers(self) -> tuple[str, ...]:
        """All of them, in the order in which they are asked."""
        return (*self.connectors, *self.gateways)

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.providers:
            raise ValueError("there is no provider: give one in connectors or in gateways")
        if twice := self.connectors.keys() & self.gateways.keys():
            raise ValueError(f"{min(twice)!r} is a connector and a gateway: give one of them another name")
        return self
