"""Which keys the stored texts are sealed with, and bringing all of them under the first key of the configuration.

The installation remembers every key that was ever the first and may still be in use, so that a server which lacks one
does not start, rather than fail at some event.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .store import Store, StoreError

BATCH = 200
"""Rows that one transaction seals anew."""


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
    async for row in _walk(store):
        found[_key_of(row["body"])] += 1
    return found


async def encrypt(
    store: Store,
    share: float = 0.5,
    told: Callable[[int], None] = lambda rows: None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> int:
    """Seal everything with the first key, in small parts that take `share` of the time; how many rows were changed.

    May be stopped and begun again at any time. What servers that use another first key store meanwhile is seen by a
    second look; until none is left, older keys stay remembered.
    """
    changed, clock = 0, asyncio.get_running_loop().time
    old: list[Mapping[str, Any]] = []

    async def write() -> None:
        nonlocal changed, old
        began = clock()
        async with store.transaction() as transaction:
            for row in old:
                new = store.vault.seal(row["id"], store.vault.open(row["id"], row["body"]))
                changed += await store.change("reseal", new, row["id"], row["body"], on=transaction)
        told(len(old))
        old = []
        await sleep((clock() - began) * (1 / share - 1))

    async for row in _walk(store):
        if not store.vault.is_current(row["body"]):
            old.append(row)
        if len(old) >= BATCH:
            await write()
    await write()
    if set(await counted(store)) <= {store.vault.first}:
        async with store.transaction() as transaction:
            await store.rows("note_keys", json.dumps([store.vault.first] if store.vault.first else []), on=transaction)
    return changed


async def _walk(store: Store) -> Any:
    after = -(1 << 63)
    while True:
        rows = await store.read("SELECT id, body FROM payloads WHERE id > ? ORDER BY id LIMIT ?", [after, BATCH])
        for row in rows:
            yield row
        if len(rows) < BATCH:
            return
        after = rows[-1]["id"]


def _key_of(text: str) -> str:
    return text.split(":", 3)[2] if text.startswith("enc:1:") else ""


__all__ = ["check_keys", "counted", "encrypt"]
