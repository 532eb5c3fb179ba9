"""What operators ask and do, on whatever way they come: values and contracts of `Services.desk`.

Whoever only looks is an `Operator`; whoever changes something is an `Actor`, and the audit says who it was. A right
that is lacking is `AccessDenied`; what is not there, or what the operator's rights do not reach, is `NotFound`; what an
operator gave and cannot be used is `InputRefused` or `QueryRefused`, and a template that cannot be used so is a
`TemplateError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Literal, Protocol, TypeVar

from .services import FoundEvent
from .types import Alert, Check, Data, IncomingEvent, Operator, Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Actor:
    """An operator at work. `origin` is the way in, such as `cli`, `rest` or `console`; `address` is the IP address,
    where there is one, as seen through the trusted proxies."""

    operator: Operator
    origin: str
    address: str = ""

    @property
    def login(self) -> str:
        return self.operator.login


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A piece of a listing. `cursor` asks for the next one; empty: there is none."""

    items: Sequence[T]
    cursor: str = ""


# ------------------------------------------------------------------------------------------------------------- events

EventAction = Literal["cancel", "retry", "resend", "reroute", "hold", "release"]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant: those of which all holds that is said here; what is empty leaves it open.

    `status` takes a name, REST name or number of the status table, or `open`: what is not sent yet and not paused.
    `created_since` is the first moment, `created_before` the first one after, both in ISO 8601, by the instance's time
    zone where they name none; so are `ended_since` and `ended_before`. `cause` is in one word why it ended unsent, or
    why its last try failed.
    """

    type: str = ""
    status: str = ""
    feedback: str = ""
    external_id: str = ""
    email: str = ""
    mobile_phone: str = ""
    channel: str = ""
    origin: str = ""
    queue: str = ""
    template: str = ""
    brand: str = ""
    cause: str = ""
    created_since: str = ""
    created_before: str = ""
    ended_since: str = ""
    ended_before: str = ""


@dataclass(frozen=True, slots=True)
class EventAttempt:
    """A hand-over to a provider. `template` is `type/channel vN`; `scope` and `code` are empty where the outcome has
    none; `awaited` is the number of parts for which a receipt may come."""

    number: int
    channel: str
    provider: str
    template: str
    started: datetime
    ended: datetime
    outcome: str
    scope: str
    code: str
    text: str
    reference: str
    feedback: str
    awaited: int
    rendered: bool = False
    """Whether `EventDesk.rendered` still has the message that was handed over."""


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """A receipt for attempt `number`: `at` by the provider's clock, `received` by ours."""

    number: int
    channel: str
    provider: str
    state: str
    text: str
    code: str
    scope: str
    permanent: bool
    at: datetime | None
    received: datetime


@dataclass(frozen=True, slots=True)
class EventRecycling:
    """That the event went on by another channel after attempt `number`."""

    at: datetime
    number: int
    origin: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event with its whole way, each part in the order of time. `data` is what the caller sent, where it was asked
    for and is still kept, without what `masking` hides."""

    event: FoundEvent
    attempts: Sequence[EventAttempt]
    receipts: Sequence[EventReceipt]
    recyclings: Sequence[EventRecycling]
    data: Mapping[str, Data] | None = None


@dataclass(frozen=True, slots=True)
class RenderedMessage:
    """What attempt `number` gave to the provider, as it was kept `until` then: `parts` by the channel's part names,
    such as `subject`, `text` and `html`; `fields` as the template set them, `files` by their names with their sizes in
    bytes. What `masking` hides is `***`. `instead_of` is whom safe mode kept it from."""

    number: int
    channel: str
    address: str
    brand: str
    template: str
    parts: Mapping[str, str]
    fields: Mapping[str, Any]
    files: Mapping[str, int]
    instead_of: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one request. `text` says what was done (or would be), or why not."""

    id: int
    ok: bool
    text: str
    new_id: int | None = None
    """Of a resend: the id of the new event."""
    missing: bool = False
    """Whether there is no such event, or none in the operator's reach."""


