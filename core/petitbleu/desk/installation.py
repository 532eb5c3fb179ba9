"""The installation as its administrators look at it: settings, plugins, operators with their sessions and tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from ..audit import Change, record
from ..auth import Authenticator, Tokens
from ..config import Config, RawConfig, shown
from ..errors import AccessDenied, NotFound
from ..hosting.calls import Calls
from ..hosting.plugins import Loaded
from ..operating import Actor, ApiToken, NewToken, OpenSession, OperatorFacts, PluginFacts, Reloaded, Setting
from ..reload import answers, ask
from ..store import Store
from ..types import Operator
from .endings import ending
from .listing import Sizes, clean
from .plugins import plugin_facts


class DeskInstallation:
    """Implements `operating.InstallationDesk` for the configuration as it was read, and what it loaded."""

    def __init__(
        self,
        store: Store,
        raw: RawConfig,
        config: Config,
        loaded: Loaded,
        calls: Calls,
        auth: Authenticator,
        tokens: Tokens,
        sizes: Sizes,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._raw = raw
        self._config = config
        self._loaded = loaded
        self._calls = calls
        self._operators = config.operators
        self._sizes = sizes
        self._auth = auth
        self._tokens = tokens
        self._now = now

    async def settings(self, operator: Operator) -> Sequence[Setting]:
        _check(operator)
        return shown(self._raw, self._config)

    async def reload(self, actor: Actor) -> str:
        _check(actor.operator)
        return await ask(self._store, actor)

    async def reloads(self, request: str, operator: Operator) -> Sequence[Reloaded]:
        _check(operator)
        return await answers(self._store, request)

    async def plugins(self, operator: Operator) -> Sequence[PluginFacts]:
        _check(operator)
        return plugin_facts(self._loaded, self._calls, self._config.delivery)

    async def operators(self, operator: Operator) -> Sequence[OperatorFacts]:
        _check(operator)
        sessions = await self._auth.open_sessions()
        return [
            OperatorFacts(
                login,
                sorted(one.rights),
                None if one.event_types is None else sorted(one.event_types),
                None if one.brands is None else sorted(one.brands),
                sessions.get(login, 0),
            )
            for login, one in self._operators.items()
        ]

    async def sessions(self, operator: Operator, limit: int, login: str = "") -> Sequence[OpenSession]:
        _check(operator)
        clean(login)
        return await self._auth.sessions(self._sizes.checked(limit), login)

    async def end_session(self, session_id: str, actor: Actor) -> OpenSession:
        _check(actor.operator)
        async with self._store.transaction() as transaction:
            ended = await self._auth.end_one(session_id, transaction)
            if ended is None:
                raise NotFound(f"there is no open session {session_id[:64]!r}")
            detail = {"session": ended.id, "from": ended.address}
            await record(self._store, [Change("sessions.end", ended.login, detail)], actor, transaction)
        return ended

    async def end_sessions(self, login: str, actor: Actor) -> int:
        _check(actor.operator)
        if login not in self._operators:
            raise NotFound(f"there is no operator {login!r}")
        async with self._store.transaction() as transaction:
            ended = await self._auth.end_all(login, transaction)
            await record(self._store, [Change("sessions.end", login, {"sessions": ended})], actor, transaction)
        return ended

    async def tokens(self, operator: Operator, login: str = "", *, everything: bool = False) -> Sequence[ApiToken]:
        _check(operator)
        clean(login)
        return await self._tokens.find(login, everything)

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
        _check(actor.operator)
        until = ending(expires, self._now())
        return await self._tokens.create(
            login, name, actor, rights=rights, event_types=event_types, brands=brands, expires=until
        )

    async def revoke_token(self, token_id: int, actor: Actor) -> ApiToken:
        _check(actor.operator)
        return await self._tokens.revoke(token_id, actor)


def _check(operator: Operator) -> None:
    if not operator.may("admin") or operator.event_types is not None or operator.brands is not None:
        raise AccessDenied
