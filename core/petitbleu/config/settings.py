"""The sections of `petitbleu.yaml`: what there is to set, with its type, limits and default.

The descriptions are the words of the JSON Schema that editors show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ..addresses import email_address
from ..lifecycle import STATUSES
from ..masking import parsed
from ..networks import Network
from ..store.vault import key_bytes
from ..suggest import did_you_mean
from ..suppression import MOST_COUNTED, Reason
from ..types import Queue, Settings

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


class Section(Settings):
    """A mapping of settings that may be left empty."""

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value


def _seconds(value: Any) -> Any:
    """`30`, `30s`, `5m`, `24h`, `7d`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("should be a duration: seconds, or a number with s, m, h or d, such as 30s or 24h")
    return float(found[1]) * _UNITS[found[2]]


def _checked(pattern: str, words: str) -> AfterValidator:
    """Text that matches `pattern`, or else the error says what it should be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {words}")
        return text

    return AfterValidator(check)


def _zone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(str(value), available_timezones())
        raise ValueError("should be a time zone such as Europe/Paris" + (f"; {hint}" if hint else "")) from None


TimeZone = Annotated[ZoneInfo, PlainValidator(_zone), WithJsonSchema({"type": "string"})]

Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=10 * 366 * 86400, allow_inf_nan=False),
    WithJsonSchema(
        {
            "$comment": "a duration greater than 0, such as 30s, 5m, 24h or 7d",
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]?$"}],
        }
    ),
]
"""Seconds."""

Share = Annotated[float, Field(ge=0.01, le=1000, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
EmailAddress = Annotated[str, AfterValidator(email_address)]
Line = Annotated[str, _checked(r"[^\x00-\x1f\x7f]*", "one line of text")]
Name = Annotated[str, _checked(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "a name of letters, digits, _, . and -")]
Login = Annotated[str, _checked(r"[^/\s\x00-\x1f\x7f]{1,128}", "a login without spaces and without /")]
Country = Annotated[str, _checked(r"[A-Z]{2}", "a country of two capital letters (ISO 3166-1), such as FR")]
Language = Annotated[str, _checked(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", "a language tag such as fr or fr-CA")]
Variable: TypeAlias = str | int | float | bool


class Instance(Section):
    name: Annotated[
        str, _checked(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", "a name of letters, digits, . and -")
    ] = Field("petitbleu", description="Name of this installation; part of every Message-ID, so never change it.")
    cell: int = Field(1, ge=1, le=127, description="Number of this installation, the high byte of every event id.")
    public_url: Annotated[
        str,
        _checked(
            r"|https?://[^\s/?#]+(/[^\s?#]*[^\s?#/])?",
            "an address such as https://mail.example.com, without / at the end",
        ),
    ] = Field("", description="How callers reach this server, where a request does not tell.")
    time_zone: TimeZone = Field(
        default_factory=lambda: ZoneInfo("UTC"),
        description="Zone of times that come without one, such as Europe/Paris.",
    )
    brand: str = Field("", description="Brand of messages for which no rule, event type or template names one.")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Networks whose X-Forwarded-For, -Proto and -Host are believed."
    )


class Http(Section):
    host: str = Field("127.0.0.1", min_length=1, description="Address or host name to listen on.")
    port: Port = Field(8080, description="Port to listen on; 0 takes a free one.")
    body_limit: Bytes = Field(8_388_608, description="Bytes of a request body at most.")
    requests: Count = Field(1000, description="Requests under way at once; further ones are answered 503.")
    farewell: Duration = Field(
        1.0, description="How long callers may use the connections they keep, once more each, when the server stops."
    )
    shutdown: Duration = Field(10.0, description="How long open requests may take to finish when the server stops.")


class Kind(StrEnum):
    """What a path of a ctx contract holds; `contract.py` knows how to check each."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    LIST = "list"
    ANY = "any"


CtxPath = Annotated[str, _checked(r"[^\s.]+(\.[^\s.]+)*", "a path into ctx such as client.firstname")]


