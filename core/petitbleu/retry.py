"""When to try again: pure functions."""

from __future__ import annotations

from collections.abc import Callable

from .types import Retry


def delay(attempt: int, retry: Retry, asked: float | None, random: Callable[[], float]) -> float:
    """Seconds before the try that follows attempt number `attempt` (from 1).

    The ceiling doubles from `first` to `cap`; full jitter picks a point between half of it and all of it, so that
    events that failed together do not come back together. What the provider asked for is the least.
    """
    ceiling = min(retry.cap, retry.first * 2.0 ** min(attempt - 1, 32))
    return max(ceiling / 2 + random() * ceiling / 2, asked or 0.0)
