"""Notices when the loop stands still, and says whose code it stands in.

Nothing can interrupt a plugin that computes, or that waits without `await`: it keeps the whole process from its work. A
thread of its own sees that the loop does not turn, and reads from the stack of the loop's thread who is at work. That
costs whoever works well nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import FrameType

from .conduct import MOST_LINES, Conduct, line_of
from .owners import Owner, Owners

logger = logging.getLogger("petitbleu.plugins")

LOOKS = 4
"""Looks at the loop within the time that it may stand still."""


@dataclass(slots=True)
class Standing:
    """The loop stands still `since` then; it was told of when it had lasted `told` seconds."""

    owner: Owner
    since: float
    told: float


class Standstill:
    """Tells of a loop that has not turned for `seconds`, and again when that has doubled. `clock` counts seconds,
    `worked` those of processor time that the process has used."""

    def __init__(
        self,
        owners: Owners,
        conduct: Conduct,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.process_time,
    ) -> None:
        self._owners = owners
        self._conduct = conduct
        self._seconds = seconds
        self._every = seconds / LOOKS
        self._clock = clock
        self._worked = worked
        self._turned = 0.0
        self._standing: Standing | None = None
        self._looked = self._used = 0.0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """While this loop is looked at."""
        loop = asyncio.get_running_loop()
        here = threading.get_ident()
        stop = threading.Event()
        timer: asyncio.TimerHandle | None = None

        def turn() -> None:
            nonlocal timer
            self._turned = self._clock()
            timer = loop.call_later(self._every, turn)

        def run() -> None:
            self._looked, self._used = self._clock(), self._worked()
            while not stop.wait(self._every):
                self.look(sys._current_frames().get(here))

        turn()
        thread = threading.Thread(target=run, name="standstill", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            if timer is not None:
                timer.cancel()
            await asyncio.to_thread(thread.join, self._seconds)

    def look(self, frame: FrameType | None) -> None:
        """`frame` is what the loop's thread is at."""
        now, used = self._clock(), self._worked()
        late, worked = now - self._looked - self._every, used - self._used
        self._looked, self._used = now, used
        if late > self._every and worked < late / 10:
            # nobody had the processor, this thread neither
            self._turned = max(self._turned, now)
            return
        standing, seconds = self._standing, now - self._turned
        if standing is not None and self._turned > standing.since:
            self._over(standing)
            standing = self._standing = None
        if seconds < self._seconds:
            return
        if standing is None:
            standing = self._standing = Standing(self._owners.of(frame), self._turned, 0.0)
        if seconds >= 2 * standing.told:
            standing.told = seconds
            at = _at(frame)
            text = "plugin %s%s keeps the process from all other work, for %.1f s so far"
            said = {"plugin": standing.owner.plugin, "hook": standing.owner.hook, "at": at}
            logger.warning(text, standing.owner.plugin, _in(standing.owner), seconds, extra=said)

    def _over(self, standing: Standing) -> None:
        seconds = self._turned - standing.since
        self._conduct.blocked(standing.owner.plugin, standing.owner.hook, seconds)
        text = "plugin %s%s kept the process from all other work for %.1f s"
        said = {"plugin": standing.owner.plugin, "hook": standing.owner.hook}
        logger.warning(text, standing.owner.plugin, _in(standing.owner), seconds, extra=said)


@contextmanager
def slow(plugin: str, hook: str, seconds: float) -> Iterator[None]:
    """Tells of a call at the start, where no loop turns yet, that takes longer than `seconds`: it is waited for."""
    here = threading.get_ident()

    def tell() -> None:
        text = "plugin %s, %s, keeps the start waiting, for %g s so far"
        said = {"plugin": plugin, "hook": hook, "at": _at(sys._current_frames().get(here))}
        logger.warning(text, plugin, hook, seconds, extra=said)

    timer = threading.Timer(seconds, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _in(owner: Owner) -> str:
    return f", {owner.hook}," if owner.hook else ""


def _at(frame: FrameType | None) -> str:
    lines: list[str] = []
    while frame is not None and len(lines) < MOST_LINES:
        lines.append(line_of(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return " < ".join(lines)


__all__ = ["Standstill", "slow"]
