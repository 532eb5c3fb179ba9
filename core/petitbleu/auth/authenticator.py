"""Who is calling: sessions, tokens of programs, `login/password`, trusted networks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..config.settings import OperatorSettings, Sessions
from ..errors import AccessDenied, SessionExpired
from ..networks import within
from ..operating import OpenSession
from ..store.models import SessionRow, TokenRow
from ..store.payload import micros, moment
from ..types import Credentials, Operator, Session
from .passwords import Passwords
from .remembered import Remembered
from .tokens import PREFIX, narrowed, token_hash, well_formed

OPENING = 16
"""Characters of a token's hash by which people tell sessions apart; 64 bits of it."""
_IS_OPENING = re.compile(rf"[0-9a-f]{{{OPENING}}}").fullmatch
_NOTED = 300_000_000
"""Microseconds between two notes of when a token was used."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A session as the database has it; `expires` in microseconds."""

    login: str
    security_hash: str
    expires: int


@dataclass(frozen=True, slots=True)
class _KnownToken:
    """A program's token as the database has it; `until` in microseconds."""

    login: str
    rights: frozenset[str]
    event_types: frozenset[str] | None
    brands: frozenset[str] | None
    until: int | None


class Authenticator:
    """Implements `services.Auth` over the operators of the configuration and the tables of sessions and tokens.

    A session that another process ended, or a token that was revoked, may hold here for `settings.cache` more seconds.
    `limit_reached` is told which setting held somebody up. Needs an open store.
    """

    def __init__(
        self,
        operators: Mapping[str, OperatorSettings],
        settings: Sessions,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        limit_reached: Callable[[str], None] = lambda limit: None,
    ) -> None:
        self._operators = {
            login: Operator(login, frozenset(one.rights), one.event_types, one.brands)
            for login, one in operators.items()
        }
        self._settings = settings
        self._now = now
        self._random_bytes = random_bytes
        self._limit_reached = limit_reached
        self._password_networks = {login: one.password_token_from for login, one in operators.items()}
        self._trusted_networks = {login: one.trusted_from for login, one in operators.items()}
        hashes = {login: one.password.get_secret_value() for login, one in operators.items() if one.password}
        self._passwords = Passwords(hashes, settings, now, random_bytes, sleep, limit_reached)
        self._sessions: Remembered[str, _Known] = Remembered(settings.remembered, settings.cache, now)
        self._tokens: Remembered[str, _KnownToken] = Remembered(settings.remembered, settings.cache, now)

    async def authenticate(self, credentials: Credentials) -> Operator:
        """The operator behind a token, else behind a cookie, else the one whom the caller's network stands for."""
        if credentials.token:
            login, slash, password = credentials.token.partition("/")
            if slash:
                return await self._by_password(login, password, credentials.address)
            if credentials.token.startswith(PREFIX):
                return await self._by_token(credentials.token)
            return await self._by_session(credentials.token, credentials.security_token or None)
        if credentials.cookie:
            return await self._by_session(credentials.cookie, credentials.security_token)
        for login, networks in self._trusted_networks.items():
            if within(credentials.address, networks):
                return self._operators[login]
        raise AccessDenied

    async def logon(self, login: str, password: str, address: str) -> Session:
        """Open a session; an operator's oldest one ends when there are too many. Raises `AccessDenied`."""
        operator = self._operators.get(login)
        if not await self._passwords.holds(login, password, address) or operator is None:
            raise AccessDenied
        now = micros(self._now())
        await self._make_room(login, now)
        token = "___" + base64.urlsafe_b64encode(self._random_bytes(24)).decode()
        security_token = "@" + base64.urlsafe_b64encode(self._random_bytes(16)).decode()
        await SessionRow.create(
            token_hash=_hash(token),
            security_hash=_hash(security_token),
            login=login,
            created=now,
            expires=now + int(self._settings.lifetime * 1_000_000),
            address=address[:64],
        )
        return Session(operator, token, security_token, self._settings.lifetime)

    async def logoff(self, token: str) -> None:
        """End a session, in this process at once. Ending it twice is no error; an unknown token is `AccessDenied`."""
        key = _hash(token)
        row = await SessionRow.get_or_none(token_hash=key)
        if row is None:
            raise AccessDenied
        await self._end(row, micros(self._now()))

    async def _by_password(self, login: str, password: str, address: str) -> Operator:
        operator = self._operators.get(login)
        allowed = operator is not None and within(address, self._password_networks[login])
        if not await self._passwords.holds(login, password, address, allowed) or operator is None:
            raise AccessDenied
        return operator

    async def _by_token(self, token: str) -> Operator:
        """The operator whom the token is for, with what both of them may."""
        if not well_formed(token):
            raise AccessDenied
        key = token_hash(token)
        known = self._tokens.get(key) or await self._find_token(key)
        operator = None if known is None else self._operators.get(known.login)
        if known is None or operator is None or (known.until is not None and known.until <= micros(self._now())):
            raise AccessDenied
        return Operator(
            operator.login,
            operator.rights & known.rights,
            _both(operator.event_types, known.event_types),
            _both(operator.brands, known.brands),
        )

    async def _find_token(self, key: str) -> _KnownToken | None:
        row = await TokenRow.get_or_none(token_hash=key)
        if row is None or not hmac.compare_digest(row.token_hash, key) or row.revoked is not None:
            return None
        known = _KnownToken(
            row.login,
            frozenset(row.rights.split()),
            narrowed(row.event_types),
            narrowed(row.brands),
            row.expires,
        )
        self._tokens.put(key, known)
        now = micros(self._now())
        if row.used is None or row.used < now - _NOTED:
            # that it cannot be noted is no reason to refuse the call
            with contextlib.suppress(Exception):
                await TokenRow.filter(id=row.id).update(used=now)
        return known

    async def _by_session(self, token: str, security_token: str | None) -> Operator:
        """`security_token` must be the session's, unless it is None."""
        key = _hash(token)
        known = self._sessions.get(key) or await self._find(key)
        if known is None:
            raise AccessDenied
        if security_token is not None and not hmac.compare_digest(known.security_hash, _hash(security_token)):
            raise AccessDenied
        operator = self._operators.get(known.login)
        if operator is None:
            raise AccessDenied
        if known.expires <= micros(self._now()):
            raise SessionExpired
        return operator

    async def _find(self, key: str) -> _Known | None:
        row = await SessionRow.get_or_none(token_hash=key)
        if row is None or not hmac.compare_digest(row.token_hash, key):
            return None
        # it may have ended while the database answered
        known = self._sessions.get(key) or _Known(row.login, row.security_hash, row.expires)
        self._sessions.put(key, known)
        return known

    async def _end(self, row: SessionRow, now: int) -> None:
        self._sessions.put(row.token_hash, _Known(row.login, row.security_hash, min(row.expires, now)))
        await SessionRow.filter(token_hash=row.token_hash, expires__gt=now).update(expires=now)

    async def open_sessions(self) -> dict[str, int]:
        """How many each operator has."""
        live = SessionRow.filter(expires__gt=micros(self._now()))
        return dict(Counter(await live.values_list("login", flat=True)))

    async def sessions(self, limit: int, login: str = "") -> list[OpenSession]:
        """Those that hold, of everybody or of one operator, the latest first."""
        live = SessionRow.filter(expires__gt=micros(self._now()), **({"login": login} if login else {}))
        return [_open(row) for row in await live.order_by("-created").limit(limit)]

    async def end_one(self, session_id: str, on: Any) -> OpenSession | None:
        """End the session whose token's hash begins so, within the transaction `on`. None: none holds."""
        now = micros(self._now())
        if not _IS_OPENING(session_id):
            return None
        live = SessionRow.filter(token_hash__startswith=session_id, expires__gt=now).using_db(on)
        row = await live.get_or_none()
        if row is None:
            return None
        await live.update(expires=now)
        self._sessions.put(row.token_hash, _Known(row.login, row.security_hash, now))
        return _open(row)

    async def end_all(self, login: str, on: Any) -> int:
        """End every session of an operator, within the transaction `on`; other processes follow within
        `settings.cache`."""
        now = micros(self._now())
        rows = await SessionRow.filter(login=login, expires__gt=now).using_db(on)
        for row in rows:
            self._sessions.put(row.token_hash, _Known(row.login, row.security_hash, now))
        await SessionRow.filter(login=login, expires__gt=now).using_db(on).update(expires=now)
        return len(rows)

    async def _make_room(self, login: str, now: int) -> None:
        live = SessionRow.filter(login=login, expires__gt=now)
        extra = await live.count() - self._settings.per_operator + 1
        if extra > 0:
            self._limit_reached("sessions.per_operator")
            for row in await live.order_by("created").limit(extra):
                await self._end(row, now)


def _open(row: SessionRow) -> OpenSession:
    return OpenSession(row.token_hash[:OPENING], row.login, row.address, moment(row.created), moment(row.expires))


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """What two limits leave; None is no limit."""
    return other if one is None else one if other is None else one & other


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
