"""`petitbleu events cancel`, `retry`, `resend`, `hold` and `release`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable

from ..commands import Command
from ..instance import Instance, open_instance
from ..lifecycle import PENDING, PROCESSING
from ..operating import Done
from ..operations import Operations
from ..types import Comparison, Condition, EventQuery, Junction
from .events import CHUNK, FILTERS, filter_arguments, filter_terms
from .local import LOCAL, actor, by_argument
from .output import Progress, as_json

OPEN = Comparison("status", "in", (PENDING, PROCESSING))
AT_ONCE = 100
"""Events that one transaction changes, and whose data is in memory."""


def _command(
    name: str,
    text: str,
    operation: Callable[..., Awaitable[list[Done]]],
    arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Command:
    async def run(args: argparse.Namespace) -> int:
        return await _run(name, operation, args)

    return Command(name, text, run, arguments or _arguments)


async def _run(name: str, operation: Callable[..., Awaitable[list[Done]]], args: argparse.Namespace) -> int:
    ids: list[int] = list(dict.fromkeys(args.ids))
    terms = filter_terms(args)
    if getattr(args, "all_open", False):
        terms.append(OPEN)
    wrong = _wrong(ids, terms, args)
    if wrong:
        print(wrong, file=sys.stderr)
        return 2
    done: list[Done] = []
    async with open_instance(args.config, args.set, plugins_running=not args.dry_run) as instance:
        if terms:
            ids = await _matching(instance, terms)
        progress = Progress(name, len(ids))
        try:
            for start in range(0, len(ids), AT_ONCE):
                chunk = ids[start : start + AT_ONCE]
                done += await operation(
                    instance.operations, chunk, actor(args), reason=args.reason, rehearsal=args.dry_run
                )
                progress.step(len(chunk))
        finally:
            # whatever stops it, what is done is told
            _tell(name, done, args)
    return 1 if any(not one.ok for one in done) else 0


def _wrong(ids: list[int], terms: list[Condition], args: argparse.Namespace) -> str:
    options = ", ".join(f"--{one.replace('_', '-')}" for one in FILTERS)
    options += ", --all-open" * ("all_open" in args)
    if ids and terms:
        return "name ids or give a filter, not both"
    if not ids and not terms:
        return f"which events? Name their ids, or give a filter: {options}"
    if terms and not (args.yes or args.dry_run):
        return "a filter may reach many events: look with --dry-run, then repeat it with --yes"
    return ""


async def _matching(instance: Instance, terms: list[Condition]) -> list[int]:
    """All ids first: what is done to the events changes what the filter matches."""
    ids: list[int] = []
    after: list[Condition] = []
    while True:
        where = Junction("and", (*terms, *after))
        found = await instance.status.find(EventQuery(where, order_by=(("id", False),), limit=CHUNK), LOCAL)
        ids += [one.id for one in found]
        if len(found) < CHUNK:
            return ids
        after = [Comparison("id", ">", (str(ids[-1]),))]


def _tell(name: str, done: list[Done], args: argparse.Namespace) -> None:
    if args.json:
        as_json(done)
        return
    for one in done:
        new = f", {one.new_id}" if one.new_id is not None else ""
        line = f"event {one.id}: {one.text}{new}"
        print(line if one.ok else f"event {one.id}: refused: {one.text}", file=sys.stdout if one.ok else sys.stderr)
    good = sum(one.ok for one in done)
    summary = f"{name}: {good} of {len(done)}"
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


COMMANDS = (
    _command("cancel", "end events that wait, unsent", Operations.cancel),
    _command("retry", "try events again now that wait, or that ended unsent", Operations.retry),
    _command("resend", "send copies of events, as new events", Operations.resend),
    _command("hold", "keep events that wait from being sent", Operations.hold, _hold_arguments),
    _command("release", "let events go that are held", Operations.release),
)
