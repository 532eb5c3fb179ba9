"""`petitbleu purge`."""

from __future__ import annotations

import argparse

from ..commands import Command
from ..instance import open_instance
from .output import as_json, table

_TABLES = (
    "events",
    "payloads",
    "attempts",
    "rendered",
    "sessions",
    "idempotency",
    "suppressions",
    "soft_errors",
    "audit",
    "outbox",
    "statistics",
    "archive",
)


async def _purge(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        purge = instance.purge
        found = await (purge.rehearse() if args.dry_run else purge.now(pauses=not args.at_once))
    rows = {name: found[name] for name in _TABLES}
    if args.json:
        as_json({"removed": rows, "dry_run": args.dry_run})
        return 0
    table(("TABLE", "WOULD GO" if args.dry_run else "REMOVED"), rows.items())
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would go, delete nothing")
    parser.add_argument("--at-once", action="store_true", help="without the pauses that leave time to a running server")
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("purge", "delete now what has been kept long enough", _purge, _arguments),)