def _maskable(text: str) -> str:
    parsed(text)
    return text


MaskPath = Annotated[str, AfterValidator(_maskable)]


class CtxContract(Section):
    max_size: Bytes | None = Field(None, description="Bytes of the ctx, as JSON, at most.")
    required: dict[CtxPath, Kind] = Field(
        default_factory=dict, description="Path in ctx, such as client.firstname, to what must stand there."
    )


class TypeRetention(Section):
    events: Duration | None = Field(None, description="How long its ended events are kept, as retention.events.")
    payloads: Duration | None = Field(None, description="How long what callers sent is kept, as retention.payloads.")
    attempts: Duration | None = Field(None, description="How long their attempts are kept, as retention.attempts.")
    rendered: Duration | None = Field(None, description="How long what was sent is kept, as retention.rendered.")
    archive: Duration | Literal[False] | None = Field(
        None, description="How long they stay in the archive, as retention.archive.keep; false: they do not come there."
    )
    statistics: Duration | None = Field(None, description="How long they are counted, as retention.statistics.")


class TypeSuppression(Section):
    ignore: frozenset[Reason] = Field(
        frozenset(), description="Reasons that do not keep these events back; `suppression: ignore` means all."
    )


class EventTypeSettings(Section):
    label: Line = Field("", description="Name for people; the type's own name by default.")
    queue: Queue = Field(Queue.REALTIME, description="Queue of events that come by a way that names none.")
    brand: str = Field("", description="Brand in whose name these events are sent.")
    share: Share = Field(1.0, description="Of the places its brand has while others wait: 2 gets twice as many as 1.")
    idempotency: Duration | None = Field(
        None, description="How long an event with the same origin and externalId is the same event; off by default."
    )
    retention: TypeRetention = Field(
        default_factory=TypeRetention, description="What of these events is kept shorter or longer than others'."
    )
    suppression: TypeSuppression | Literal["ignore"] = Field(
        default_factory=TypeSuppression, description="In spite of which suppressions these events go out."
    )
    ctx: CtxContract | None = Field(None, description="What the ctx of these events must hold, checked at the door.")
    masking: tuple[MaskPath, ...] = Field((), description="Paths into ctx that are never shown, with those of masking.")
    rendered: bool = Field(False, description="Whether a copy of each message that was sent is kept for operators.")

    @property
    def ignored_reasons(self) -> frozenset[Reason]:
        return frozenset(Reason) if self.suppression == "ignore" else self.suppression.ignore


def _one_of(*names: str) -> Any:
    """Text that is one of `names`."""

    def check(text: str) -> str:
        if text not in names:
            hint = did_you_mean(text, names)
            raise ValueError(f"should be one of {', '.join(names)}" + (f"; {hint}" if hint else ""))
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(names)})


EventProperty = Annotated[str, *_one_of("type", "channel", "queue", "origin", "language", "country")]


class RuleSettings(Section):
    when: dict[EventProperty, str] = Field(
        description="What the event must have, every line of it, for the rule to hold."
    )
    channel: str = Field("", description="Send by this channel instead.")
    brand: str = Field("", description="Send in the name of this brand instead.")
    template: str = Field("", description="Use the template of this event type instead.")

    @model_validator(mode="after")
    def _sets_something(self) -> RuleSettings:
        if not (self.channel or self.brand or self.template):
            raise ValueError("should set channel, brand or template")
        return self


class Routing(Section):
    rules: tuple[RuleSettings, ...] = Field((), description="The first rule that holds decides.")
    languages: dict[Country, Language] = Field(
        default_factory=dict, description="Country to language, for events that name a country but no language."
    )


Failure: TypeAlias = Literal["failed", "expired", "unknown", "bounced", "no_receipt"]


