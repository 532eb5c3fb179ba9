"""How commands print: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum
from io import TextIOWrapper
from typing import Any, TextIO, TypeVar

from ..operating import Page

T = TypeVar("T")


def plain(value: Any) -> Any:
    """`value` as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def any_letter() -> None:
    """Let every letter be printed: files and programs get UTF-8, as JSON and lists that are read again want it. A
    terminal has its own encoding, and gets what that lacks as numbers."""
    out = sys.stdout
    if isinstance(out, TextIOWrapper) and out.encoding.lower() not in ("utf-8", "utf8"):
        out.reconfigure(encoding=None if out.isatty() else "utf-8", errors="backslashreplace")


def as_json(value: Any, out: TextIO | None = None) -> None:
    print(json.dumps(plain(value), indent=2, ensure_ascii=False), file=out or sys.stdout)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO | None = None) -> None:
    """Columns as wide as they need, the last one free."""
    lines = [list(heads), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(text.rstrip(), file=out or sys.stdout)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return "" if value is None else " ".join(str(value).split())


async def listed(ask: Callable[[int, str], Awaitable[Page[T]]], most: int, limit: int) -> list[T]:
    """The first `limit` rows of a listing that gives `most` at once."""
    found: list[T] = []
    cursor = ""
    while len(found) < limit:
        page = await ask(min(most, limit - len(found)), cursor)
        found += page.items
        cursor = page.cursor
        if not cursor:
            break
    return found


def limit_argument(parser: argparse.ArgumentParser, lines: int) -> None:
    parser.add_argument("--limit", type=_some, default=lines, help=f"lines at most (default: {lines})")


def _some(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} should be a number of lines, 1 or more")
    return int(text)


def images_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", action="store_true", help="with its images within the HTML, for a browser")


class Progress:
    """`done/total` on one line of a terminal, nothing elsewhere."""

    def __init__(self, what: str, total: int, out: TextIO | None = None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._out = out or sys.stderr
        self._live = self._out.isatty()

    def step(self, count: int = 1) -> None:
        self._done += count
        if self._live:
            end = "\n" if self._done >= self._total else ""
            print(f"\r{self._what} {self._done}/{self._total}", end=end, file=self._out, flush=True)
