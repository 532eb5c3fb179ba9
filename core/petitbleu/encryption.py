"""Which keys the stored texts are sealed with, and bringing all of them under the first key of the configuration.

The installation remembers every key that was ever the first and may still be in use, so that a server which lacks one
does not start, rather than fail at some event.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from .rendered import seal, unsealed
from .store import Store, StoreError
from .store.vault import key_of

BATCH = 200
"""Rows that one transaction seals anew."""
_SEALED = {"reseal": "id, body FROM payloads", "reseal_rendered": "id, event, body FROM rendered"}


async def check_keys(store: Store) -> None:
    """Refuse to work without a key that stored texts may need, and note the one that is used from now on. Raises
    `StoreError`."""
    vault = store.vault
    rows = await store.read("SELECT value FROM installation WHERE name = ?", ["keys"])
    known: list[str] = json.loads(rows[0]["value"]) if rows else []
    lacking = [name for name in known if name not in vault.ids]
    if lacking:
        raise StoreError(
            f"encryption.keys lacks {', '.join(map(repr, lacking))}, with which stored events are encrypted: "
            "put it back, after the first one; once `petitbleu encrypt` has run it may go"
        )
    if vault.first and vault.first not in known:
        async with store.transaction() as transaction:
            (row,) = await store.rows("lock_keys_of_vault", on=transaction)
            known = json.loads(row["value"])
            await store.rows("note_keys", json.dumps([*dict.fromkeys([*known, vault.first])]), on=transaction)


async def counted(store: Store) -> Counter[str]:
    """Stored texts by the key they are sealed with; `""` is none."""
    found: Counter[str] = Counter()
    async for _, row in _walk(store):
        found[key_of(row["body"])] += 1
    return found


async def encrypt(
    store: Store,
    share: float = 0.5,
    told: Callable[[int], None] = lambda rows: None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    damaged: Callable[[StoreError], None] = lambda error: None,
) -> int:
    """Seal everything with the first key, in small parts that take `share` of the time; how many rows were changed.
    What cannot be opened stays as it is, and `damaged` hears of it.

    May be stopped and begun again at any time. What servers that use another first key store meanwhile is seen by a
    second look; until none is left, older keys stay remembered.
    """
    changed, clock = 0, asyncio.get_running_loop().time
    old: list[tuple[str, dict[str, Any]]] = []

    async def write() -> None:
        nonlocal changed, old
        began = clock()
        async with store.transaction() as transaction:
            for query, row in old:
                try:
                    anew = _anew(store, row)
                except StoreError as error:
                    damaged(error)
                    continue
                changed += await store.change(query, anew, row["id"], row["body"], on=transaction)
        told(len(old))
        old = []
        await sleep((clock() - began) * (1 / share - 1))

    async for query, row in _walk(store):
        if not store.vault.is_current(row["body"]):
            old.append((query, row))
        if len(old) >= BATCH:
            await write()
    await write()
    if set(await counted(store)) <= {store.vault.first}:
        async with store.transaction() as transaction:
            await store.rows("note_keys", json.dumps([store.vault.first] if store.vault.first else []), on=transaction)
    return changed


async def _walk(store: Store) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Everything sealed, each with the statement that stores it anew. What tells of an event has its id as `event`."""
    for query, columns in _SEALED.items():
        after = -(1 << 63)
        while True:
            rows = await store.read(f"SELECT {columns} WHERE id > ? ORDER BY id LIMIT ?", [after, BATCH])
            for row in rows:
                yield query, row
            if len(rows) < BATCH:
                break
            after = rows[-1]["id"]


def _anew(store: Store, row: dict[str, Any]) -> str | bytes:
    vault = store.vault
    if "event" in row:
        return seal(vault, row["event"], unsealed(vault, row["event"], row["body"]))
    return vault.seal(row["id"], vault.open(row["id"], row["body"]))


__all__ = ["check_keys", "counted", "encrypt"]
