"""The heartbeat: leases are kept, and those of the dead taken back, by a thread with its own loop and connection.

A plugin that blocks the worker's loop for longer than a lease therefore loses none.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tortoise.backends.base.client import BaseDBAsyncClient

from ..queue.queue import WorkQueue

logger = logging.getLogger("petitbleu.worker")


class Heartbeat:
    """Beats three times per `lease` (seconds) while `beating`. `rescued` is called in the worker's loop when work was
    taken back; `clock` counts seconds."""

    def __init__(
        self,
        queue: WorkQueue,
        lease: float,
        rescued: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._every = lease / 3
        self._rescued = rescued
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._last = clock()
        self._spared = False

    # ------------------------------------------------------------------------------------------- in the worker's loop

    def hold(self, lease: str) -> None:
        """Keep this lease, until `drop` was called as often as `hold`."""
        with self._lock:
            self._held[lease] += 1

    def drop(self, lease: str) -> None:
        with self._lock:
            self._held[lease] -= 1
            if self._held[lease] <= 0:
                del self._held[lease]

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        here = asyncio.get_running_loop()
        own = asyncio.new_event_loop()
        stop = asyncio.Event()
        self._last = self._clock()

        def tell() -> None:
            here.call_soon_threadsafe(self._rescued)

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: own) as runner:
                runner.run(self._live(stop, tell))

        thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            # a beat that hangs must not keep the process from ending
            own.call_soon_threadsafe(stop.set)
            await asyncio.to_thread(thread.join, 2 * self._every)

    # ------------------------------------------------------------------------------------------- in the thread's loop

    async def _live(self, stop: asyncio.Event, tell: Callable[[], None]) -> None:
        while not stop.is_set():
            try:
                async with self._queue.apart() as connection:
                    while not stop.is_set():
                        async with asyncio.timeout(self._every):
                            if await self.beat(connection):
                                tell()
                        await _wait(stop, self._every)
            except Exception as error:
                logger.error("leases cannot be renewed: %s: %s", type(error).__name__, error)
                await _wait(stop, min(1.0, self._every))

    async def beat(self, connection: BaseDBAsyncClient | None = None) -> int:
        """Renew what is held, then take back what nobody renews; gives how many events that were.

        After a pause in which the database answered nobody, the living renew first: nothing is taken back for one beat.
        """
        started = self._clock()
        with self._lock:
            held = sorted(self._held)
        if held:
            await self._queue.renew(held, connection)
        ended = self._clock()
        paused = ended - self._last > 2 * self._every or ended - started > self._every / 2
        self._spared = paused and not self._spared
        self._last = ended
        return 0 if self._spared else await self._queue.rescue(on=connection)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