class RecyclingSettings(Section):
    when: dict[EventProperty, str] = Field(
        description="What the event must have, every line of it; channel is the one it did not get through by."
    )
    on: frozenset[Failure] = Field(
        frozenset({"failed", "bounced"}),
        min_length=1,
        description="failed: refused for good; expired: no try left; unknown: it may have arrived or not; bounced: a "
        "receipt says it did not arrive; no_receipt: none has come. With unknown and no_receipt two may arrive.",
    )
    after: Duration | None = Field(None, description="With no_receipt: for how long a receipt is waited for.")
    to: str = Field(min_length=1, description="The channel by which the event then goes on.")

    @model_validator(mode="after")
    def _after_no_receipt(self) -> RecyclingSettings:
        if ("no_receipt" in self.on) != (self.after is not None):
            raise ValueError("after and no_receipt need each other: how long is a receipt waited for?")
        return self


class RecyclingRules(Section):
    rules: tuple[RecyclingSettings, ...] = Field((), description="The first rule that holds decides.")


class Sender(Section):
    name: Line = Field("", description="Display name.")
    address: EmailAddress = Field(description="Email address.")


class Brand(Section):
    name: Line = Field("", description="Name for customers, brand.name in templates; the brand's key by default.")
    sender: Sender | None = Field(None, description="Who emails of this brand come from.")
    reply_to: EmailAddress | None = Field(None, description="Where replies go, if not to the sender.")
    share: Share = Field(1.0, description="Of a worker's places while other brands wait: 2 gets twice as many as 1.")
    variables: dict[Name, Variable] = Field(
        default_factory=dict, description="Values for templates, as brand.NAME; they also fill fields left open there."
    )

    @field_validator("variables")
    @classmethod
    def _not_taken(cls, variables: Mapping[str, Variable]) -> Mapping[str, Variable]:
        for name in ("name", "sender", "reply_to", "share"):
            if name in variables:
                raise ValueError(f"{name} has a meaning of its own and cannot be a variable")
        return variables


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


class RetrySettings(Section):
    first: Duration = Field(30.0, description="Wait before the second try; doubles with every further one.")
    cap: Duration = Field(3600.0, description="The longest wait.")
    tries: Count = Field(12, description="Tries in all.")


class LimitOfOne(Section):
    rate: Annotated[float, Field(ge=0.01, le=1_000_000, allow_inf_nan=False)] | None = Field(
        None, description="Messages a second, of all processes together."
    )
    concurrency: Count | None = Field(None, description="Messages at once, of all processes together.")


Destination = Annotated[
    str, _checked(r"\*|[^\s/\x00-\x1f\x7f]{1,255}", "a destination such as example.com, or * for each other one")
]
ProviderName = Annotated[
    str, _checked(r"[^\s/\x00-\x1f\x7f]{1,64}/[^\s\x00-\x1f\x7f]{1,64}", "channel/provider, such as email/main")
]


class ProviderSettings(LimitOfOne):
    destinations: dict[Destination, LimitOfOne] = Field(
        default_factory=dict, description="By destination, such as a domain, or * for each other one."
    )


class FeedbackSettings(Section):
    window: Count = Field(10, description="Messages at once with a provider of which nothing is known yet.")
    pause: Duration = Field(5.0, description="How long a failing provider is left alone; doubles with each pause.")
    pause_cap: Duration = Field(300.0, description="The longest such pause.")
    wait: Duration = Field(2.0, description="How long a message waits in its place for a provider that is busy.")
    back_cap: Duration = Field(30.0, description="How long after that it is put back at most.")


ProviderKey = Annotated[str, _checked(r"[^\s/\x00-\x1f\x7f]{1,64}(/[^\s/\x00-\x1f\x7f]{1,64})?", "a provider's name")]
Weight = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class FailoverSettings(Section):
    providers: tuple[ProviderKey, ...] | dict[ProviderKey, Weight] = Field(
        description="The channel's providers in the order in which they are tried, or each with its weight."
    )
    slow: Duration | None = Field(None, description="A provider whose messages take longer is passed over.")
    bounced: bool = Field(False, description="Try the next one when a receipt says that a message did not arrive.")
    no_receipt: Duration | None = Field(None, description="Try the next one when no receipt has come for so long.")


