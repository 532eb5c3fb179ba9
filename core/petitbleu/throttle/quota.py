"""What one process may take of a limit that all processes of an installation share: pure arithmetic.

A rate is handed out as tokens, a few at a time, by the generic cell rate algorithm (ITU-T I.371): one number says
when the next token falls due. Places are lent: what a process holds it has until it gives it back or dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GRANT = 100_000
"""Microseconds' worth of a rate that one grant holds at most: how often a busy process must ask."""
KEPT = 200_000
"""Microseconds after which tokens that were not used are void, so that a lull is not made up for."""


def grant(next_due: int, now: int, rate: float) -> tuple[int, int]:
    """How many tokens there are for one who asks, and when the next one after them is due. Times in microseconds.

    In any time t nobody gets more than rate · (t + `GRANT`) + 1 tokens all together.
    """
    interval = 1e6 / rate
    start = max(next_due, now - GRANT)
    if start > now:
        return 0, next_due
    tokens = int((now - start) / interval) + 1
    return tokens, start + max(1, round(tokens * interval))


@dataclass(frozen=True, slots=True)
class Holding:
    """What one process has of the places, and what it has use for."""

    held: int
    wanted: int


def share(limit: int, wanted: int, used: int, others: Sequence[Holding]) -> int:
    """How many places are ours from now on, of which `used` are taken and cannot be given back yet.

    Nobody is given what another holds. Who holds more than a fair part gives up what others lack of theirs.
    """
    free = limit - sum(one.held for one in others)
    fair = limit // (1 + sum(one.wanted > 0 for one in others))
    lacking = sum(max(0, min(one.wanted, fair) - one.held) for one in others)
    return max(used, min(wanted, max(min(fair, free), free - lacking)), 0)
