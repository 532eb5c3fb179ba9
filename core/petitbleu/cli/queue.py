"""`petitbleu queue`."""

from __future__ import annotations

import argparse

from ..commands import Command
from ..instance import open_instance
from .local import LOCAL
from .output import as_json, table


async def _queue(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        found = await instance.services.desk.queue(LOCAL)
    if args.json:
        as_json(found)
    else:
        table(
            ("QUEUE", "CHANNEL", "EVENTS", "READY", "LATER", "SENDING", "PAUSED", "OLDEST DUE FOR"),
            [
                (
                    one.queue,
                    one.channel or "-",
                    one.events,
                    one.ready,
                    one.later,
                    one.sending,
                    one.paused,
                    f"{one.oldest:.0f} s" if one.ready else "-",
                )
                for one in found
            ],
        )
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("queue", "how many events are open, by queue and channel", _queue, _arguments),)