HookName = Annotated[str, _checked(r"\*|[a-z_]+", "a hook such as deliver, or * for each other one")]


class ReceiptSettings(Section):
    wait: Duration = Field(
        600.0, description="How long a message of which nobody knows whether the provider has it waits for a receipt."
    )
    unmatched: Duration = Field(3600.0, description="How long a receipt may wait for the message it belongs to.")


class DeliverySettings(Section):
    concurrency: Count = Field(50, description="Messages under way at once in one worker.")
    reserved: int = Field(10, ge=0, description="How many of them are kept free for the real-time queue.")
    poll: Duration = Field(1.0, description="How often to look for work when nothing announces any.")
    announce: bool = Field(True, description="Let processes tell each other of work, on PostgreSQL.")
    lease: Duration = Field(30.0, description="How long a claimed event is left to a worker that gives no sign.")
    drain: Duration = Field(20.0, description="How long messages handed to a provider may take when the worker stops.")
    deadline: Duration = Field(120.0, description="How long handing over one message may take.")
    hook_deadline: Duration = Field(10.0, description="How long any other hook of a plugin may take.")
    deadlines: dict[str, dict[HookName, Duration]] = Field(
        default_factory=dict,
        description="By plugin and hook, such as deliver: how long it may take. * is each other hook but deliver.",
    )
    hook_grace: Duration = Field(
        1.0,
        description="How long a plugin's call whose time is over may take to end, once cancelled, until it is left.",
    )
    lifetime: Duration = Field(172800.0, description="How long an event without an expiration is tried.")
    hold_after_restore: bool = Field(
        True, description="Hold what is open in a PostgreSQL database that was restored, copied or failed over."
    )
    retry: dict[str, RetrySettings] = Field(
        default_factory=dict, description="By channel name: tries and waits in place of the plugin's own."
    )
    providers: dict[ProviderName, ProviderSettings] = Field(
        default_factory=dict, description="By channel/provider: what it may be given, and what each destination may."
    )
    failover: dict[str, FailoverSettings] = Field(
        default_factory=dict, description="By channel name: which of its providers comes first, and which after."
    )
    receipts: ReceiptSettings = Field(
        default_factory=ReceiptSettings, description="What providers say of messages after they took them."
    )
    feedback: FeedbackSettings = Field(
        default_factory=FeedbackSettings, description="How what providers answer sets what they are given."
    )

    @model_validator(mode="after")
    def _room_for_batch(self) -> DeliverySettings:
        if self.reserved >= self.concurrency:
            raise ValueError("reserved should be less than concurrency, or the batch queue stands still")
        return self


class LimitSettings(Section):
    events: Count = Field(1000, description="Events of one call.")
    pending: Count = Field(100_000, description="Open events; past it calls are refused until some are done.")
    attribute: Count = Field(4096, description="Characters of one attribute of an event.")
    data: Bytes = Field(1_048_576, description="Bytes of one event, as JSON.")
    deadline: Duration = Field(5.0, description="How long storing the events of a call may take.")
    call_keys: Duration = Field(86400.0, description="How long a call's own key (Idempotency-Key) stands for it.")
    outbox: Count = Field(1_000_000, description="Notices of one subscription that wait; of more it is told nothing.")
    unheard: Count = Field(20, description="News that a plugin which does not answer has open; it hears of no more.")
    untold: Count = Field(10_000, description="Accepted events that wait for slow plugins; of more they hear nothing.")
    rows: int = Field(1000, ge=1, le=10_000, description="Rows of a listing that operators get at once.")
    changes: int = Field(
        100, ge=1, le=1000, description="Events that operators change by one call, in one transaction."
    )
    previews: int = Field(2, ge=1, le=64, description="Templates rendered for operators at the same time.")
    origins: Count = Field(100, description="Origins that reports tell apart; further ones are counted as other.")


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


