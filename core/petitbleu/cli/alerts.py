"""`petitbleu alerts`."""

from __future__ import annotations

import argparse

from ..commands import Command
from ..instance import open_instance
from .local import LOCAL
from .output import as_json, table

_UNITS = {"events": "", "percent": " %", "seconds": " s"}


async def _alerts(args: argparse.Namespace) -> int:
    if args.test:
        return await _test(args)
    async with open_instance(args.config, args.set) as instance:
        found = await instance.services.desk.alerts(LOCAL)
    if args.json:
        as_json(found)
        return 0
    rows = []
    for one in found:
        given = (
            f"{threshold:g}{_UNITS[one.unit]}" if threshold is not None else "-"
            for threshold in (one.warning, one.alert)
        )
        rows.append(
            (one.name, one.level.upper() if one.level != "ok" else "ok", one.since, *given, one.measured, one.text)
        )
    table(("NAME", "LEVEL", "SINCE", "WARNING", "ALERT", "MEASURED", "VALUE"), rows)
    return 0


async def _test(args: argparse.Namespace) -> int:
    """Exit code 1 unless all were sent."""
    async with open_instance(args.config, args.set, plugins_running=True) as instance:
        sent = await instance.notifier.rehearse()
    if args.json:
        as_json([{"channel": one.channel, "to": one.to, "ok": one.ok, "text": one.text} for one in sent])
    else:
        table(
            ("CHANNEL", "TO", "SENT", "TEXT"),
            [(one.channel, one.to, "yes" if one.ok else "NO", one.text) for one in sent],
        )
    return 0 if sent and all(one.ok for one in sent) else 1


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--test", action="store_true", help="send everybody of alerts.messages a message that is a test"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("alerts", "what is too much, too slow or failing, by the thresholds", _alerts, _arguments),)
