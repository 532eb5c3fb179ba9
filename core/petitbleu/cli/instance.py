"""`petitbleu init | serve | check | migrate` and `petitbleu operators …`."""

from __future__ import annotations

import argparse
import getpass
import shutil
import sys
from pathlib import Path
from typing import get_args

from ..auth import hash_password
from ..commands import Command
from ..config import FILE, SAMPLE, findings, json_schema, shown
from ..errors import PetitbleuError
from ..instance import plan
from ..logs import set_up
from ..serving.app import check_routes
from ..serving.chores import Role
from ..serving.serving import serve, serve_as_told
from ..serving.supervisor import supervise
from ..store import migrate, open_store
from .output import as_json, table

# ------------------------------------------------------------------------------------------------------------- init


async def _init(args: argparse.Namespace) -> int:
    target: Path = args.directory
    try:
        shutil.copytree(SAMPLE, target, ignore=shutil.ignore_patterns("var", "__pycache__"))
    except FileExistsError:
        raise PetitbleuError(f"{target} exists; name a new directory") from None
    except OSError as error:
        raise PetitbleuError(f"{target} cannot be made: {error.strerror or error}") from None
    print(f"{target}: a new instance. Next:")
    print(f"  edit {target / 'petitbleu.yaml'}")
    for command in ("check", "templates publish --all", "serve"):
        print(f"  petitbleu {command} --config {target}")
    return 0


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="a directory that is not there yet")


# ------------------------------------------------------------------------------------------------------------ serve


async def _serve(args: argparse.Namespace) -> int:
    set_up(sys.stderr)
    if args.processes > 1:
        return await supervise(args.config, args.set, args.role, args.processes)
    if args.inherit:
        await serve_as_told(args.role, args.inherit)
    else:
        await serve(args.config, args.set, args.role)
    return 0


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--role",
        choices=get_args(Role),
        default="all",
        help="intake takes events and delivers none; worker delivers and answers health pages only (default: all)",
    )
    parser.add_argument(
        "--processes", type=_processes, default=1, metavar="N", help="so many processes behind one port (default: 1)"
    )
    parser.add_argument("--inherit", type=int, action="append", default=[], help=argparse.SUPPRESS)


def _processes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number from 1 on")
    return int(text)


# ------------------------------------------------------------------------------------------------------------ check


async def _check(args: argparse.Namespace) -> int:
    planned = plan(args.config, args.set)
    if args.json_schema:
        as_json(json_schema(planned.calls.settings_types()))
        return 0
    if args.settings:
        settings = shown(planned.raw, planned.config)
        if args.json:
            as_json(settings)
        else:
            table(("SETTING", "VALUE", "FROM"), [(one.path, one.value, one.place or "-") for one in settings])
        return 0
    await check_routes(planned)
    found = findings(planned.config)
    for finding in [*found, *planned.loaded.deprecations]:
        print(f"warning: {finding}", file=sys.stderr)
    plugins = ", ".join(plugin.name for plugin in planned.loaded.plugins)
    channels = ", ".join(planned.channels) or "none"
    print(f"{planned.config.directory / FILE}: in order; plugins {plugins}; channels {channels}")
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json-schema", action="store_true", help="print the JSON Schema for editors instead")
    parser.add_argument("--settings", action="store_true", help="print every setting as it holds, and where it is from")
    parser.add_argument("--json", action="store_true", help="print the settings as JSON")


# ---------------------------------------------------------------------------------------------------------- migrate


async def _migrate(args: argparse.Namespace) -> int:
    planned = plan(args.config, args.set)
    async with open_store(planned.config.database_url(), patient=True) as store:
        applied = await migrate(store)
    print(f"applied {', '.join(applied)}" if applied else "the tables are up to date")
    return 0


# -------------------------------------------------------------------------------------------------------- operators


async def _operators(args: argparse.Namespace) -> int:
    operators = plan(args.config, args.set).config.operators
    if args.json:
        as_json(
            {
                login: operator.model_dump(exclude={"password"}) | {"password": operator.password is not None}
                for login, operator in operators.items()
            }
        )
        return 0
    table(
        ("LOGIN", "RIGHTS", "TYPES", "LOGIN/PASSWORD FROM", "TRUSTED FROM"),
        [
            (
                login,
                ", ".join(sorted(operator.rights)),
                "all" if operator.event_types is None else ", ".join(sorted(operator.event_types)),
                ", ".join(map(str, operator.password_token_from)) or "-",
                ", ".join(map(str, operator.trusted_from)) or "-",
            )
            for login, operator in operators.items()
        ],
    )
    return 0


async def _hash_password(args: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Again: "):
            raise PetitbleuError("the two are not the same")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise PetitbleuError("the password is empty")
    print(hash_password(password))
    return 0


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (
    Command("init", "make a new instance from the sample", _init, _init_arguments),
    Command("serve", "run the server: HTTP and worker", _serve, _serve_arguments),
    Command("check", "prove a configuration without starting", _check, _check_arguments),
    Command("migrate", "bring the database's tables up to date", _migrate),
)
OPERATOR_COMMANDS = (
    Command("list", "who may do what", _operators, _json),
    Command("hash-password", "the hash of a password, for the configuration", _hash_password),
)
