"""The installation itself: settings, plugins, operators, sessions, tokens, how it fares; and who comes in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from ..types import Check, Operator, Session
from .asking import Actor


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

    async def tokens(self, operator: Operator, login: str = "", *, everything: bool = False) -> Sequence[ApiToken]:
        """Those that are valid, or all, of everybody or for one operator, the latest first."""
        ...

    async def create_token(
        self,
        login: str,
        name: str,
        actor: Actor,
        *,
        rights: Collection[str] | None = None,
        event_types: Collection[str] | None = None,
        brands: Collection[str] | None = None,
        expires: datetime | timedelta | None = None,
    ) -> NewToken:
        """For `login`, with all of its rights or some, for all that it may or for some event types and brands. Until
        `expires`, or for so long from now on; None: until it is revoked."""
        ...

    async def revoke_token(self, token_id: int, actor: Actor) -> ApiToken: ...


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
