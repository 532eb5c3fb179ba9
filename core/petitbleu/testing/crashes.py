"""Crashes of a worker, as an event sees them."""

from __future__ import annotations

import asyncio

from ..failpoints import PLACES, Crash, Failpoints

CRASH_PLACES = PLACES
"""Where a worker can be made to crash, in the order in which an event passes: `after_claim`, `after_render`,
`before_handoff`, `after_handoff`, `after_reply`, `before_result`, `after_result`."""


class Crashes(Failpoints):
    """Failpoints that are armed one by one."""

    def __init__(self) -> None:
        super().__init__({})
        self._armed: str | None = None
        self.struck = asyncio.Event()

    def arm(self, place: str) -> None:
        """Crash whoever passes `place` next."""
        if place not in PLACES:
            raise ValueError(f"{place!r} is no place; there are {', '.join(PLACES)}")
        self._armed = place
        self.struck.clear()

    def passed(self, place: str) -> None:
        if place == self._armed:
            self._armed = None
            self.struck.set()
            raise Crash(place)
