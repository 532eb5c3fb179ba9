"""Tokens for programs: made for an operator, shown once, stored as a hash, revoked by whoever runs the instance.

A token is `pb_`, 256 random bits as 43 letters and digits, and six more that check the rest: a scanner for secrets can
tell one from other text, and what is mistyped or made up costs no look-up.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from ..audit import Change, record
from ..config.settings import OperatorSettings
from ..errors import InputRefused, NotFound
from ..operating import Actor, ApiToken, NewToken
from ..store import Store
from ..store.models import TokenRow
from ..store.payload import micros, moment, optional_micros, optional_moment
from ..suggest import did_you_mean

PREFIX = "pb_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY, _CHECK = 43, 6
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_BODY + _CHECK}}}")
SHOWN = len(PREFIX) + 6
"""Characters of a token by which people know it again."""


def make_token(random_bytes: Callable[[int], bytes]) -> str:
    body = _base62(int.from_bytes(random_bytes(32)), _BODY)
    return PREFIX + body + _check(body)


def well_formed(token: str) -> bool:
    """Whether it can be one of ours."""
    if not _FORM.fullmatch(token):
        return False
    body = token[len(PREFIX) : -_CHECK]
    return _check(body) == token[-_CHECK:]


def token_hash(token: str) -> str:
    """SHA-256 will do: nobody guesses 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _check(body: str) -> str:
    return _base62(zlib.crc32((PREFIX + body).encode()), _CHECK)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


class Tokens:
    """The tokens of an instance, as operators make, list and revoke them. Every change is audited."""

    def __init__(
        self,
        store: Store,
        operators: Mapping[str, OperatorSettings],
        event_types: Collection[str],
        brands: Collection[str],
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._operators = operators
        self._event_types = event_types
        self._brands = brands
        self._now = now
        self._random_bytes = random_bytes

    async def create(
        self,
        login: str,
        name: str,
        actor: Actor,
        *,
        rights: Collection[str] | None = None,
        event_types: Collection[str] | None = None,
        brands: Collection[str] | None = None,
        expires: datetime | None = None,
    ) -> NewToken:
        """A token that may do what the operator may, or less of it. Raises `InputRefused`."""
        operator = self._operators.get(login)
        if operator is None:
            raise _refused("login", _unknown("operator", login, self._operators))
        given = frozenset(operator.rights if rights is None else rights)
        if missing := sorted(given - operator.rights):
            has = ", ".join(sorted(operator.rights))
            text = f"{login} lacks the right {missing[0]!r}, so a token cannot have it; {login} has {has}"
            raise _refused("rights", text)
        if not given:
            raise _refused("rights", "a token without any right is of no use")
        for field, what, names, declared, own in (
            ("event_types", "event type", event_types, self._event_types, operator.event_types),
            ("brands", "brand", brands, self._brands, operator.brands),
        ):
            for one in names or ():
                if one not in declared:
                    raise _refused(field, _unknown(what, one, declared))
                if own is not None and one not in own:
                    raise _refused(field, f"the rights of {login} do not reach the {what} {one!r}, nor can a token's")
        now = self._now()
        if expires is not None and expires <= now:
            raise _refused("expires", "the token would have expired already")
        if not 0 < len(name) <= 128 or not name.isprintable():
            raise _refused("name", "a token needs a name of up to 128 characters, such as that of the system it is for")
        token = make_token(self._random_bytes)
        detail = {
            "rights": sorted(given),
            "event_types": _listed(event_types),
            "brands": _listed(brands),
            "expires": None if expires is None else expires.isoformat(),
        }
        row = {
            "login": login,
            "name": name,
            "token_hash": token_hash(token),
            "start": token[:SHOWN],
            "rights": " ".join(sorted(given)),
            "event_types": _json(event_types),
            "brands": _json(brands),
            "created": micros(now),
            "created_by": actor.login[:128],
            "expires": optional_micros(expires),
        }
        async with self._store.transaction() as transaction:
            made = await TokenRow.create(using_db=transaction, **row)
            await record(self._store, [Change("tokens.create", f"{login}/{name}", detail)], actor, transaction)
        (known,) = await self._read("id = ?", [made.id])
        return NewToken(token, known)

    async def find(self, login: str = "", everything: bool = False) -> list[ApiToken]:
        """Those that are valid, or all; the latest first."""
        terms, values = ["1 = 1"], list[Any]()
        if login:
            terms.append("login = ?")
            values.append(login)
        if not everything:
            terms.append("revoked IS NULL AND (expires IS NULL OR expires > ?)")
            values.append(micros(self._now()))
        return await self._read(" AND ".join(terms), values)

    async def revoke(self, token_id: int, actor: Actor) -> ApiToken:
        """For good; other processes follow within `sessions.cache`. Raises `NotFound`."""
        if not 0 < token_id < 1 << 63:
            raise NotFound(f"there is no token {token_id}")
        async with self._store.transaction() as transaction:
            valid = TokenRow.filter(id=token_id, revoked=None).using_db(transaction)
            revoked = await valid.update(revoked=micros(self._now()))
            found = await TokenRow.get_or_none(id=token_id, using_db=transaction)
            if found is None:
                raise NotFound(f"there is no token {token_id}")
            if not revoked:
                raise NotFound(f"there is no valid token {token_id}: it was revoked before")
            change = Change("tokens.revoke", f"{found.login}/{found.name}", {"id": token_id})
            await record(self._store, [change], actor, transaction)
        (known,) = await self._read("id = ?", [token_id])
        return known

    async def _read(self, where: str, values: list[Any]) -> list[ApiToken]:
        sql = f"SELECT * FROM api_tokens WHERE {where} ORDER BY id DESC"  # noqa: S608 - our own words
        return [_token(row) for row in await self._store.read(sql, values)]


def _token(row: Mapping[str, Any]) -> ApiToken:
    return ApiToken(
        row["id"],
        row["login"],
        row["name"],
        row["start"],
        frozenset(row["rights"].split()),
        narrowed(row["event_types"]),
        narrowed(row["brands"]),
        moment(row["created"]),
        row["created_by"],
        optional_moment(row["expires"]),
        optional_moment(row["revoked"]),
        optional_moment(row["used"]),
    )


def narrowed(text: str | None) -> frozenset[str] | None:
    """What a row says of event types or brands."""
    return None if text is None else frozenset(json.loads(text))


def _json(names: Collection[str] | None) -> str | None:
    return None if names is None else json.dumps(sorted(names), ensure_ascii=False)


def _listed(names: Collection[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _refused(field: str, text: str) -> InputRefused:
    return InputRefused([(field, text)], text)


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    hint = did_you_mean(name, known)
    return f"there is no {what} {name!r}; " + (hint or f"there are: {', '.join(sorted(known)) or 'none'}")
