"""Whoever can read the configuration and write the database needs no password: they may do everything."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import get_args

from ..config.settings import Right
from ..operating import Actor
from ..types import Operator

LOCAL = Operator("command line", frozenset(get_args(Right)))


def actor(args: argparse.Namespace) -> Actor:
    """As whom the command acts, for the record."""
    return Actor(replace(LOCAL, login=args.by), "cli")
