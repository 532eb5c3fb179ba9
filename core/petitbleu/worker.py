"""The worker's loop: claim what is due, have it delivered, stop cleanly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from .delivery import Delivery, Work
from .heartbeat import Heartbeat
from .queue import Claimed, WorkQueue
from .types import Queue

logger = logging.getLogger("petitbleu.worker")


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` events at once, `reserved` of them for real time only; the rest are seconds."""

    concurrency: int
    reserved: int
    poll: float
    lease: float
    drain: float


class Worker:
    """Claims events and has them delivered until told to stop. `now` is the database's clock in microseconds."""

    def __init__(self, queue: WorkQueue, delivery: Delivery, limits: Limits, now: Callable[[], int]) -> None:
        self._queue = queue
        self._delivery = delivery
        self._limits = limits
        self._now = now
        self._under_way: dict[int, tuple[Work, asyncio.Task[None]]] = {}
        self._batch = 0
        self._stopping = False
        self.heartbeat = Heartbeat(queue, limits.lease, queue.arrived.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is handed off and give back the rest."""
        waker = asyncio.create_task(self._wake_on(stop))
        try:
            async with self.heartbeat.beating():
                try:
                    await self._work(stop)
                finally:
                    self._stopping = True
                    await self._drain()
        finally:
            waker.cancel()
            await asyncio.gather(waker, return_exceptions=True)

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._queue.arrived.clear()
            try:
                due = await self._queue.promote()
                claimed = await self._claim()
            except Exception:
                logger.exception("the queue cannot be read; trying again in %g s", self._limits.poll)
                due, claimed = None, 0
            if not stop.is_set() and (not claimed or self._free() <= 0):
                await self._sleep(due)

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._queue.arrived.set()

    async def _sleep(self, due: int | None) -> None:
        """Until work arrives, a place is free, the next event is due, or it is time to look."""
        seconds = self._limits.poll if due is None else min(self._limits.poll, max(0.001, (due - self._now()) / 1e6))
        try:
            async with asyncio.timeout(seconds):
                await self._queue.arrived.wait()
        except TimeoutError:
            return

    def _free(self) -> int:
        return self._limits.concurrency - len(self._under_way)

    async def _claim(self) -> int:
        """Real time takes every free place; batch leaves the reserved ones."""
        taken = 0
        for queue in Queue:
            room = self._free()
            if queue is Queue.BATCH:
                room = min(room, self._limits.concurrency - self._limits.reserved - self._batch)
            if room > 0:
                for claimed in await self._queue.claim(queue, room):
                    self._start(claimed)
                    taken += 1
        return taken

    def _start(self, claimed: Claimed) -> None:
        work = Work(claimed, claimed.event.channel)
        self.heartbeat.hold(claimed.lease)
        task = asyncio.create_task(self._delivery.process(work))
        self._under_way[claimed.id] = work, task
        self._batch += claimed.event.queue is Queue.BATCH
        task.add_done_callback(lambda task: self._done(work, task))

    def _done(self, work: Work, task: asyncio.Task[None]) -> None:
        self._under_way.pop(work.claimed.id, None)
        self.heartbeat.drop(work.claimed.lease)
        self._batch -= work.claimed.event.queue is Queue.BATCH
        if not task.cancelled() and (error := task.exception()) is not None:
            # its lease runs out and it is rescued; here it must only be seen
            event = work.claimed.id
            logger.error("event %d: its outcome could not be stored: %s", event, error, extra={"event": event})
        if not self._stopping:
            self._queue.arrived.set()

    async def _drain(self) -> None:
        waiting = list(self._under_way.values())
        for work, task in waiting:
            if not work.handed_off:
                task.cancel()
        if not waiting:
            return
        _, late = await asyncio.wait([task for _, task in waiting], timeout=self._limits.drain)
        for task in late:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
        unspent = [work.claimed for work, task in waiting if task.cancelled() and not work.handed_off]
        if unspent:
            await self._queue.release(unspent)