class ChannelSuppression(Section):
    threshold: Annotated[int, Field(ge=1, le=MOST_COUNTED)] | None = Field(
        None, description="As suppression.threshold, for this channel."
    )
    period: Duration | None = Field(None, description="As suppression.period, for this channel.")
    span: Duration | None = Field(None, description="As suppression.span, for this channel.")
    hard: Duration | None = Field(None, description="As suppression.hard, for this channel.")
    soft: Duration | None = Field(None, description="As suppression.soft, for this channel.")
    complaint: Duration | None = Field(None, description="As suppression.complaint, for this channel.")


class SuppressionSettings(Section):
    threshold: Annotated[int, Field(ge=1, le=MOST_COUNTED)] = Field(
        5, description="So many events whose address had a soft error suppress it."
    )
    period: Duration = Field(2592000.0, description="Within which they must lie.")
    span: Duration = Field(86400.0, description="How far apart the first and the last of them must be at least.")
    hard: Duration | None = Field(None, description="How long an address with a hard error is suppressed; for ever.")
    soft: Duration | None = Field(604800.0, description="How long one with too many soft errors is.")
    complaint: Duration | None = Field(None, description="How long one whose owner complained is; for ever.")
    channels: dict[str, ChannelSuppression] = Field(
        default_factory=dict, description="By channel name: what differs there."
    )


def _key(secret: SecretStr) -> SecretStr:
    key_bytes(secret.get_secret_value())
    return secret


class EncryptionKey(Section):
    id: Annotated[str, _checked(r"[A-Za-z0-9_.-]{1,32}", "a name of letters, digits, _, . and -")] = Field(
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


class SafeModeSettings(Section):
    enabled: bool = Field(False, description="Write to nobody but those below; for test installations.")
    allow: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Addresses, or patterns of them such as *@example.com and +3370*, that are written to."
    )
    catch_all: dict[str, str] = Field(
        default_factory=dict, description="By channel name: the address that gets what is for anybody else."
    )
    sink: bool = Field(False, description="Send nothing at all; every message counts as sent.")
    prefix: Line = Field("", description="Put before subjects and titles, such as [TEST] and a space.")

    @model_validator(mode="after")
    def _whole(self) -> SafeModeSettings:
        for pattern in self.allow:
            if not pattern.strip("*?"):
                raise ValueError(f"allow: {pattern!r} is everybody; leave safe mode off, or name somebody")
        return self


class Monitoring(Section):
    trouble: Duration = Field(300.0, description="How long /readyz tells of what a plugin did wrong.")
    blocked: Duration = Field(1.0, description="How long a plugin may keep the process from all other work unnoticed.")
    plugin_tasks: Count = Field(1000, description="Living tasks of one plugin beyond which /readyz warns.")
    horizon: Duration = Field(
        300.0, description="How long one transaction may keep PostgreSQL's dead rows before /readyz warns."
    )
    dkim: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="By sender domain: DKIM selectors of your relays, for petitbleu doctor."
    )
    outbox: Duration = Field(900.0, description="How long a notice may wait before /readyz warns.")


class Thresholds(Section):
    """From which value on it is orange, and from which on red; null: never."""

    warning: float | None
    alert: float | None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.warning is not None and self.alert is not None and self.warning > self.alert:
            raise ValueError(f"warning ({self.warning:g}) should not be above alert ({self.alert:g})")
        return self


Amount = Annotated[float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]
Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class QueueThresholds(Thresholds):
    warning: Amount | None = Field(100, description="Real-time events that are due and not sent: for a warning.")
    alert: Amount | None = Field(400, description="For an alert.")


class ErrorThresholds(Thresholds):
    warning: Percent | None = Field(1.0, description="Percent of ended events that were not sent: for a warning.")
    alert: Percent | None = Field(5.0, description="For an alert.")
    errors: Count = Field(3, description="Fewer events that were not sent than this are no rate.")


