"""The installation as its administrators look at it: settings, plugins, operators with their sessions and tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from ..audit import Change, record
from ..auth import Authenticator, Tokens
from ..config.settings import OperatorSettings
from ..errors import AccessDenied, NotFound
from ..operating import Actor, ApiToken, NewToken, OperatorFacts, PluginFacts, Setting
from ..store import Store
from ..types import Operator


class DeskInstallation:
    """Implements `operating.InstallationDesk`. `settings` and `plugins` are read when they are asked for."""

    def __init__(
        self,
        store: Store,
        settings: Callable[[], Sequence[Setting]],
        plugins: Callable[[], Sequence[PluginFacts]],
        operators: Mapping[str, OperatorSettings],
        auth: Authenticator,
        tokens: Tokens,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._plugins = plugins
        self._operators = operators
        self._auth = auth
        self._tokens = tokens
        self._now = now

    async def settings(self, operator: Operator) -> Sequence[Setting]:
        _check(operator)
        return self._settings()

    async def plugins(self, operator: Operator) -> Sequence[PluginFacts]:
        _check(operator)
        return self._plugins()

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

    async def end_sessions(self, login: str, actor: Actor) -> int:
        _check(actor.operator)
        if login not in self._operators:
            raise NotFound(f"there is no operator {login!r}")
        async with self._store.transaction() as transaction:
            ended = await self._auth.end_all(login, transaction)
            await record(self._store, [Change("sessions.end", login, {"sessions": ended})], actor, transaction)
        return ended

    async def tokens(self, operator: Operator) -> Sequence[ApiToken]:
        _check(operator)
        return await self._tokens.find()

    async def create_token(
        self, login: str, name: str, actor: Actor, *, rights: Sequence[str] | None = None, days: float | None = None
    ) -> NewToken:
        _check(actor.operator)
        expires = None if days is None else self._now() + timedelta(days=days)
        return await self._tokens.create(login, name, actor, rights=rights, expires=expires)

    async def revoke_token(self, token_id: int, actor: Actor) -> ApiToken:
        _check(actor.operator)
        return await self._tokens.revoke(token_id, actor)


def _check(operator: Operator) -> None:
    if not operator.may("admin") or operator.event_types is not None or operator.brands is not None:
        raise AccessDenied
