"""When to try again: pure functions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .types import Retry

LONGEST_WAIT = 86_400.0
"""Seconds that whoever asks to be left alone is left alone at most."""


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, at most a day, by the header `Retry-After` of an HTTP answer: a number of them or a date (RFC
    9110 10.2.3). None where it says nothing that can be read."""
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text)
        return min(max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds()), LONGEST_WAIT)
    except (ValueError, OverflowError):
        return None


def delay(attempt: int, retry: Retry, asked: float | None, random: Callable[[], float]) -> float:
    """Seconds before the try that follows attempt number `attempt` (from 1).

    The ceiling doubles from `first` to `cap`; full jitter picks a point between half of it and all of it, so that
    events that failed together do not come back together. What the provider asked for is the least.
    """
    ceiling = min(retry.cap, retry.first * 2.0 ** min(attempt - 1, 32))
    return max(ceiling / 2 + random() * ceiling / 2, asked or 0.0)
