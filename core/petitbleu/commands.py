"""What a subcommand of `petitbleu` is, for the core's own and for plugins'."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """For a command that takes none of its own."""


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
