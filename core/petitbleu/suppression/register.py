"""The suppression list as operators read and change it. Every change is audited, and made whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..addresses import registration_token
from ..audit import record
from ..operating import Actor, Suppression, SuppressionFilter
from ..store import Store
from ..store.payload import optional_micros, optional_moment
from .guard import change
from .keys import FORGOTTEN, checked_key, forgotten_key
from .rules import Reason

CHUNK = 1000


class Register:
    """`kinds` says what the addresses of each channel are (`Channel.address`), `checks` how those of plugins' own are
    read."""

    def __init__(
        self,
        store: Store,
        kinds: Mapping[str, str],
        checks: Mapping[str, Callable[[str], str]] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._checks = checks

    def key(self, channel: str, address: str, country: str = "") -> str:
        """The key of an address as a person wrote it. Raises `ValueError`."""
        if channel not in self._kinds:
            known = ", ".join(sorted(self._kinds)) or "none"
            raise ValueError(f"no plugin here serves the channel {channel!r}; there are: {known}")
        kind = self._kinds[channel]
        return checked_key(kind, address, country, self._checks.get(kind, registration_token))

    async def find(
        self,
        wanted: SuppressionFilter,
        limit: int,
        before: tuple[int, int] | None = None,
        brands: Collection[str] | None = None,
    ) -> list[tuple[tuple[int, int], Suppression]]:
        """The latest first, each with its place in this order, which `before` takes; of `brands` only, if given."""
        terms, values = [], list[Any]()
        if before is not None:
            terms.append("created <= ? AND (created < ? OR id < ?)")
            values += [before[0], *before]
        rows = await self._read(wanted, brands, terms, values, "created DESC, id DESC", limit)
        return [((row["created"], row["id"]), _entry(row)) for row in rows]

    async def walk(
        self, wanted: SuppressionFilter, brands: Collection[str] | None = None
    ) -> AsyncIterator[Suppression]:
        """All of them that have an address, in the order in which they came; what is changed meanwhile may be seen or
        not."""
        after = 0
        while True:
            rows = await self._read(wanted, brands, ["id > ?"], [after], "id", CHUNK)
            for row in rows:
                if not row["address"].startswith(FORGOTTEN):
                    yield _entry(row)
            if len(rows) < CHUNK:
                return
            after = rows[-1]["id"]

    async def put(self, entries: Sequence[Suppression], actor: Actor, action: str) -> None:
        """Add entries, or replace those of the same channel, address, brand and reason; of twins the last one holds."""
        rows = {(one.channel, one.address, one.brand, one.reason.value): _row(one, actor.login) for one in entries}
        ordered = [rows[key] for key in sorted(rows)]
        async with self._store.transaction() as transaction:
            for start in range(0, len(ordered), CHUNK):
                some = ordered[start : start + CHUNK]
                await self._store.rows("suppress", some, on=transaction)
                await record(self._store, [change(action, row) for row in some], actor, transaction)

    async def remove(
        self, channel: str, addresses: Sequence[str], actor: Actor, brand: str | None = None, reason: str = ""
    ) -> list[Suppression]:
        """Take addresses (keys) off the list, for a brand or a reason alone where one is named, and forget their soft
        errors; gives what was on it."""
        secret = await self._store.secret()
        # one that is forgotten stands there by another name
        known = {name: one for one in addresses for name in (one, forgotten_key(secret, one))}
        asked = sorted(known)
        rows = [
            {"n": number, "channel": channel, "address": one, "brand": brand, "reason": reason or None}
            for number, one in enumerate(asked)
        ]
        async with self._store.transaction() as transaction:
            # before the entries, as feedback does it: so no two wait for each other
            await self._store.rows("forget_soft", rows, on=transaction)
            gone = await self._store.rows("unsuppress", rows, on=transaction)
            await record(self._store, [change("suppressions.remove", row) for row in gone], actor, transaction)
        return [_entry({**row, "address": known[row["address"]], "by": row["who"]}) for row in gone]

    async def _read(
        self,
        wanted: SuppressionFilter,
        brands: Collection[str] | None,
        terms: list[str],
        values: list[Any],
        order: str,
        limit: int,
    ) -> list[dict[str, Any]]:
        for column, value in (("channel", wanted.channel), ("reason", wanted.reason)):
            if value:
                terms.append(f"{column} = ?")
                values.append(value)
        if wanted.address:
            terms.append("address IN (?, ?)")
            values += [wanted.address, forgotten_key(await self._store.secret(), wanted.address)]
        if wanted.brand is not None:
            terms.append("brand = ?")
            values.append(wanted.brand)
        if brands is not None:
            terms.append(f"brand IN ({', '.join('?' * len(brands)) or 'NULL'})")
            values += brands
        if not wanted.expired:
            terms.append("(expires IS NULL OR expires > ?)")
            values.append(self._store.now())
        where = " AND ".join(terms) or "1 = 1"
        sql = f"SELECT * FROM suppressions WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608 - our own words
        return await self._store.read(sql, [*values, limit])


def _entry(row: Mapping[str, Any]) -> Suppression:
    return Suppression(
        row["channel"],
        row["address"],
        row["brand"],
        Reason(row["reason"]),
        row["text"],
        optional_moment(row["created"]),
        optional_moment(row["expires"]),
        row["by"],
    )


def _row(entry: Suppression, by: str) -> dict[str, Any]:
    return {
        "channel": entry.channel,
        "address": entry.address,
        "brand": entry.brand,
        "reason": entry.reason.value,
        "text": entry.text,
        "created": optional_micros(entry.created),
        "expires": optional_micros(entry.expires),
        "who": entry.by or by,
    }


__all__ = ["Register"]
