"""The values that cross the hooks: frozen, typed, valid once built.

Times are aware `datetime`s in UTC; durations are seconds. `Data` is what callers' XML or JSON becomes and
what templates walk (see `data.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

Data: TypeAlias = "dict[str, Data] | list[Data] | str | int | float | bool | None"


class Settings(BaseModel):
    """Base of every settings and template-field model: an unknown key is refused, a built value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Queue(StrEnum):
    """Real time is served before batch."""

    REALTIME = "realtime"
    BATCH = "batch"


class Scope(StrEnum):
    """Whose fault an outcome is. Only `ADDRESS` says anything about the recipient."""

    ADDRESS = "address"
    MESSAGE = "message"
    PROVIDER = "provider"
    US = "us"


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An event as a caller wrote it, before any check.

    `attributes` keep the caller's spelling of names; `children` are `ctx`, `mobileApp` and whatever else there is.
    """

    queue: Queue
    attributes: Mapping[str, str]
    children: Mapping[str, Data] = field(default_factory=dict)
    problems: Sequence[Reject] = ()
    """What whoever read it found wrong with its form. The event is refused, and its caller hears of this together with
    what else is wrong."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event that passed the door. `data` is what templates call `rtEvent`: every attribute and child."""

    id: int
    type: str
    queue: Queue
    channel: str
    data: Mapping[str, Data]
    created: datetime
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By attribute: `email`, `mobilePhone`, `registrationToken`, and what plugins' channels have for an address."""
    language: str = ""
    country: str = ""
    external_id: str = ""
    origin: str = ""
    priority: int = 5
    scheduled: datetime | None = None
    expiration: datetime | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event goes: a channel, in the name of a brand, with the template of `template` (an event type)."""

    channel: str
    brand: str
    template: str


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """One published version of a template, in one of its languages (`""` is the template's default language)."""

    event_type: str
    channel: str
    version: int
    language: str = ""
    brand: str = ""
    """Whom the template speaks for, where routing names no brand."""


@dataclass(frozen=True, slots=True)
class Content:
    """A rendered template. `parts` by the channel's part names, `fields` as the channel's `fields` model names them,
    `files` by the names they have in the template folder."""

    parts: Mapping[str, str]
    fields: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """An event rendered for one channel and address.

    `key` is the same for every try of this message, on any machine, for as long as the event lives: providers that
    recognise repeats are given it (Message-ID, `apns-id`, an idempotency header).
    """

    event: Event
    channel: str
    address: str
    brand: str
    template: TemplateRef
    content: Content
    key: str
    instead_of: str = ""
    """In safe mode, the recipient in whose place `address` gets it."""


class Pick(Protocol):
    """The type of `Attempt.pick`."""

    def __call__(self, candidates: Sequence[str], /) -> str: ...


def first_of(candidates: Sequence[str], /) -> str:
    """An `Attempt.pick` for tests of plugins."""
    return candidates[0]


class Admit(Protocol):
    """The type of `Attempt.admit`."""

    def __call__(self, provider: str, destination: str, at_once: int = 0, /) -> Awaitable[None]: ...


def unheard(names: Sequence[str], /) -> None:
    """An `Attempt.expect` for tests of plugins."""


async def unlimited(provider: str, destination: str, at_once: int = 0, /) -> None:
    """An `Attempt.admit` that nothing stands against, for tests of plugins."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One hand-over of a message to a provider, as the channel's plugin sees it."""

    number: int
    """From 1, over the whole life of the event."""
    hand_off: Callable[[str], Awaitable[None]]
    """Await with the provider's name right before the point of no return (final dot, `submit_sm`, POST).
    Raises `HandOffRefused` when the message must not go out any more: give the connection back and let it through."""
    admit: Admit = unlimited
    """Await with the provider's name and the destination behind it (a domain, a network, "" where there is none) before
    a connection is used, and with how many messages this process can give it at once, if that is limited.
    Raises `NotNow` when the provider is given nothing more at the moment: let it through."""
    pick: Pick = first_of
    """Which of the providers that would do is to be used: as the settings order or weigh them (the given order, where
    they say nothing), without those that this message has failed with and, while others are there, those that are
    paused or slow. To be called once; a failure whose scope is the provider then brings the next one at once."""
    expect: Callable[[Sequence[str]], None] = unheard
    """Call before `hand_off` with what receipts will call the message should its answer get lost, where that is known:
    so they find it even if this process dies meanwhile."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider took the message; `text` is what it said."""

    provider: str
    text: str
    code: str = ""
    reference: str = ""
    """The provider's own id of the message."""
    awaits: tuple[str, ...] = ()
    """By what receipts will name it, one name for each part of the message; empty: none will come by a name."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: try again. With scope `PROVIDER` or `US` the try is not counted against the event."""

    provider: str
    text: str
    scope: Scope
    code: str = ""
    retry_after: float | None = None
    """Seconds the provider asked to wait."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Never: the provider refused for good."""

    provider: str
    text: str
    scope: Scope
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Handed off, and no answer came: the provider may have it or not."""

    provider: str
    text: str
    awaits: tuple[str, ...] = ()
    """By what receipts will name those parts of it that the provider may have; see `Delivered`."""


class ReceiptState(StrEnum):
    """What a receipt says, from the weakest to the strongest. A message never goes back to a weaker one; of several
    parts the worst counts."""

    UNDERWAY = "underway"
    """The provider still has it; nothing is decided."""
    RECEIVED = "received"
    BOUNCED = "bounced"
    """It will not arrive."""
    COMPLAINED = "complained"
    """It arrived, and whoever got it calls it unwanted."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider, or the recipient's side, says of a message after it was handed over.

    It is matched by `event` and `attempt` where the plugin knows them (and can trust them), else by any of `names`
    among those that attempts of `channel` with `provider` await. One that comes before its attempt is recorded is kept
    and matched then.
    """

    channel: str
    provider: str
    state: ReceiptState
    text: str
    names: tuple[str, ...] = ()
    event: int | None = None
    attempt: int | None = None
    code: str = ""
    scope: Scope = Scope.MESSAGE
    """Whose fault a bounce is: with `ADDRESS` it may suppress the address."""
    permanent: bool = True
    """A bounce that will come again with the next message, or one that may not (a full mailbox)."""
    at: datetime | None = None
    """When it happened, by the provider's clock."""


@dataclass(frozen=True, slots=True)
class Recycle:
    """Send an event once more by another channel; `reason` stands in its history."""

    channel: str
    reason: str


Outcome: TypeAlias = Delivered | Deferred | Failed | Unknown


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse an event at the door: which attribute, and why, in words for the caller."""

    attribute: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suppress:
    """Do not send: the event ends *ignored* with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Not before `until`; costs no try."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a health report. With `warning` it is `ok`, but somebody should look."""

    name: str
    ok: bool
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a template: `html` is rendered from `body.html.j2` (and `body.fr.html.j2` …)."""

    name: str
    file: str
    escape: Literal["html", "none"] = "none"


@dataclass(frozen=True, slots=True)
class Retry:
    """Back-off: `first` seconds, doubled each time up to `cap`, with full jitter; at most `tries` tries."""

    first: float = 30.0
    cap: float = 3600.0
    tries: int = 12


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach someone, owned by the plugin that declares it."""

    name: str
    address: str
    """The event attribute that holds the address: `email`, `mobilePhone`, `registrationToken`, or one of the plugin's
    own, which comes with `address_check`."""
    fields: type[BaseModel]
    """Types what `template.yaml` may hold beside the core's own keys; strings in it may be templates."""
    aliases: tuple[str, ...] = ()
    """Other spellings callers use in `wishedChannel`, numbers included (`"0"`)."""
    parts: tuple[Part, ...] = ()
    unknown: Literal["retry_once", "hold"] = "retry_once"
    """What follows an `Unknown` outcome."""
    retry: Retry = Retry()
    providers: tuple[str, ...] = ()
    """Those it hands messages to, where the settings name them: limits for others are refused as misspelt."""
    preview: Callable[[Content], Sequence[str]] | None = None
    """More lines for whoever previews a template: what the channel makes of its content. Must not fail."""
    address_check: Callable[[str], str] | None = None
    """For an attribute of the plugin's own: given what the caller wrote, the address to keep. Raises `ValueError` with
    words that go on from the attribute's name ("is not a LINE user id"). Must be pure and quick."""


NOTICE_KINDS = (
    "accepted",
    "deferred",
    "recycled",
    "reopened",
    "paused",
    "released",
    "sent",
    "ignored",
    "failed",
    "not_covered",
    "expired",
    "underway",
    "received",
    "bounced",
    "complained",
    "alert",
)
"""What a plugin can be told of an event: it is stored; it waits for its next try; it goes on by another channel; it was
put back; it is held, or let go; each final status; each state of a receipt. `alert` is no event's: something with
thresholds came to another level."""


AlertLevel: TypeAlias = Literal["ok", "warning", "alert"]


@dataclass(frozen=True, slots=True)
class Alert:
    """How something with thresholds stands, in the whole installation. `value`, `warning` and `alert` are in `unit`."""

    name: str
    """As the setting in `alerts`, such as `error_rate`."""
    label: str
    """For people."""
    level: AlertLevel
    was: AlertLevel
    """What it was before."""
    since: datetime | None
    """When it came to this level; None: it never was at another one."""
    value: float | None
    """As it was last measured; None: it never was."""
    measured: datetime | None
    unit: Literal["events", "percent", "seconds"]
    warning: float | None
    """From here on it is worth a warning; None: never."""
    alert: float | None
    text: str
    """The value in words."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a plugin wants to be told, without fail, of which events; empty filters let everything through, and `alert`
    passes any.

    A notice that cannot be told is tried again after `first` seconds, doubled each time up to `cap`, with jitter, until
    `patience` seconds have passed. Raises `ValueError`.
    """

    name: str
    kinds: frozenset[str]
    """Out of `NOTICE_KINDS`."""
    types: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()
    concurrency: int = 4
    """Notices that each process tells at the same time, at most."""
    deadline: float = 30.0
    """Seconds that telling one may take."""
    first: float = 5.0
    cap: float = 3600.0
    patience: float = 259_200.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= 64 or not self.name.isprintable() or "/" in self.name:
            raise ValueError(f"{self.name[:80]!r} should be a name of 1 to 64 characters without /")
        if unknown := sorted(self.kinds.difference(NOTICE_KINDS)):
            raise ValueError(f"{self.name}: {unknown[0]!r} is none of {', '.join(NOTICE_KINDS)}")
        if self.concurrency < 1 or min(self.deadline, self.first, self.cap, self.patience) <= 0:
            raise ValueError(f"{self.name}: concurrency, deadline, first, cap and patience should be above 0")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened to an event, as one subscription is told it.

    It is what was so at `at`; the event may have moved on. Notices come in no certain order, and each may come more
    than once: `key` is the same every time.
    """

    subscription: str
    key: str
    kind: str
    """Out of `NOTICE_KINDS`."""
    event: int
    at: datetime
    tries: int
    """How often it was tried before."""
    type: str
    channel: str
    status: str
    """A name of the status table."""
    external_id: str = ""
    origin: str = ""
    brand: str = ""
    template: str = ""
    attempt: int = 0
    """The number of the attempt it is about; 0: none."""
    provider: str = ""
    code: str = ""
    reason: str = ""
    feedback: str = ""
    """What receipts say: `underway`, `received`, `bounced`, `complained`; empty: nothing."""
    alert: Alert | None = None
    """Of kind `alert`, where `event` is 0, and what else is said of an event is empty."""


@dataclass(frozen=True, slots=True)
class Told:
    """The notice has arrived; `text` is what the receiver said."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class NotTold:
    """Try again later; `text` says why, `retry_after` how many seconds the receiver wants to be left alone.

    With `ended` the receiver wants nothing any more: what comes is kept, and told once an operator enables the
    subscription again.
    """

    text: str
    retry_after: float | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Caught:
    """A message that a stand-in took in the place of a provider."""

    channel: str
    to: str
    reference: str
    """By what the stand-in called it in its answer, as `Delivered.reference` has it."""
    lines: tuple[str, ...]
    """The message, for people."""
    problems: tuple[str, ...] = ()
    """What is not as it should be, whoever wrote the template."""


@dataclass(frozen=True, slots=True)
class Catcher:
    """A stand-in for a channel's providers, by which `petitbleu demo` shows the channel on one machine."""

    name: str
    start: Callable[[Callable[[Caught], None]], AbstractAsyncContextManager[Mapping[str, Any]]]
    """Given what to call with each message, a context manager: inside it the stand-in listens on 127.0.0.1. It yields
    what the plugin's settings need in place of the configured ones, as nested mappings, so that messages go there."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A login with rights; `event_types` and `brands` narrow them (`None`: no limit)."""

    login: str
    rights: frozenset[str]
    event_types: frozenset[str] | None = None
    brands: frozenset[str] | None = None

    def may(self, right: str, event_type: str | None = None, brand: str | None = None) -> bool:
        return (
            right in self.rights
            and (event_type is None or self.event_types is None or event_type in self.event_types)
            and (brand is None or self.brands is None or brand in self.brands)
        )


@dataclass(frozen=True, slots=True)
class Session:
    """What a log-on gives: two secrets, shown once, and how long they hold."""

    operator: Operator
    token: str = field(repr=False)
    security_token: str = field(repr=False)
    lifetime: float = 86400.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries to say who is calling. Empty strings mean "not given"."""

    address: str
    """The caller's IP address, as seen through the trusted proxies."""
    token: str = field(default="", repr=False)
    """A session token, or `login/password`."""
    cookie: str = field(default="", repr=False)
    """A session token that came as a cookie: valid only with `security_token`."""
    security_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`attribute operator value`; `in` takes several values, the others one. Values are as the caller wrote them."""

    attribute: str
    operator: Literal["=", "!=", "<", ">", "<=", ">=", "in", "like"]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Junction:
    """Terms joined by `and` or `or`."""

    kind: Literal["and", "or"]
    terms: tuple[Condition, ...]


Condition: TypeAlias = "Comparison | Junction"


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A question about events, by the names callers know (`id`, `status`, `externalId` …, see `EVENT_ATTRIBUTES`)."""

    where: Condition | None = None
    queue: Queue | None = None
    order_by: tuple[tuple[str, bool], ...] = ()
    """(attribute, descending) pairs."""
    limit: int = 100
    offset: int = 0


EVENT_ATTRIBUTES = (
    "id",
    "type",
    "channel",
    "status",
    "errors",
    "created",
    "processing",
    "processed",
    "processRequested",
    "externalId",
    "origin",
    "email",
    "mobilePhone",
    "template",
)