class EventDesk(Protocol):
    """Events that are stored. An id may lack its high byte."""

    async def search(self, wanted: EventFilter, operator: Operator, limit: int, cursor: str = "") -> Page[FoundEvent]:
        """The newest first. Right `read`."""
        ...

    async def count(self, wanted: EventFilter, operator: Operator) -> int:
        """Looks at every event that may be meant. Right `read`."""
        ...

    async def record(self, event_id: int, operator: Operator, *, data: bool = False) -> EventRecord:
        """Right `read`, and `data` for what the caller sent."""
        ...

    async def rendered(self, event_id: int, number: int, operator: Operator) -> RenderedMessage:
        """The message of attempt `number`, word for word. It is kept for event types with `rendered: true`, for
        `retention.rendered`, and not where the worker died before the provider answered; `EventAttempt.rendered` tells
        which attempts have one. Right `data`. Raises `NotFound` where there is none (any more)."""
        ...

    async def change(
        self,
        action: EventAction,
        which: Sequence[int] | EventFilter,
        actor: Actor,
        *,
        to: str = "",
        reason: str = "",
        rehearsal: bool = False,
        limit: int = 0,
        cursor: str = "",
    ) -> Page[Done]:
        """An answer for each event; with `rehearsal` nothing is changed. Right `admin`. `to` is the channel of a
        `reroute`, and of nothing else.

        Of those that a filter means, `limit` at a time (0: as many as the settings allow), those with the smallest ids
        first; the cursor goes on with the rest, and takes none that came after the first call. Raises `Unavailable`
        where the queue has no room for them: none of this call's events is changed then.
        """
        ...


@dataclass(frozen=True, slots=True)
class QueueLine:
    """What is open in one queue for one channel, in numbers of events: `ready` to be sent, to be tried `later`, with a
    worker (`sending`), `paused`. `oldest` is for how many seconds one of the ready ones has been due."""

    queue: str
    channel: str
    ready: int
    later: int
    sending: int
    paused: int
    oldest: float

    @property
    def events(self) -> int:
        return self.ready + self.later + self.sending + self.paused


# ---------------------------------------------------------------------------------------------------------- templates