class QueuingThresholds(Thresholds):
    warning: Duration | None = Field(4.0, description="Time in queue: for a warning.")
    alert: Duration | None = Field(8.0, description="For an alert.")


class SendingThresholds(Thresholds):
    warning: Duration | None = Field(6.0, description="Time to hand a message to its provider: for a warning.")
    alert: Duration | None = Field(12.0, description="For an alert.")


class ProcessingThresholds(Thresholds):
    warning: Duration | None = Field(10.0, description="Both together: for a warning.")
    alert: Duration | None = Field(20.0, description="For an alert.")


class DatabaseThresholds(Thresholds):
    warning: Duration | None = Field(30.0, description="Time without an answer of the database: for a warning.")
    alert: Duration | None = Field(60.0, description="For an alert.")


class WatchdogThresholds(Thresholds):
    warning: Duration | None = Field(180.0, description="Time since a watchdog event got through: for a warning.")
    alert: Duration | None = Field(300.0, description="For an alert.")


class AlertMessage(Section):
    channel: str = Field(min_length=1, description="The channel by which it is sent, past the queue.")
    to: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, description="Addresses of the channel.")
    level: Literal["warning", "alert"] = Field("alert", description="From which level on; and when it is over.")
    fields: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the channel, as in template.yaml: provider, sender and the like."
    )


class AlertSettings(Section):
    every: Duration = Field(15.0, description="How often to look.")
    window: Duration = Field(300.0, le=86400, description="Rates and averages are those of so long until now.")
    raise_after: Duration = Field(60.0, description="How long a threshold must be reached to raise the alert.")
    clear_after: Duration = Field(300.0, description="How long it must be well again to clear it.")
    clear_below: float = Field(0.8, gt=0, le=1, description="Well is what is below this part of the threshold.")
    queue: QueueThresholds = Field(default_factory=QueueThresholds, description="How much waits.")
    error_rate: ErrorThresholds = Field(default_factory=ErrorThresholds, description="How much fails.")
    queuing: QueuingThresholds = Field(default_factory=QueuingThresholds, description="How long events wait.")
    sending: SendingThresholds = Field(default_factory=SendingThresholds, description="How slow providers are.")
    processing: ProcessingThresholds = Field(default_factory=ProcessingThresholds, description="How long all takes.")
    watchdog: WatchdogThresholds = Field(
        default_factory=WatchdogThresholds, description="Whether messages really go out, where there is a watchdog."
    )
    database: DatabaseThresholds = Field(
        default_factory=DatabaseThresholds, description="Whether the database answers, as each process sees it."
    )
    messages: tuple[AlertMessage, ...] = Field((), description="Who is sent a message when an alert changes.")


class WatchdogSettings(Section):
    type: str = Field("", description="The event type that is pushed again and again; none: there is no watchdog.")
    attributes: dict[str, str] = Field(
        default_factory=dict, description="Attributes of the event, as callers give them: email, wishedChannel."
    )
    ctx: dict[str, Any] = Field(default_factory=dict, description="What its template needs.")
    every: Duration = Field(60.0, description="How often.")

    @model_validator(mode="after")
    def _has_a_type(self) -> Self:
        if not self.type and (self.attributes or self.ctx):
            raise ValueError("needs a type; without one there is no watchdog")
        return self


class RenderSettings(Section):
    seconds: Duration = Field(2.0, description="Time for one message.")
    characters: Count = Field(2_000_000, description="Characters of one part, or items of one list, that are built.")
    built: Count = Field(20_000_000, description="Characters and items built in all.")
    iterations: Count = Field(100_000, description="Rounds of all loops together.")
    range: Count = Field(10_000, description="Numbers of a range(), width of padding.")
    bits: Count = Field(256, description="Bits of a whole number.")


class TemplateSettings(Section):
    directory: Path = Field(Path("templates"), description="Where the drafts are, from the configuration's directory.")
    limits: RenderSettings = Field(default_factory=RenderSettings, description="What rendering a message may use up.")


