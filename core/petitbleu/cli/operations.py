"""`petitbleu events cancel`, `retry`, `resend`, `reroute`, `hold` and `release`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from ..commands import Command, by_argument
from ..instance import Instance, open_instance
from ..operating import Done, EventAction, EventFilter
from .events import FILTERS, event_filter, filter_arguments
from .local import LOCAL, actor
from .output import Progress, as_json


def _command(
    action: EventAction, text: str, arguments: Callable[[argparse.ArgumentParser], None] | None = None
) -> Command:
    async def run(args: argparse.Namespace) -> int:
        return await _run(action, args)

    return Command(action, text, run, arguments or _arguments)


async def _run(action: EventAction, args: argparse.Namespace) -> int:
    ids: list[int] = list(dict.fromkeys(args.ids))
    wrong = _wrong(ids, args)
    if wrong:
        print(wrong, file=sys.stderr)
        return 2
    wanted = replace(event_filter(args), status="open") if _all_open(args) else event_filter(args)
    done: list[Done] = []
    async with open_instance(args.config, args.set, plugins_running=not args.dry_run) as instance:
        progress = Progress(action, len(ids))
        if not ids and sys.stderr.isatty():
            progress = Progress(action, await instance.services.desk.events.count(wanted, LOCAL))
        try:
            async for some in _changed(instance, action, ids or wanted, args):
                done += some
                progress.step(len(some))
        finally:
            # whatever stops it, what is done is told
            _tell(action, done, args)
    return 1 if any(not one.ok for one in done) else 0


async def _changed(
    instance: Instance, action: EventAction, which: Sequence[int] | EventFilter, args: argparse.Namespace
) -> AsyncIterator[Sequence[Done]]:
    """Piece by piece, each in a transaction of its own."""
    desk, most, who = instance.services.desk.events, instance.config.limits.changes, actor(args)
    to = getattr(args, "to", "")
    if not isinstance(which, EventFilter):
        for start in range(0, len(which), most):
            some = which[start : start + most]
            yield (await desk.change(action, some, who, to=to, reason=args.reason, rehearsal=args.dry_run)).items
        return
    cursor = ""
    while True:
        page = await desk.change(
            action, which, who, to=to, reason=args.reason, rehearsal=args.dry_run, limit=most, cursor=cursor
        )
        yield page.items
        cursor = page.cursor
        if not cursor:
            return


def _all_open(args: argparse.Namespace) -> bool:
    return bool(getattr(args, "all_open", False))


def _wrong(ids: list[int], args: argparse.Namespace) -> str:
    options = ", ".join(f"--{one.replace('_', '-')}" for one in FILTERS)
    options += ", --all-open" * ("all_open" in args)
    filtered = event_filter(args) != EventFilter() or _all_open(args)
    if ids and filtered:
        return "name ids or give a filter, not both"
    if not ids and not filtered:
        return f"which events? Name their ids, or give a filter: {options}"
    if _all_open(args) and args.status:
        return "--all-open says which status is meant; leave --status out"
    if filtered and not (args.yes or args.dry_run):
        return "a filter may reach many events: look with --dry-run, then repeat it with --yes"
    return ""


def _tell(action: str, done: list[Done], args: argparse.Namespace) -> None:
    if args.json:
        as_json(done)
        return
    for one in done:
        new = f", {one.new_id}" if one.new_id is not None else ""
        line = f"event {one.id}: {one.text}{new}"
        print(line if one.ok else f"event {one.id}: refused: {one.text}", file=sys.stdout if one.ok else sys.stderr)
    good = sum(one.ok for one in done)
    summary = f"{action}: {good} of {len(done)}"
    print(f"{summary}; nothing is changed (--dry-run)" if args.dry_run else summary)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="as it was returned, or without its high byte")
    filter_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, change nothing")
    parser.add_argument("--yes", action="store_true", help="do it to all events that the filter matches")
    parser.add_argument("--reason", default="", help="why, for the record")
    by_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _hold_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments(parser)
    parser.add_argument("--all-open", action="store_true", help="everything that is not sent, e.g. after a restore")


def _reroute_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments(parser)
    parser.add_argument("--to", required=True, metavar="CHANNEL", help="the channel they go on by")


COMMANDS = (
    _command("cancel", "end events that wait, unsent"),
    _command("retry", "try events again now that wait, or that ended unsent"),
    _command("resend", "send copies of events, as new events"),
    _command("reroute", "let events go on by another channel", _reroute_arguments),
    _command("hold", "keep events that wait from being sent", _hold_arguments),
    _command("release", "let events go that are held"),
)
