"""`petitbleu new-plugin`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..commands import Command
from ..errors import PetitbleuError
from ..hosting.plugins import available_plugins
from ..scaffold import KINDS, new_plugin


async def _new_plugin(args: argparse.Namespace) -> int:
    folder = args.directory.resolve()
    try:
        target = new_plugin(args.name, args.kind, folder, available_plugins())
    except OSError as error:
        raise PetitbleuError(f"{error.filename or folder} cannot be made: {error.strerror or error}") from None
    shown = target if args.directory.is_absolute() else args.directory / target.name
    print(f"{shown}: a plugin package of the kind {args.kind}. Next:")
    for step in (f"cd {shown}", "pip install -e '.[test]'", "pytest"):
        print(f"  {step}")
    print("Then read its README.md, which says what is where, and list the plugin in petitbleu.yaml.")
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="such as text-gate: the package is petitbleu-text-gate")
    kinds = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())
    parser.add_argument("--kind", required=True, choices=list(KINDS), help=kinds)
    parser.add_argument(
        "--directory", type=Path, default=Path(), metavar="DIR", help="where its folder is made (default: here)"
    )


COMMANDS = (Command("new-plugin", "write a plugin's package to begin with", _new_plugin, _arguments),)
