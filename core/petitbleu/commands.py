"""What a subcommand of `petitbleu` is, for the core's own and for plugins'."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .data import is_storable

LONGEST_NAME = 128
"""Characters of who does something, as the records have it."""


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """For a command that takes none of its own."""


def by_argument(parser: argparse.ArgumentParser) -> None:
    """`--by`: who does it, for a command that changes something."""
    parser.add_argument("--by", type=_name, default=_login(), help="who does it, for the record (default: your login)")


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container may run as any number, and has no names for most
        return f"uid {os.getuid()}"


def _name(text: str) -> str:
    if not text or len(text) > LONGEST_NAME or not is_storable(text):
        raise argparse.ArgumentTypeError(f"should be a name of up to {LONGEST_NAME} characters")
    return text


@dataclass(frozen=True, slots=True)
class Command:
    """`petitbleu NAME`, or `petitbleu GROUP NAME`: `arguments` fills the parser (`--config` and `--set` are there
    already), `run` does the work and returns the exit code: 0 done, 1 refused or failed. Write results to stdout, all
    else to stderr."""

    name: str
    help: str
    run: Callable[[argparse.Namespace], Awaitable[int]]
    arguments: Callable[[argparse.ArgumentParser], None] = no_arguments
    group: str = ""
    """Commands of one group stand together; the core's own groups take no others."""
