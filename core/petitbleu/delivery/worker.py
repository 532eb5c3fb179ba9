"""The worker's loop: claim what is due, have it delivered, stop cleanly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from ..hosting.patience import GIVE_UP
from ..queue.queue import WorkQueue
from ..queue.shares import Shares
from ..steps import Claimed
from ..throttle import Throttle
from ..types import Event, Queue
from .delivery import Delivery, Work
from .heartbeat import Heartbeat
from .places import Limits, Places
from .trials import Trials, suspicious

logger = logging.getLogger("petitbleu.worker")

LOOK = 0.02
"""Seconds between looks for events that keep a place though nothing comes of them."""
FRESH = 0.1
"""Seconds for which it is remembered which flows have something to claim."""
EXPIRY = 5.0
"""Seconds between looks for expired events of flows whose provider takes nothing."""
MOST_EXPIRED = 100
"""Of one flow at one look."""
GIVE_BACK = 1.0
"""Seconds for which a stop waits, at first, for work that it has cancelled."""


class Worker:
    """Claims events and has them delivered until told to stop. `now` is the database's clock in microseconds.

    Claimed events beyond the free places wait here, so that claims are few and large: no more than are begun within
    moments at the pace of the last ones. What another crash would condemn is tried alone.
    """

    def __init__(
        self,
        queue: WorkQueue,
        delivery: Delivery,
        limits: Limits,
        now: Callable[[], int],
        shares: Shares = Shares(),
        throttle: Throttle | None = None,
    ) -> None:
        self._queue = queue
        self._delivery = delivery
        self._limits = limits
        self._now = now
        self._throttle = throttle
        self._under_way: dict[tuple[int, str], tuple[Work, asyncio.Task[None]]] = {}
        """By event and lease: whoever lost the first lease of an event may be given a second one."""
        self._places = Places(limits, shares, throttle, self._under_way)
        self._seen: dict[Queue, float] = dict.fromkeys(Queue, 0.0)
        self._trials = Trials(queue, throttle, self._under_way, limits.poll, lambda: asyncio.get_running_loop().time())
        self._looked = 0.0
        self._expired = 0.0
        self._stalled = 0.0
        self._working = False
        self.heartbeat = Heartbeat(queue, limits.lease, queue.look_again)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is handed off and give back the rest."""
        waker = asyncio.create_task(self._wake_on(stop))
        try:
            async with self.heartbeat.beating():
                self._working = True
                self._queue.taker = self
                try:
                    await self._work(stop)
                finally:
                    self._queue.taker = None
                    self._working = False
                    await self._drain()
        finally:
            waker.cancel()
            await asyncio.gather(waker, return_exceptions=True)

    async def _work(self, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        while not stop.is_set():
            self._queue.arrived.clear()
            if self._queue.stale:
                self._queue.stale = False
                self._seen = dict.fromkeys(Queue, 0.0)
            claimed = 0
            self._look(clock)
            self._begin()
            try:
                await self._promote(clock)
                claimed += await self._try_alone()
                for queue in Queue:
                    claimed += await self._claim(queue, clock)
                await self._end_expired(clock)
            except Exception:
                logger.exception("the queue cannot be read; trying again in %g s", self._limits.poll)
            if not stop.is_set() and not claimed:
                await self._sleep()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._queue.arrived.set()

    async def _sleep(self) -> None:
        """Until work arrives, there is room for it, the next event is due, or it is time to look."""
        idle = self._free(Queue.REALTIME) > 0 and not self._trials.waiting
        seconds = self._limits.poll if idle else min(LOOK, self._limits.poll)
        if self._queue.soonest is not None:
            seconds = min(seconds, max(0.001, (self._queue.soonest - self._now()) / 1e6))
        try:
            async with asyncio.timeout(seconds):
                await self._queue.arrived.wait()
        except TimeoutError:
            return

    async def _promote(self, clock: Callable[[], float]) -> None:
        soonest = self._queue.soonest
        if clock() - self._looked >= self._limits.poll or (soonest is not None and soonest <= self._now()):
            await self._queue.promote()
            self._looked = clock()
            self._seen = dict.fromkeys(Queue, 0.0)

    # ---------------------------------------------------------------------------------------------------------- claims

    def _free(self, queue: Queue) -> int:
        return 0 if self._trials.alone() else self._places.free(queue)

    def _look(self, clock: Callable[[], float]) -> None:
        if self._under_way and clock() - self._stalled >= LOOK:
            self._stalled = clock()
            self._places.stalls.look(((key, work) for key, (work, _) in self._under_way.items()), self._now())

    async def _claim(self, queue: Queue, clock: Callable[[], float]) -> int:
        if self._trials.alone():
            return 0
        most = self._places.claimable(queue, clock())
        if not most:
            return 0
        waiting, left = self._places.waiting, self._queue.left[queue]
        if clock() - self._seen[queue] > (FRESH if waiting[queue] else self._limits.poll):
            left.clear()
            waiting[queue] = await self._queue.flows(queue)
            self._seen[queue] = clock()
        elif left:
            waiting[queue] = list({*waiting[queue], *left})
            left.clear()
        places = self._places.shared(queue, most, clock())
        if not places:
            return 0
        claimed = await self._queue.claim(queue, places)
        self._places.claimed(queue, places, claimed)
        # earlier versions leave suspects among the rest
        suspects = [one for one in claimed if suspicious(one)]
        try:
            if suspects:
                await self._queue.release(suspects)
        finally:
            self._admit([one for one in claimed if not suspicious(one)])
        return len(claimed)

    async def _try_alone(self) -> int:
        suspect = await self._trials.next()
        if suspect is None:
            return 0
        self._hold(suspect)
        self._start(suspect)
        return 1

    async def _end_expired(self, clock: Callable[[], float]) -> None:
        """Events that nobody claims, because their provider takes none, have their time all the same."""
        if self._throttle is None or clock() - self._expired < EXPIRY:
            return
        self._expired = clock()
        blocked = self._throttle.blocked()
        for queue in Queue:
            if blocked and self._free(queue) > 0:
                places = dict.fromkeys(blocked, MOST_EXPIRED)
                self._admit(await self._queue.claim(queue, places, "claim_expired"))

    # ------------------------------------------------------------------------------------------------- `queue.Taker`

    def room(self, events: Sequence[Event]) -> int:
        if not self._working or self._trials.alone():
            return 0
        return self._places.fresh(events, asyncio.get_running_loop().time(), self._now() / 1e6)

    def take(self, claimed: Sequence[Claimed]) -> None:
        self._admit(claimed)

    # ----------------------------------------------------------------------------------------------------------- work

    def _admit(self, claimed: Sequence[Claimed]) -> None:
        for one in claimed:
            self._hold(one)
            self._places.next[one.event.queue].append(one)
        self._begin()

    def _hold(self, claimed: Claimed) -> None:
        self.heartbeat.hold(claimed.lease)
        self._places.hold(claimed)

    def _begin(self) -> None:
        for queue, following in self._places.next.items():
            while following and self._free(queue) > 0:
                self._start(following.popleft())

    def _start(self, claimed: Claimed) -> None:
        work = Work(claimed, claimed.event.channel)
        work.when_told = partial(self._told, claimed, work)
        task = asyncio.create_task(self._delivery.process(work))
        self._under_way[_key(claimed)] = work, task
        task.add_done_callback(partial(self._done, claimed))

    def _told(self, claimed: Claimed, work: Work) -> None:
        """Nothing but observers is waited for, which takes no place."""
        self._places.stalls.told(_key(claimed), work)
        if self._working:
            self._places.pace.count(asyncio.get_running_loop().time())
            self._begin()
            if self._places.waiting[claimed.event.queue]:
                self._queue.arrived.set()

    def _done(self, claimed: Claimed, task: asyncio.Task[None]) -> None:
        key = _key(claimed)
        work, _ = self._under_way.pop(key)
        self._places.stalls.ended(key, work, self._now)
        self._let_go(claimed)
        self._trials.ended(claimed)
        if not task.cancelled() and (error := task.exception()) is not None:
            # its lease runs out and it is rescued; here it must only be seen
            event = claimed.id
            logger.error("event %d: its outcome could not be stored: %s", event, error, extra={"event": event})
        if self._working:
            if not work.told:
                self._places.pace.count(asyncio.get_running_loop().time())
            self._begin()
            queue = claimed.event.queue
            if self._places.waiting[queue] or not self._under_way:
                self._queue.arrived.set()

    def _let_go(self, claimed: Claimed) -> None:
        self.heartbeat.drop(claimed.lease)
        self._places.let_go(claimed)

    async def _drain(self) -> None:
        unspent = [claimed for following in self._places.next.values() for claimed in following]
        for following in self._places.next.values():
            following.clear()
        for claimed in unspent:
            self._let_go(claimed)
        waiting = list(self._under_way.values())
        begun = [(work, task) for work, task in waiting if not work.handed_off]
        for _, task in begun:
            task.cancel()
        if begun:
            await asyncio.wait([task for _, task in begun], timeout=min(GIVE_BACK, self._limits.drain))
        # nobody renews their leases any more, so they go back before the answers of providers are waited for
        back = [work.claimed for work, task in begun if _unspent(work, task)]
        if unspent + back:
            await self._queue.release(unspent + back)
        if waiting:
            _, late = await asyncio.wait([task for _, task in waiting], timeout=self._limits.drain)
            for task in late:
                task.cancel()
            if late:
                _, late = await asyncio.wait(late, timeout=min(GIVE_BACK, self._limits.drain))
            for task in late:
                # a plugin that did not heed the first one is left where it stands
                task.cancel(GIVE_UP)
            await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
        given = {_key(claimed) for claimed in back}
        if rest := [work.claimed for work, task in waiting if _unspent(work, task) and _key(work.claimed) not in given]:
            await self._queue.release(rest)


def _key(claimed: Claimed) -> tuple[int, str]:
    return claimed.id, claimed.lease


def _unspent(work: Work, task: asyncio.Task[None]) -> bool:
    """Ended by us before anything was handed off."""
    return task.done() and task.cancelled() and not work.handed_off


__all__ = ["Limits", "Worker"]
