"""How people come in and go: what is asked of them, and what the audit says of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from ..audit import Change, record
from ..auth import Authenticator
from ..errors import AccessDenied
from ..operating import Actor
from ..store import Store
from ..types import Operator, Session

_MINUTE = 60


class DeskEntrance:
    """Implements `operating.EntranceDesk`. `logins` are those of the configuration. The audit has `refusals` failed
    sign-ins a minute from this process at most: who guesses must not fill the disk. `limit_reached` is told of more."""

    def __init__(
        self,
        store: Store,
        auth: Authenticator,
        logins: Collection[str],
        refusals: int,
        now: Callable[[], datetime],
        limit_reached: Callable[[str], None],
    ) -> None:
        self._store = store
        self._auth = auth
        self._logins = logins
        self._refusals = refusals
        self._now = now
        self._limit_reached = limit_reached
        self._noted = (0, 0)
        """In which minute, and how many."""

    async def sign_in(self, login: str, password: str, right: str, origin: str, address: str) -> Session:
        try:
            session = await self._auth.logon(login, password, address)
        except AccessDenied:
            known = login in self._logins
            await self._refused(login if known else "", "password" if known else "login", origin, address)
            raise
        if not session.operator.may(right):
            await self._auth.logoff(session.token)
            await self._refused(login, f"right {right}", origin, address)
            raise AccessDenied
        await self._note(Change("sessions.begin", login), Actor(session.operator, origin, address))
        return session

    async def sign_out(self, token: str, actor: Actor) -> None:
        await self._auth.logoff(token)
        await self._note(Change("sessions.leave", actor.login), actor)

    async def _refused(self, login: str, why: str, origin: str, address: str) -> None:
        minute = int(self._now().timestamp()) // _MINUTE
        noted = self._noted[1] if self._noted[0] == minute else 0
        self._noted = (minute, noted + 1)
        if noted >= self._refusals:
            self._limit_reached("sessions.refusals")
            return
        nobody = Actor(Operator(login, frozenset()), origin, address)
        await self._note(Change("sessions.refused", login, {"wrong": why}), nobody)

    async def _note(self, change: Change, actor: Actor) -> None:
        async with self._store.transaction() as transaction:
            await record(self._store, [change], actor, transaction)


__all__ = ["DeskEntrance"]
