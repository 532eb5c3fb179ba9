"""`petitbleu operators session list | end`."""

from __future__ import annotations

import argparse
import sys

from ..commands import Command, by_argument
from ..instance import open_instance
from .local import LOCAL, actor
from .output import as_json, limit_argument, table


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        limit = min(args.limit, instance.config.limits.rows)
        found = await instance.services.desk.installation.sessions(LOCAL, limit, args.login or "")
    if args.json:
        as_json(found)
    else:
        table(
            ("ID", "LOGIN", "FROM", "SINCE", "UNTIL"),
            [(one.id, one.login, one.address or "-", one.created, one.expires) for one in found],
        )
    return 0


async def _end(args: argparse.Namespace) -> int:
    if bool(args.ids) == bool(args.login):
        print("which sessions? Name their ids, or all of somebody's with --login", file=sys.stderr)
        return 2
    async with open_instance(args.config, args.set) as instance:
        desk = instance.services.desk.installation
        for session in args.ids:
            ended = await desk.end_session(session, actor(args))
            print(f"session {ended.id} of {ended.login}: ended")
        if args.login:
            number = await desk.end_sessions(args.login, actor(args))
            print(f"{args.login}: {number} sessions ended")
    return 0


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--login", help="only those of this operator")
    limit_argument(parser, 100)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _end_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="as they are listed")
    parser.add_argument("--login", help="all of this operator")
    by_argument(parser)


COMMANDS = (
    Command("list", "the sessions that are open", _list, _list_arguments),
    Command("end", "end sessions: who is in must sign in anew", _end, _end_arguments),
)
