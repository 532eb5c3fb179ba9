"""Near misses in names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Those of the known names that are close, the closest first."""
    return difflib.get_close_matches(name, list(known), n=most, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'port'?`, or nothing when no known name is close."""
    close = near(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else ""
