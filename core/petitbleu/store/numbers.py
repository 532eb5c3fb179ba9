"""Ids of events, as people write them and as rows have them."""

from __future__ import annotations

CELL_SHIFT = 56
"""The high byte is the number of the installation."""
KEY_MASK = (1 << CELL_SHIFT) - 1


def whole_id(number: int, cell: int) -> int:
    """The id that is meant by a number which may lack its high byte; what no event can have stays as it is."""
    return cell << CELL_SHIFT | number if 0 <= number <= KEY_MASK else number


def is_id(number: int) -> bool:
    """Whether a row can have it: no database takes another number."""
    return 0 <= number < 1 << 63