Status = Annotated[str, *_one_of(*STATUSES)]


_DATABASE = "sqlite://var/petitbleu.db"


class Sections(Section):
    """Everything but `plugins`, whose settings the plugins type themselves."""

    instance: Instance = Field(default_factory=Instance, description="This installation.")
    database: Annotated[SecretStr, WithJsonSchema({"type": "string"})] = Field(
        SecretStr(_DATABASE),
        json_schema_extra={"default": _DATABASE},
        description="sqlite://PATH (from the configuration's directory) or postgres://USER:PASSWORD@HOST/DATABASE.",
    )
    durability: Literal["full", "relaxed"] = Field(
        "full", description="relaxed allows a database that may forget what was acknowledged."
    )
    http: Http = Field(default_factory=Http, description="The server's address and limits.")
    event_types: dict[Name, EventTypeSettings] = Field(default_factory=dict, description="What callers may push.")
    routing: Routing = Field(default_factory=Routing, description="Which channel, brand, template and language.")
    recycling: RecyclingRules = Field(
        default_factory=RecyclingRules, description="Which other channel takes over what did not get through."
    )
    brands: dict[Name, Brand] = Field(default_factory=dict, description="In whose name messages are sent.")
    operators: dict[Login, OperatorSettings] = Field(default_factory=dict, description="Who may do what.")
    sessions: Sessions = Field(default_factory=Sessions, description="Logging on.")
    delivery: DeliverySettings = Field(default_factory=DeliverySettings, description="The worker.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What the door lets in.")
    suppression: SuppressionSettings = Field(
        default_factory=SuppressionSettings, description="When an address is not written to any more."
    )
    encryption: Encryption = Field(
        default_factory=Encryption, description="Encrypts what callers send where it is stored."
    )
    safe_mode: SafeModeSettings = Field(
        default_factory=SafeModeSettings, description="Keeps a test installation from writing to customers."
    )
    masking: tuple[MaskPath, ...] = Field(
        (), description="Paths into ctx, of any event, that are shown as ***: user.password, user.* or **.token."
    )
    retention: Retention = Field(default_factory=Retention, description="How long what is done with is kept.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="When to warn.")
    alerts: AlertSettings = Field(default_factory=AlertSettings, description="Thresholds, and who is told.")
    watchdog: WatchdogSettings = Field(
        default_factory=WatchdogSettings, description="An event of our own that proves that messages go out."
    )
    templates: TemplateSettings = Field(default_factory=TemplateSettings, description="Where templates are.")
    statuses: dict[Status, int] = Field(
        default_factory=dict, description="Numbers that SOAP callers read as @status, where they differ from ours."
    )

    @field_validator("database")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        if not re.match(r"(sqlite|postgres|postgresql|asyncpg)://.", url.get_secret_value()):
            raise ValueError("should be sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE")
        return url

    @field_validator("event_types")
    @classmethod
    def _labelled(cls, types: Mapping[str, EventTypeSettings]) -> Mapping[str, EventTypeSettings]:
        return {name: one if one.label else one.model_copy(update={"label": name}) for name, one in types.items()}

    @field_validator("operators")
    @classmethod
    def _one_trusted(cls, operators: Mapping[str, OperatorSettings]) -> Mapping[str, OperatorSettings]:
        for (one, first), (other, second) in combinations(operators.items(), 2):
            for mine in first.trusted_from:
                for theirs in second.trusted_from:
                    if mine.version == theirs.version and mine.overlaps(theirs):
                        raise ValueError(f"{one} and {other} are both trusted from {mine}; only one can be meant")
        return operators

    @field_validator("statuses")
    @classmethod
    def _distinct(cls, codes: Mapping[str, int]) -> Mapping[str, int]:
        taken: dict[int, str] = {}
        for name, status in STATUSES.items():
            code = codes.get(name, status.code)
            if code in taken:
                raise ValueError(f"{taken[code]} and {name} both have the number {code}")
            taken[code] = name
        return codes
