"""Pieces of listings: how large they may be, and how a cursor says where the next one begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..data import is_storable
from ..errors import QueryRefused
from ..operating import Page

T = TypeVar("T")

Place = tuple[int, int]
"""Where a row stands in its listing: a time in microseconds and an id."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """`rows` is how many rows a piece of a listing may have; `limit_reached` is told when somebody wanted more."""

    rows: int
    limit_reached: Callable[[str], None]

    def checked(self, limit: int) -> int:
        """Raises `QueryRefused`."""
        if not 0 < limit <= self.rows:
            if limit > self.rows:
                self.limit_reached("limits.rows")
            raise QueryRefused(f"the number of rows must be between 1 and {self.rows}")
        return limit


def clean(*texts: str | None) -> None:
    """Raises `QueryRefused` for what no row can hold, and PostgreSQL would not even compare with."""
    if not all(is_storable(text) for text in texts if text):
        raise QueryRefused("a NUL character, or half of a character, stands in no row")


def page(found: Sequence[tuple[Place, T]], limit: int) -> Page[T]:
    """Of a row more than `limit`, which tells that there is a next piece."""
    rows = [row for _, row in found[:limit]]
    return Page(rows, cursor(found[limit - 1][0]) if len(found) > limit else "")


def cursor(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


def place(cursor: str) -> Place | None:
    """None for the beginning. Raises `QueryRefused` for what is no cursor of ours."""
    if not cursor:
        return None
    first, dash, second = cursor.partition("-")
    digits = first + second
    if not (dash and first and second and digits.isascii() and digits.isdecimal() and len(cursor) < 40):
        raise QueryRefused("the cursor is none that a listing gave")
    found = int(first), int(second)
    if max(found) >= 1 << 63:
        raise QueryRefused("the cursor is none that a listing gave")
    return found
