"""Remove a person from the database, and prove it by looking through all of it once more.

The person's own events go with everything that belongs to them: those that wait are not sent any more, and those a
worker has are waited for. Wherever else the address is mentioned, `***` takes its place. What the person asked of us,
not to be written to, stays: under a keyed hash, which tells nothing of the address and still recognises it.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..archive import Folder
from ..audit import Change, record
from ..errors import PetitbleuError
from ..operating import Actor
from ..rendered import text_of
from ..store import Store, StoreError
from ..store.whole import (
    Found,
    Table,
    clear_away,
    delete_owned,
    delete_row,
    files,
    overwrite_what_goes,
    replace_text,
    row_at,
    rows_of,
    tables,
)
from ..suppression import Reason, forgotten_key
from .archived import ARCHIVE, elsewhere, look, take_out
from .spellings import Person

CHUNK = 100
"""Events that one transaction deletes."""
MOST_UNREAD = 20
"""Rows that cannot be read and are told one by one."""
ROUNDS = 5
"""So often it is looked again, for what came meanwhile."""
LASTING = {("template_versions", "snapshot"): "a published template; publish it without the address"}
"""What nothing may change, and what to do instead."""
ASKED = (Reason.COMPLAINT, Reason.UNSUBSCRIBED, Reason.MANUAL)
"""Of these reasons the person keeps the benefit."""
_ADDRESSES = {"events": ("email", "mobile_phone", "device")}


@dataclass(slots=True)
class Forgotten:
    """What was done, or would be. `left` is where the address still stands, and why."""

    removed: Counter[str] = field(default_factory=Counter)
    blanked: Counter[str] = field(default_factory=Counter)
    kept_as_hash: int = 0
    left: list[str] = field(default_factory=list)
    rows: int = 0
    tables: int = 0
    columns: int = 0
    files: list[Path] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    """Other addresses in the events that went: probably the same person's."""
    archived: int | None = None
    """Events of the archive that were searched; None: there is no archive."""


@dataclass(slots=True)
class _Seen:
    """What one walk through everything has found."""

    events: set[int] = field(default_factory=set)
    rows: list[Found] = field(default_factory=list)
    lasting: Counter[tuple[str, str]] = field(default_factory=Counter)
    others: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)
    """Rows of which nobody knows what they hold."""
    looked_at: int = 0


