"""`petitbleu reload`."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

from ..commands import Command, by_argument
from ..errors import PetitbleuError
from ..instance import Instance, open_instance
from ..operating import Reloaded
from ..reload import LOOK
from ..serving.generations import Gone, orphans
from .local import LOCAL, actor
from .output import as_json, table

HEARING = 5 * LOOK
"""Seconds after which every server that runs has heard of it."""


async def _reload(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        if args.dry_run:
            await _rehearse(instance)
            return 0
        desk = instance.services.desk.installation
        request = await desk.reload(actor(args))
        began = time.monotonic()
        found: Sequence[Reloaded] = ()
        while time.monotonic() - began < (args.wait if any(one.done is None for one in found) else HEARING):
            await asyncio.sleep(0.2)
            found = await desk.reloads(request, LOCAL)
    if not found:
        raise PetitbleuError(f"no server heard of it within {HEARING:g} s; does one run on this database?")
    late = f"no answer within {args.wait:g} s; see its log"
    if args.json:
        as_json([{"server": one.server, "reloaded": one.done, "reason": one.reason} for one in found])
    else:
        says = {True: "yes", False: "no", None: "?"}
        table(
            ("SERVER", "RELOADED", "WHY NOT"),
            [(one.server, says[one.done], late if one.done is None else one.reason) for one in found],
        )
    return 0 if all(one.done for one in found) else 1


async def _rehearse(instance: Instance) -> None:
    found = await instance.store.rows("open_kinds")
    types = frozenset(row["type"] for row in found) - frozenset(instance.config.event_types)
    channels = frozenset(row["channel"] for row in found) - frozenset(instance.channels)
    if reasons := await orphans(instance.store, Gone(types, channels)):
        raise PetitbleuError("\n".join(reasons))
    print("the configuration can be read, and no open event would be orphaned; nothing is changed (--dry-run)")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="look whether it could be done, change nothing")
    parser.add_argument(
        "--wait", type=float, default=120.0, metavar="SECONDS", help="for the answers of servers (default: 120)"
    )
    by_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("reload", "let running servers take over the configuration as it is now", _reload, _arguments),)
