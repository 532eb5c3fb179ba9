"""An event as operators find it, before something is done to it."""

from __future__ import annotations

from dataclasses import dataclass

from .types import Event


@dataclass(frozen=True, slots=True)
class Found:
    """An event as it is stored; `state` and what follows are null without a row in the queue."""

    id: int
    type: str
    status: str
    channel: str
    state: int | None
    due: int | None
    expires: int | None
    handed_off: str
    event: Event | None


Verdict = tuple[bool, str]
"""Whether it can be done, and in which words."""
