"""What the core offers to plugins that receive requests or answer questions."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

from .operating import Actor, Desk, FoundEvent
from .types import Channel, Credentials, Data, Event, EventQuery, IncomingEvent, Operator, Receipt, Session


class Accept(Protocol):
    """The only door in: check every event, store all of them durably, return their ids in order.

    With a `key`, which the operator gave this very call, a repeat of it within `limits.call_keys` gets the ids that the
    first one got, at whatever process, and stores nothing.

    Raises `EventsRefused` (every problem of every event; nothing is stored), of that `KeyReused` (the key is that of
    another call), `AccessDenied` (the operator lacks the right for one of the types) or `Unavailable`.
    """

    def __call__(self, events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> Awaitable[list[int]]: ...


class Auth(Protocol):
    """Who is calling. Every refusal is `AccessDenied` and takes the same time, whatever was wrong."""

    async def authenticate(self, credentials: Credentials) -> Operator:
        """Raises `SessionExpired` for a token that held once, `AccessDenied` for all else."""
        ...

    async def logon(self, login: str, password: str, address: str) -> Session: ...

    async def logoff(self, token: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StatusName:
    """One row of the status table: our name, the label, the name REST callers read, the number SOAP callers read."""

    name: str
    label: str
    rest: str
    code: int


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type of the configuration; `queue` is where its events go that come by a way that names none."""

    name: str
    label: str
    queue: str


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """How a subscription of a plugin is doing. `name` is the plugin's name, `/`, and the subscription's."""

    name: str
    configured: bool
    """Whether a plugin of this configuration has it; what others left is kept until its time is over."""
    waiting: int
    """Notices not told yet."""
    oldest: datetime | None
    """Since when the oldest of them waits."""
    given_up: int
    failures: int
    """Tries that failed since the last one that did not."""
    told: datetime | None
    """When something was last told, to within seconds."""
    failed: datetime | None
    paused_until: datetime | None
    ended: datetime | None
    """Since when the receiver wants nothing any more."""
    text: str
    """What the last failure was."""


class Outbox(Protocol):
    """The notices of subscriptions, see `petitbleu_subscriptions`; those told are kept for `retention.outbox`.

    Who changes something needs the right `admin`, not narrowed to event types or brands (`AccessDenied`), and stands in
    the audit."""

    async def states(self) -> list[SubscriptionState]:
        """Of every subscription that is configured or has something kept."""
        ...

    async def replay(
        self,
        name: str,
        actor: Actor,
        *,
        events: Collection[int] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        given_up: bool = False,
        rehearsal: bool = False,
    ) -> int:
        """Let what was told or given up be told once more, with the same keys: of these events (ids may lack their high
        byte), of what happened from `since` to before `until`, `given_up` only. How many notices that are."""
        ...

    async def enable(self, name: str, actor: Actor) -> bool:
        """Begin again at once where a receiver had ended its subscription or is left alone for failing. False: there is
        nothing of the kind."""
        ...


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """A question about what was counted. Empty tuples are no limit."""

    kind: str
    """`service_level`, `processing_time` or `history`."""
    since: datetime
    until: datetime
    """The period, `until` not in it. It is widened to full minutes, or to hours and days where it lies so far back that
    nothing finer is kept."""
    by: tuple[str, ...] = ()
    """What a line stands for: `period`, `type`, `channel`, `brand`, `origin`; of `history` also `status`, `cause`."""
    every: str = "day"
    """Of `period`: `minute`, `hour`, `day` or `month`, in the instance's time zone."""
    types: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Events that ended unsent for one cause; `share` of all that ended. `filter` lists them, by the names of the
    options of `petitbleu events list`."""

    status: str
    cause: str
    events: int
    share: float
    filter: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class ReportLine:
    """`keys` by the names in `Report.by`. `values` are numbers of events, seconds, or a share of 1; None: not known."""

    keys: Mapping[str, str]
    values: Mapping[str, int | float | None]
    errors: tuple[ErrorKind, ...] = ()
    filter: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a `ReportQuery`, whose period has become `since` and `until`."""

    kind: str
    since: datetime
    until: datetime
    by: tuple[str, ...]
    lines: tuple[ReportLine, ...]


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to `intake_routes`, `routes` and `lifespan`. Values and functions only: no way around `accept`."""

    instance: str
    """The instance's name."""
    cell: int
    public_url: str
    """Scheme and host callers use when a request does not tell, without a trailing slash; may be empty."""
    time_zone: tzinfo
    body_limit: int
    """Bytes of a request body the server takes at most."""
    event_limit: int
    """Events that one call may have at most."""
    auth: Auth
    statuses: Mapping[str, StatusName]
    event_types: Mapping[str, EventType]
    channels: Callable[[], Sequence[Channel]]
    """Known once every plugin is loaded."""
    find_events: Callable[[EventQuery, Operator], Awaitable[list[FoundEvent]]]
    """Only what the operator may read. Raises `QueryRefused`, `AccessDenied`."""
    count_events: Callable[[EventQuery, Operator], Awaitable[int]]
    pending: Callable[[], Awaitable[tuple[int, int]]]
    """Events waiting, and the configured maximum."""
    load_event: Callable[[int], Awaitable[Event | None]]
    now: Callable[[], datetime]
    masked: Callable[[Event], Mapping[str, Data]]
    """An event's data as it may be shown: with `***` where the administrator's rules of masking say so."""
    record_receipts: Callable[[Sequence[Receipt]], Awaitable[None]]
    """Returns when they are stored durably: only then tell their sender that they came. Raises `Unavailable`."""
    desk: Desk
    """What operators ask and do."""
    report: Callable[[ReportQuery, Operator], Awaitable[Report]]
    """Only of what the operator may read. Raises `QueryRefused`, `AccessDenied`."""
    delivers: bool
    """Whether this process hands messages to providers, and may hear from them."""
    outbox: Outbox
    safe_mode: str = ""
    """What everybody is to see where `safe_mode` keeps messages from their addresses; empty: they go out."""
    row_limit: int = 1000
    """Rows of a listing that the desk gives at once."""
    change_limit: int = 100
    """Events that one call of the desk changes."""


class OpenServices(Protocol):
    """What `petitbleu_commands` opens an installation with; raises `PetitbleuError` where that cannot be."""

    def __call__(self, arguments: argparse.Namespace, /) -> AbstractAsyncContextManager[Services]: ...


__all__ = [
    "Accept",
    "Auth",
    "ErrorKind",
    "EventType",
    "OpenServices",
    "Outbox",
    "Report",
    "ReportLine",
    "ReportQuery",
    "Services",
    "StatusName",
    "SubscriptionState",
]