@dataclass(frozen=True, slots=True)
class TemplateState:
    """A line of the list of templates."""

    event_type: str
    channel: str
    version: int | None
    """The published one, None where none is."""
    draft: str
    """`published` (nothing to publish), `changed`, `new`, `broken`, or `none`: the folder is gone."""
    labels: tuple[str, ...] = ()
    problem: str = ""
    """What is wrong with a broken draft."""
    seeds: tuple[str, ...] = ()
    """The names of the draft's seeds."""
    languages: tuple[str, ...] = ()
    """Those the draft speaks, the default one first."""
    folder: str = ""
    """Where the draft is, on the machine that was asked."""


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """A published version. `digest` is the SHA-256 of its content; new messages are made of the `current` one."""

    event_type: str
    channel: str
    number: int
    digest: str
    created: datetime
    created_by: str
    current: bool


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """What a version is made of. `texts` by file: settings, parts, layouts, and of attachments what they are."""

    event_type: str
    channel: str
    version: int | None
    """None: the draft."""
    texts: Mapping[str, str]
    content: str
    """All of it as it is stored, as JSON."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A message that nobody is sent. `files` by name with their sizes in bytes; `notes` are the channel's."""

    address: str
    language: str
    fields: Mapping[str, Any]
    parts: Mapping[str, str]
    files: Mapping[str, int]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that was sent to `address`, or was not. `outcome` is `delivered`, `deferred`, `failed`, `unknown`,
    or `withheld` by safe mode."""

    seed: str
    address: str
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class Published:
    """`changed` is false when the same content ruled already."""

    version: int
    changed: bool


class TemplateDesk(Protocol):
    """Templates by name: `TYPE/CHANNEL`, or the type alone where it has a single channel. A version is a number,
    `draft`, or empty for the published one. Looking wants the right `read`, all else `publish`."""

    async def list(self, operator: Operator) -> Sequence[TemplateState]: ...

    async def versions(self, name: str, operator: Operator) -> Sequence[TemplateVersion]:
        """Oldest first."""
        ...

    async def source(self, name: str, operator: Operator, version: str = "") -> TemplateSource: ...

    async def diff(self, name: str, operator: Operator, old: str = "", new: str = "draft") -> str:
        """Unified, file by file; empty when nothing differs."""
        ...

    async def preview(
        self,
        name: str,
        operator: Operator,
        *,
        version: str = "draft",
        seed: str = "",
        event: IncomingEvent | None = None,
        language: str = "",
    ) -> Preview:
        """Rendered for a seed of the draft (without a name: the first), or for an event as a caller would send it."""
        ...

    async def proof(self, name: str, actor: Actor, *, seed: str = "", to: str = "") -> Sequence[Proof]:
        """Send the draft to its seeds, or to one of them; `to` is another address than theirs."""
        ...

    async def publish(self, name: str, actor: Actor) -> Published:
        """Freeze the draft and use it for new messages, once it renders for every seed and in every language."""
        ...

    async def unpublish(self, name: str, actor: Actor) -> None: ...

    async def rollback(self, name: str, version: int, actor: Actor) -> Published: ...


# ------------------------------------------------------------------------------------------------------- suppressions


ListForm = Literal["csv", "json"]


class SuppressionReason(StrEnum):
    """Why an address is not written to. Of several the first is named."""

    COMPLAINT = "complaint"
    HARD = "hard"
    UNSUBSCRIBED = "unsubscribed"
    MANUAL = "manual"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Suppression:
    """A line of the list. `address` is a key; brand "" is every brand; without `expires` it holds for ever."""

    channel: str
    address: str
    brand: str
    reason: SuppressionReason
    text: str
    created: datetime | None
    expires: datetime | None
    by: str


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """Which entries are meant; what is empty or None leaves it open. An address wants its channel. `expired` takes
    those too that hold no more."""

    channel: str = ""
    address: str = ""
    brand: str | None = None
    reason: str = ""
    expired: bool = False


@dataclass(frozen=True, slots=True)
class ListDefaults:
    """What lines of a list leave open. Numbers without `+` are dialled in `country`."""

    channel: str = ""
    reason: str = SuppressionReason.MANUAL.value
    brand: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Unsuppressed:
    """What was taken off the list, and the addresses (as they were given) that were not on it."""

    gone: Sequence[Suppression]
    missing: Sequence[str]


class SuppressionDesk(Protocol):
    """Addresses that are not written to. Right `suppress`; brands narrow it to their own entries, and an operator whose
    rights are narrowed to event types has no part in it."""

    async def find(
        self, wanted: SuppressionFilter, operator: Operator, limit: int, cursor: str = ""
    ) -> Page[Suppression]:
        """The latest first."""
        ...

    async def add(
        self,
        channel: str,
        address: str,
        actor: Actor,
        *,
        brand: str = "",
        reason: SuppressionReason = SuppressionReason.MANUAL,
        text: str = "",
        expires: datetime | timedelta | None = None,
    ) -> Suppression:
        """Until `expires`, or for so long from now on; None: for ever. An entry of the same channel, address, brand and
        reason is replaced."""
        ...

    async def remove(
        self, channel: str, addresses: Sequence[str], actor: Actor, *, brand: str | None = None, reason: str = ""
    ) -> Unsuppressed: ...

    async def read_in(
        self,
        text: str,
        form: ListForm,
        actor: Actor,
        *,
        defaults: ListDefaults = ListDefaults(),
        name: str = "list",
        rehearsal: bool = False,
    ) -> int:
        """All of a list or nothing; gives the number of its entries. `name` is what problems call it."""
        ...

    def write_out(self, wanted: SuppressionFilter, form: ListForm, operator: Operator) -> AsyncIterator[str]:
        """The list in pieces of text."""
        ...


# -------------------------------------------------------------------------------------------------------------- audit


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change as it is stored. `action` is a word such as `suppressions.add`, `object` what it was done to, such as
    `email/zoe@example.com`; `origin` is empty where feedback did it."""

    id: int
    at: datetime
    by: str
    origin: str
    address: str
    action: str
    object: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """`action` may be the beginning of one, such as `suppressions`."""

    action: str = ""
    object: str = ""
    by: str = ""
    origin: str = ""


class AuditDesk(Protocol):
    """Who changed what."""

    async def find(self, wanted: AuditFilter, operator: Operator, limit: int, cursor: str = "") -> Page[AuditEntry]:
        """The latest first. Right `audit`, and no narrowing."""
        ...


# ------------------------------------------------------------------------------------------------------- installation


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as it holds. `place` is the file, line and column it comes from, empty for a default; what is secret
    shows as `***`."""

    path: str
    value: str
    place: str


@dataclass(frozen=True, slots=True)
class HookFacts:
    """A hook that a plugin has. `order` is who has it, as they are called; `deadline` is in seconds, None for what is
    called at the start only."""

    name: str
    order: Sequence[str]
    deadline: float | None


@dataclass(frozen=True, slots=True)
class PluginFacts:
    """A plugin as it is loaded; `order` is its place in the list, from 1."""

    order: int
    name: str
    version: str
    distribution: str
    channels: Sequence[str]
    hooks: Sequence[HookFacts]
    deprecations: Sequence[str]


@dataclass(frozen=True, slots=True)
class OperatorFacts:
    """An operator of the configuration. `event_types` and `brands` narrow what it may (None: no limit); `sessions` is
    how many are open."""

    login: str
    rights: Sequence[str]
    event_types: Sequence[str] | None
    brands: Sequence[str] | None
    sessions: int


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as it is listed. `event_types` and `brands` narrow what the operator may (`None`: no further)."""

    id: int
    login: str
    name: str
    start: str
    """Its first characters."""
    rights: frozenset[str]
    event_types: frozenset[str] | None
    brands: frozenset[str] | None
    created: datetime
    created_by: str
    expires: datetime | None
    revoked: datetime | None
    used: datetime | None
    """When it was last used, to within some minutes."""

    def state(self, now: datetime) -> str:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


