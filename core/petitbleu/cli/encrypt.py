"""`petitbleu encrypt`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter

from ..commands import Command
from ..encryption import counted, encrypt
from ..errors import PetitbleuError
from ..instance import open_instance
from ..store import StoreError
from ..store.vault import new_key
from .output import Progress, as_json, table

MOST_DAMAGED = 20
"""Texts that cannot be opened and are told one by one."""


async def _encrypt(args: argparse.Namespace) -> int:
    if args.new_key:
        print(new_key())
        return 0
    async with open_instance(args.config, args.set) as instance:
        store = instance.store
        folder = instance.archive.folder if instance.archive is not None else None
        before = await counted(store)
        damaged: list[StoreError] = []
        if not store.vault.first and not args.dry_run:
            raise PetitbleuError("encryption.keys has no key; petitbleu encrypt --new-key makes one")
        if not args.dry_run:
            progress = Progress("encrypted", sum(before.values()) - before[store.vault.first])
            await encrypt(store, 1.0 if args.at_once else 0.5, progress.step, damaged=damaged.append)
            if folder is not None:
                for file in await asyncio.to_thread(folder.files):
                    await asyncio.to_thread(folder.seal_anew, file)
        after = before if args.dry_run else await counted(store)
        archived = Counter[str]() if folder is None else await asyncio.to_thread(folder.keys)
    names = sorted({*before, *after, *archived, *store.vault.ids})
    columns = {"before": before, "after": after} | ({} if folder is None else {"archived": archived})
    if args.json:
        as_json([{"key": name or None, **{word: of[name] for word, of in columns.items()}} for name in names])
    else:
        rows = [(name or "none", *(of[name] for of in columns.values())) for name in names]
        table(("KEY", "TEXTS BEFORE", "AFTER", "ARCHIVED EVENTS")[: len(columns) + 1], rows)
    for error in damaged[:MOST_DAMAGED]:
        print(f"left as it is: {error}", file=sys.stderr)
    if len(damaged) > MOST_DAMAGED:
        print(f"and {len(damaged) - MOST_DAMAGED} more", file=sys.stderr)
    return 1 if damaged else 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--new-key", action="store_true", help="print a new key, and do nothing else")
    parser.add_argument("--dry-run", action="store_true", help="count by key, change nothing")
    parser.add_argument("--at-once", action="store_true", help="without the pauses that leave time to a running server")
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("encrypt", "encrypt with the first key what is stored with others, or none", _encrypt, _arguments),)
