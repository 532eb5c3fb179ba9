"""When something is over that an operator makes for a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..errors import InputRefused


def ending(expires: datetime | timedelta | None, now: datetime) -> datetime | None:
    """In UTC. Raises `InputRefused` for what no calendar has: it could be stored, and not be read again."""
    try:
        if isinstance(expires, timedelta):
            return now + expires
        return None if expires is None else expires.astimezone(UTC)
    except OverflowError:
        raise InputRefused([("expires", "lies beyond the year 9999")], "it would end beyond the year 9999") from None


__all__ = ["ending"]
