"""The arithmetic of measuring: medians, percentiles, rates in a window. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

STEADY = 0.05
"""How far acknowledged and sent may be apart in a counted window."""


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two moments of one run: seconds, events acknowledged, mails accepted by the sink."""

    seconds: float
    acknowledged: int
    sent: int

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"a window of {self.seconds} s has no rate")

    @property
    def rate(self) -> float:
        """Mails per second."""
        return self.sent / self.seconds

    @property
    def apart(self) -> float:
        """By which part of the larger one the two counts differ."""
        larger = max(self.acknowledged, self.sent)
        return abs(self.acknowledged - self.sent) / larger if larger else 0.0

    @property
    def steady(self) -> bool:
        """What came in went out: neither is the rate of a queue that fills or empties."""
        return self.sent > 0 and self.apart <= STEADY


def median(values: Sequence[float]) -> float:
    if not values:
        raise ValueError("no run, no median")
    return float(statistics.median(values))


def percentile(ordered: Sequence[float], part: float) -> float:
    """The nearest-rank percentile of values in ascending order; `part` is in 0..1."""
    if not ordered:
        raise ValueError("no values, no percentile")
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