@dataclass(frozen=True, slots=True)
class NewToken:
    """The only time that the token itself is there."""

    token: str = field(repr=False)
    known: ApiToken


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that holds. `id` is the beginning of its token's hash, `address` from where it was opened."""

    id: str
    login: str
    address: str
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of a reload at a server; `server` is its machine and process. `done` is None while it is at it, and
    False where the configuration could not be taken over: `reason` says why, and nothing has changed there."""

    server: str
    done: bool | None
    reason: str = ""


class InstallationDesk(Protocol):
    """The installation itself. All of it wants the right `admin`, and no narrowing."""

    async def settings(self, operator: Operator) -> Sequence[Setting]: ...

    async def reload(self, actor: Actor) -> str:
        """Ask all servers on the database to take over the configuration as it is now, each from its own disk. Gives
        the request by which `reloads` knows their answers."""
        ...

    async def reloads(self, request: str, operator: Operator) -> Sequence[Reloaded]:
        """Of every server that has heard of it so far; a server hears of it within some seconds."""
        ...

    async def plugins(self, operator: Operator) -> Sequence[PluginFacts]: ...

    async def operators(self, operator: Operator) -> Sequence[OperatorFacts]: ...

    async def sessions(self, operator: Operator, limit: int, login: str = "") -> Sequence[OpenSession]:
        """Those that hold, of everybody or of one operator, the latest first."""
        ...

    async def end_session(self, session_id: str, actor: Actor) -> OpenSession:
        """Other processes follow within `sessions.cache`."""
        ...

    async def end_sessions(self, login: str, actor: Actor) -> int:
        """Everybody who is in as `login` must sign in anew; gives how many sessions that were."""
        ...

    async def tokens(self, operator: Operator) -> Sequence[ApiToken]:
        """Those that are valid."""
        ...

    async def create_token(
        self, login: str, name: str, actor: Actor, *, rights: Sequence[str] | None = None, days: float | None = None
    ) -> NewToken:
        """For `login`, with all of its rights or some; `days` is how long it holds."""
        ...

    async def revoke_token(self, token_id: int, actor: Actor) -> ApiToken: ...


# ----------------------------------------------------------------------------------------------------------- entrance


class EntranceDesk(Protocol):
    """How people come in and go, which stands in the audit. Programs use `Services.auth`, which leaves no trace there:
    some log on for every call."""

    async def sign_in(self, login: str, password: str, right: str, origin: str, address: str) -> Session:
        """For somebody with `right`. Raises `AccessDenied`, later and later for who guesses; of an unknown login the
        audit does not say what was typed, which may be a password. `origin` and `address` are those of `Actor`."""
        ...

    async def sign_out(self, token: str, actor: Actor) -> None:
        """Raises `AccessDenied` where there is no such session."""
        ...


# ---------------------------------------------------------------------------------------------------------------- all


@dataclass(frozen=True, slots=True)
class Health:
    """What `/readyz` tells. `checks` are by plugin, and those of the server itself under `core` and `providers`."""

    ready: bool
    warned: bool
    checks: Mapping[str, Sequence[Check]]
    limits: Mapping[str, float] = field(default_factory=dict)
    """Every number that bounds something, by the name of its setting."""

    @property
    def status(self) -> str:
        return "failing" if not self.ready else "warning" if self.warned else "ok"


@dataclass(frozen=True, slots=True)
class Desk:
    """What operators ask and do: the same on the command line, over JSON and on pages, with the same rights and the
    same audit."""

    events: EventDesk
    templates: TemplateDesk
    suppressions: SuppressionDesk
    audit: AuditDesk
    installation: InstallationDesk
    entrance: EntranceDesk
    health: Callable[[], Awaitable[Health]]
    """Of this process. Asks for no right: `/readyz` tells it to everybody."""
    alerts: Callable[[Operator], Awaitable[Sequence[Alert]]]
    """How all that has thresholds stands, in the whole installation. Right `read`."""
    queue: Callable[[Operator], Awaitable[Sequence[QueueLine]]]
    """What is open, by queue and channel, as of about a second ago. Right `read`."""
