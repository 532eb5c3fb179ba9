"""What this process tells the others of an installation about providers, and hears from them; see `shared.py`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from .lane import Lane, Places
from .shared import Pause, Shared, Wish

logger = logging.getLogger("petitbleu.delivery")

LOOK = 1.0
"""Seconds between looks at what the other processes say."""
ASK = 100_000
"""Microseconds between two questions for more places."""
PURGE = 600
"""Looks between two clearances of what nobody uses any more."""


class Exchange:
    """`lanes` are those this process knows, `open_again` ends the pause of one. `lease` is in seconds, `now` the
    database's clock in microseconds."""

    def __init__(
        self,
        shared: Shared,
        lanes: Callable[[], list[Lane]],
        open_again: Callable[[Lane], None],
        lease: float,
        now: Callable[[], int],
    ) -> None:
        self._shared = shared
        self._lanes = lanes
        self._open_again = open_again
        self._lease = int(lease * 1_000_000)
        self._now = now
        self._paused: dict[str, Pause] = {}
        """By key, as last read."""
        self._news: dict[str, Pause | None] = {}
        """Pauses made or ended here that the database does not have yet."""
        self._left: set[str] = set()
        """Probes that taught nothing, to be given up."""
        self._changed = asyncio.Event()
        self._asking = asyncio.Lock()

    # ------------------------------------------------------------------------------------------------------- pauses

    def pauses(self) -> dict[str, Pause]:
        """By key, as last read, without those that have ended here since."""
        return {key: pause for key, pause in self._paused.items() if self._news.get(key, pause) is not None}

    def tell(self, lane: Lane) -> None:
        """That it is paused, or is no more."""
        self._news[lane.key] = lane.pause
        self._changed.set()

    def leave_probe(self, lane: Lane) -> None:
        """Nothing was learnt, so let others try it."""
        lane.probing = False
        self._left.add(lane.key)
        self._changed.set()

    async def probe(self, lane: Lane, now: int) -> bool:
        """Whether this message is the one by which the provider is tried again."""
        pause = lane.pause
        if pause is None or not pause.over(now) or lane.probing or pause.probed(now):
            return False
        lane.probing = True
        try:
            await self._tell_news()
            if await self._shared.probe(lane.key):
                return True
        except Exception as error:
            logger.warning("%s cannot be probed: %s: %s", lane.key, type(error).__name__, error)
        except BaseException:
            # cancelled: it may be ours, and nobody is here to use it
            self.leave_probe(lane)
            raise
        # somebody else tries it, or has brought it back; the next look tells
        lane.probing = False
        lane.pause = replace(pause, probing=now + int(LOOK * 1e6))
        return False

    # ------------------------------------------------------------------------------------------------------- quotas

    async def ask(self, kind: str, lane: Lane, now: int) -> bool:
        """Get more of a shared limit, if it makes sense to ask; whether anything may have changed."""
        quota = lane.tokens if kind == "rate" else lane.places
        if quota is None or quota.ask_at > now:
            return False
        async with self._asking:
            if quota.ask_at > self._now():
                return True
            quota.ask_at = self._now() + ASK
            try:
                if lane.tokens is quota:
                    count, due, then = await self._shared.tokens(lane.key, lane.tokens.rate)
                    lane.tokens.granted(count, due, then)
                    lane.wake(count)
                else:
                    # with some to spare, or each message that comes on top would ask
                    await self._ask_places([(lane, (lane.in_use + lane.waiting) * 3 // 2)])
            except Exception as error:
                logger.warning("limits of %s cannot be read: %s: %s", lane.name, type(error).__name__, error)
                return False
        return True

    async def _ask_places(self, wishes: Sequence[tuple[Lane, int]]) -> None:
        """Lanes, and how many places each has use for beside those that were of use since it last asked."""
        began = self._now()
        asked: dict[str, tuple[Lane, Places, int]] = {}
        for lane, wanted in wishes:
            if (places := lane.places) is not None:
                asked[lane.key] = lane, places, min(places.limit, max(places.wanted, wanted, lane.in_use))
                places.wanted = lane.in_use
                # what is not in use may be another process's before we hear of it
                places.held = min(places.held, lane.in_use)
        if not asked:
            return
        held = await self._shared.places(
            [Wish(key, places.limit, wanted, lane.in_use) for key, (lane, places, wanted) in sorted(asked.items())]
        )
        for key, (lane, places, wanted) in asked.items():
            places.held, places.until = held[key], began + self._lease
            if places.held == wanted < places.limit:
                places.ask_at = 0
            lane.wake(max(0, places.held - lane.in_use))

    # ---------------------------------------------------------------------------------------------------- all the time

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While entered, what other processes know is known here within a second, and the other way round."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            probes = [lane.key for lane in self._lanes() if lane.probing]
            try:
                async with asyncio.timeout(LOOK):
                    await self._tell_news()
                    await self._shared.leave(probes)
            except Exception as error:
                logger.warning("limits could not be given back: %s: %s", type(error).__name__, error)

    async def _keep(self) -> None:
        looks = 0
        while True:
            self._changed.clear()
            try:
                await self.look()
                if looks % PURGE == PURGE - 1:
                    await self._shared.purge()
            except Exception as error:
                text = "what other processes know of providers cannot be read: %s: %s"
                logger.warning(text, type(error).__name__, error)
            looks += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._changed.wait()

    async def look(self) -> None:
        """Tell what is new here, and look at what is new elsewhere."""
        await self._tell_news()
        lanes = self._lanes()
        if any(lane.probing for lane in lanes):
            await self._shared.still_probing()
        await self._ask_places([(lane, lane.in_use + lane.waiting) for lane in lanes if lane.borrows])
        self._paused = await self._shared.pauses()
        for lane in self._lanes():
            found = self._paused.get(lane.key)
            # what changed here while the others were asked is newer
            if lane.key in self._news or lane.probing or found == lane.pause:
                continue
            if found is None:
                self._open_again(lane)
            lane.pause = found

    async def _tell_news(self) -> None:
        while self._news:
            key, pause = next(iter(self._news.items()))
            if pause is None:
                await self._shared.resume(key)
            else:
                await self._shared.pause(key, pause)
            if self._news.get(key) is pause:
                del self._news[key]
        while self._left:
            key = next(iter(self._left))
            await self._shared.leave_probe(key)
            self._left.discard(key)