class Forget:
    """`patience` is for how many seconds a worker that has one of the person's events is waited for; `archive` is
    where this installation keeps events that are deleted."""

    def __init__(
        self,
        store: Store,
        patience: float = 60.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        archive: Folder | None = None,
    ) -> None:
        self._store = store
        self._archive = archive
        self._patience = patience
        self._sleep = sleep

    async def rehearse(self, person: Person) -> Forgotten:
        """What `forget` would find now."""
        listed = await tables(self._store)
        seen = await self._walk(listed, person)
        result = self._result(listed, seen)
        owners = [table for table in listed if table.owner]
        for table in owners:
            async for row in rows_of(self._store, table):
                result.removed[table.name] += row[table.owner] in seen.events
        result.blanked.update(one.table.name for one in seen.rows)
        result.left = self._left(seen)
        if self._archive is not None:
            found = await asyncio.to_thread(look, self._archive, person)
            result.removed[ARCHIVE], result.blanked[ARCHIVE] = found.own, found.mentions
            result.archived = found.searched
        return result

    async def forget(
        self, person: Person, actor: Actor, *, write_again: bool = False, whole: bool = False
    ) -> Forgotten:
        """`write_again` removes also what keeps us from writing to the person; `whole` writes an SQLite file anew.

        Raises `PetitbleuError` when a worker keeps an event for too long; what is done by then is done.
        """
        await overwrite_what_goes(self._store)
        listed = await tables(self._store)
        done = Forgotten()
        for _ in range(ROUNDS):
            seen = await self._walk(listed, person)
            done.others |= seen.others
            if not seen.events and not seen.rows:
                break
            await self._remove(listed, seen.events, done)
            for found in seen.rows:
                await self._blank(found, person, write_again, done)
        else:
            done.left.append("what keeps coming: somebody pushes events for this address at the moment")
        await self._note(person, actor, done)
        result = self._result(listed, seen)
        result.removed, result.blanked, result.kept_as_hash = +done.removed, +done.blanked, done.kept_as_hash
        result.others = done.others
        result.left = [*done.left, *self._left(seen)]
        changed = sorted({*result.removed, *result.blanked})
        await clear_away(self._store, changed, whole=whole)
        await self._forget_archived(person, result)
        result.files = await files(self._store)
        # what must stay in a table stands in the file, too
        for file in () if seen.lasting else result.files:
            if await asyncio.to_thread(_holds, file, person):
                result.left.append(
                    f"{file}: in parts of the file that are free; stop the server, then repeat with --vacuum"
                )
        return result

    async def _forget_archived(self, person: Person, result: Forgotten) -> None:
        # after the database: whatever is archived now was there before
        if self._archive is not None:
            gone, blanked = await asyncio.to_thread(take_out, self._archive, person)
            result.removed[ARCHIVE], result.blanked[ARCHIVE] = gone, blanked
            found = await asyncio.to_thread(look, self._archive, person)
            result.archived = found.searched
            result.left += found.left
        result.left += await elsewhere(self._store, self._archive)

    # ------------------------------------------------------------------------------------------------------- looking

    async def _walk(self, listed: Sequence[Table], person: Person) -> _Seen:
        seen = _Seen()
        for table in listed:
            async for row in rows_of(self._store, table):
                seen.looked_at += 1
                texts = self._texts(table, row, seen)
                hit = [name for name, text in texts.items() if person.within(text)]
                if not hit:
                    continue
                key = tuple(row[one] for one in table.key)
                if (addresses := _addresses(table.name, texts)) and any(map(person.is_at, addresses)):
                    seen.events.add(row[table.owner])
                    seen.others |= {one for one in addresses if one and not person.is_at(one)}
                for name in hit:
                    if (table.name, name) in LASTING:
                        seen.lasting[table.name, name] += 1
                if any((table.name, name) not in LASTING for name in hit):
                    seen.rows.append(Found(table, key))
        return seen

    def _result(self, listed: Sequence[Table], seen: _Seen) -> Forgotten:
        searched = [table for table in listed if table.columns]
        return Forgotten(
            rows=seen.looked_at,
            tables=len(searched),
            columns=sum(len(table.columns) for table in searched),
            others=seen.others,
        )

    def _texts(self, table: Table, row: Mapping[str, Any], seen: _Seen) -> dict[str, str]:
        try:
            return {name: text for name in table.columns if (text := self._read(table, name, row))}
        except StoreError as error:
            # the rest is to be forgotten all the same
            seen.unread.append(f"maybe in {table.name}: {error}")
            return {}

    def _left(self, seen: _Seen) -> list[str]:
        lasting = [f"{table}, {rows} rows: in {LASTING[table, name]}" for (table, name), rows in seen.lasting.items()]
        more = len(seen.unread) - MOST_UNREAD
        return [*lasting, *seen.unread[:MOST_UNREAD], *([f"maybe in {more} more rows"] if more > 0 else [])]

    # ------------------------------------------------------------------------------------------------------ removing

    async def _remove(self, listed: Sequence[Table], events: set[int], done: Forgotten) -> None:
        # the record of events last: without it nobody would find the rest again
        owners = sorted((table for table in listed if table.owner), key=lambda table: table.name == "events")
        waited, there = 0.0, sorted(events)
        while True:
            leased: list[int] = []
            for some in _chunks(there):
                leased += await self._remove_some(owners, some, done)
            if not leased:
                return
            if waited >= self._patience:
                told = ", ".join(map(str, leased[:5])) + (", …" if len(leased) > 5 else "")
                raise PetitbleuError(f"a worker is sending {told}; the others are removed. Repeat this in a minute")
            await self._sleep(0.5)
            waited, there = waited + 0.5, leased

    async def _remove_some(self, owners: Sequence[Table], events: Sequence[int], done: Forgotten) -> list[int]:
        """Those that a worker has are left, and returned."""
        ids = [{"id": one} for one in events]
        async with self._store.transaction() as transaction:
            done.removed["queue"] += await self._store.change("withdraw", ids, on=transaction)
            leased = {row["id"] for row in await self._store.rows("still_queued", ids, on=transaction)}
            free = [one for one in events if one not in leased]
            for table in owners if free else ():
                done.removed[table.name] += await delete_owned(self._store, table, free, transaction)
        return sorted(leased)

    async def _blank(self, found: Found, person: Person, write_again: bool, done: Forgotten) -> None:
        name, hashed = found.table.name, await self._hashed(person)
        async with self._store.transaction() as transaction:
            row = await row_at(self._store, found, transaction)
            if row is None:
                return
            changed = {
                column: _blanked(person, name, text)
                for column in found.table.columns
                if (name, column) not in LASTING and person.within(text := self._read(found.table, column, row))
            }
            if not changed:
                return
            if name == "suppressions" and "address" in changed:
                if row["reason"] in ASKED and not write_again:
                    await self._store.rows("keep_forgotten", hashed, found.key[0], on=transaction)
                    done.kept_as_hash += 1
                else:
                    done.removed[name] += 1
                await delete_row(self._store, found, transaction)
            elif name in ("soft_errors", "rendered") or any(column in found.table.key for column in changed):
                await delete_row(self._store, found, transaction)
                done.removed[name] += 1
            else:
                if name == "payloads":
                    changed = {column: self._store.vault.seal(row["id"], text) for column, text in changed.items()}
                await replace_text(self._store, found, changed, transaction)
                done.blanked[name] += 1

    def _read(self, table: Table, column: str, row: Mapping[str, Any]) -> str:
        if table.name == "rendered":
            return text_of(self._store.vault, row["event"], bytes(row[column]))
        text = _text(row[column])
        return self._store.vault.open(row["id"], text) if table.name == "payloads" else text

    async def _hashed(self, person: Person) -> str:
        return forgotten_key(await self._store.secret(), person.key)

    async def _note(self, person: Person, actor: Actor, done: Forgotten) -> None:
        object_ = f"{person.kind}/{(await self._hashed(person))[:28]}"
        detail = {"removed": dict(+done.removed), "blanked": dict(+done.blanked)}
        async with self._store.transaction() as transaction:
            await record(self._store, [Change("forget", object_, detail)], actor, transaction)


def _blanked(person: Person, table: str, text: str) -> str:
    if table == "payloads":
        with suppress(ValueError):
            return orjson.dumps(person.blanked_data(orjson.loads(text))).decode()
    return person.blanked(text)


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _addresses(table: str, texts: Mapping[str, str]) -> list[Any]:
    """Those a row of an event names as the recipient's."""
    if table == "payloads":
        try:
            return list(orjson.loads(texts["body"]).get("addresses", {}).values())
        except (ValueError, AttributeError, KeyError):
            return []
    return [texts.get(name) for name in _ADDRESSES.get(table, ())]


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def _holds(file: Path, person: Person) -> bool:
    with file.open("rb") as opened:
        if not file.stat().st_size:
            return False
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return person.raw.search(content) is not None


__all__ = ["Forget", "Forgotten"]
