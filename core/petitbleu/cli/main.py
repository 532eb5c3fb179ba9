"""Arguments to commands, and errors to exit codes: 0 done, 1 refused or failed, 2 wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from ..commands import Command
from ..errors import PetitbleuError
from . import (
    alerts,
    archive,
    demo,
    doctor,
    encrypt,
    events,
    forget,
    instance,
    new_plugin,
    operations,
    plugins,
    purge,
    queue,
    reload,
    report,
    sessions,
    suppressions,
    templates,
    tokens,
)
from .output import any_letter

GROUPS = {
    "templates": ("draft, preview, publish, roll back", templates.COMMANDS),
    "events": ("what became of events, and what to do about them", (*events.COMMANDS, *operations.COMMANDS)),
    "archive": ("events that were deleted from the database", archive.COMMANDS),
    "report": ("how many events there were, how fast, and what failed", report.COMMANDS),
    "suppressions": ("addresses that are not written to", suppressions.COMMANDS),
    "operators": ("logins", instance.OPERATOR_COMMANDS),
    "operators token": ("tokens of programs", tokens.COMMANDS),
    "operators session": ("who is signed in", sessions.COMMANDS),
}
"""By the words that lead to them; a group within another comes after it."""
COMMANDS = (
    *demo.COMMANDS,
    *instance.COMMANDS,
    *plugins.COMMANDS,
    *new_plugin.COMMANDS,
    *events.TOP_COMMANDS,
    *purge.COMMANDS,
    *reload.COMMANDS,
    *doctor.COMMANDS,
    *alerts.COMMANDS,
    *queue.COMMANDS,
    *forget.COMMANDS,
    *encrypt.COMMANDS,
    *suppressions.TOP_COMMANDS,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    any_letter()
    try:
        parser = build_parser(_plugin_commands(given))
        args = parser.parse_args(given)
        if "run" not in args:
            (args.group if "group" in args else parser).print_help(sys.stderr)
            return 2
        # a server runs on uvloop; whoever starts others needs what uvloop's processes cannot do
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if serves(args) else None) as runner:
            code: int = runner.run(args.run(args))
        return code
    except PetitbleuError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def serves(args: argparse.Namespace) -> bool:
    return getattr(args, "processes", None) == 1


def build_parser(more: Sequence[Command] = ()) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="DIR", help="the configuration's folder (default: ./config, else the sample)"
    )
    common.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override one setting, e.g. http.port=8090; may be repeated",
    )
    parser = argparse.ArgumentParser(prog="petitbleu", description="Petitbleu, a transactional messaging server.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in (*COMMANDS, *(one for one in more if not one.group)):
        _add(commands, command, common)
    grouped: dict[str, tuple[str, Sequence[Command]]] = dict(GROUPS)
    for command in more:
        if command.group:
            text, inner = grouped.get(command.group, (command.group, ()))
            grouped[command.group] = text, (*inner, command)
    groups = {"": commands}
    for name, (text, inner) in grouped.items():
        above, _, word = name.rpartition(" ")
        group = groups[above].add_parser(word, help=text, description=text)
        group.set_defaults(group=group)
        groups[name] = group.add_subparsers(metavar="COMMAND")
        for command in inner:
            _add(groups[name], command, common)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], command: Command, common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(command.name, help=command.help, description=command.help, parents=[common])
    command.arguments(parser)
    parser.set_defaults(run=command.run)


def _version() -> str:
    from .. import __version__

    return f"petitbleu {__version__}"


def _plugin_commands(given: Sequence[str]) -> list[Command]:
    """Plugins' commands, looked up only when the word is none of the core's: loading takes time and may fail."""
    word = next((word for word in given if not word.startswith("-")), "")
    if not word or word in GROUPS or word in {command.name for command in COMMANDS}:
        return []
    finder = argparse.ArgumentParser(add_help=False)
    finder.add_argument("--config", type=Path)
    finder.add_argument("--set", action="append", default=[])
    known, _ = finder.parse_known_args(list(given))
    from ..instance import open_services, plan

    return plan(known.config, known.set).calls.commands(open_services)
