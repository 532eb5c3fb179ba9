"""A worker's places: what has one or waits for one here, how many are free, and which flows may have them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

from ..queue.shares import Flow, Shares
from ..steps import Claimed
from ..throttle import Throttle
from ..types import Event, Queue
from .stalls import Stalls

AHEAD = 0.05
"""Seconds of work that are claimed before there is a place for it."""
MOST_AHEAD = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` events at once, `reserved` of them for real time only; the rest are seconds."""

    concurrency: int
    reserved: int
    poll: float
    lease: float
    drain: float


class Places:
    """Of a worker that has so many events `under_way`. `now` is in seconds, of any clock that only goes on."""

    def __init__(self, limits: Limits, shares: Shares, throttle: Throttle | None, under_way: Sized) -> None:
        self._limits = limits
        self._shares = shares
        self._throttle = throttle
        self._under_way = under_way
        self.taken: dict[Queue, Counter[Flow]] = {queue: Counter() for queue in Queue}
        """Places by flow, of what is under way or next."""
        self.next: dict[Queue, deque[Claimed]] = {queue: deque() for queue in Queue}
        """Claimed, and begun as soon as there is a place."""
        self.waiting: dict[Queue, list[Flow]] = {queue: [] for queue in Queue}
        """Flows that have something to claim, as last seen."""
        self.stalls = Stalls(limits.concurrency)
        self.pace = Pace()

    def hold(self, claimed: Claimed) -> None:
        self.taken[claimed.event.queue][flow_of(claimed.event)] += 1

    def let_go(self, claimed: Claimed) -> None:
        taken, flow = self.taken[claimed.event.queue], flow_of(claimed.event)
        taken[flow] -= 1
        if not taken[flow]:
            del taken[flow]

    def free(self, queue: Queue) -> int:
        """Real time takes every free place; batch leaves the reserved ones."""
        limits = self._limits
        throttle = self._throttle
        free = limits.concurrency - len(self._under_way) + self.stalls.parked()
        free += 0 if throttle is None else throttle.parked()
        if queue is Queue.BATCH:
            batch = self.taken[queue].total() - len(self.next[queue])
            batch -= self.stalls.parked(queue) + (0 if throttle is None else throttle.parked(queue))
            free = min(free, limits.concurrency - limits.reserved - batch)
        return free

    def claimable(self, queue: Queue, now: float) -> int:
        """Events that a claim may take; 0 while what was claimed ahead is not half used up."""
        ahead, kept = self._ahead(now), len(self.next[queue])
        return 0 if kept * 2 > ahead else max(0, self.free(queue) + ahead - kept)

    def shared(self, queue: Queue, most: int, now: float) -> dict[Flow, int]:
        """Each flow's part of so many events to claim."""
        taken = self.stalls.without(queue, self.taken[queue])
        fair = self._shares.places(most, self._open(queue), taken, self._most() + self._ahead(now))
        return self._fitting(queue, fair, taken)

    def claimed(self, queue: Queue, places: Mapping[Flow, int], claimed: Sequence[Claimed]) -> None:
        """A flow of which fewer came than there were places for has nothing more to claim."""
        found = Counter(flow_of(one.event) for one in claimed)
        self.waiting[queue] = [flow for flow in self.waiting[queue] if found[flow] >= places.get(flow, 0)]

    def fresh(self, events: Sequence[Event], now: float, clock: float) -> int:
        """How many of these new events, from the first on, may be taken at once: they overtake nothing, so there is
        room while no older one waits to be claimed. `clock` is the database's, in seconds since 1970."""
        ahead = self._ahead(now)
        fitting = {
            queue: 0 if self._open(queue) else self.free(queue) + ahead - len(self.next[queue]) for queue in Queue
        }
        blocked = {queue: self._blocked(queue) for queue in Queue}
        for count, event in enumerate(events):
            late = event.scheduled is not None and event.scheduled.timestamp() > clock
            if late or fitting[event.queue] <= 0 or flow_of(event) in blocked[event.queue]:
                return count
            for queue in Queue:
                fitting[queue] -= 1
        return len(events)

    def _open(self, queue: Queue) -> list[Flow]:
        """Waiting flows whose provider takes more, and of which there are not enough under way that hang."""
        waiting = self.waiting[queue]
        blocked = self._blocked(queue) if waiting else frozenset()
        return [flow for flow in waiting if flow not in blocked] if blocked else waiting

    def _blocked(self, queue: Queue) -> frozenset[Flow]:
        blocked = frozenset[Flow]() if self._throttle is None else self._throttle.blocked()
        if not self.stalls.slow:
            return blocked
        most, taken = self._most(), self.taken[queue]
        return blocked | {flow for flow in self.stalls.slow if taken[flow] >= most}

    def _fitting(self, queue: Queue, places: dict[Flow, int], under_way: Mapping[Flow, int]) -> dict[Flow, int]:
        """No more of each flow than its provider takes, and than the places of one flow."""
        if self._throttle is None and not self.stalls.slow:
            return places
        fitting = {}
        for flow, most in places.items():
            taken = under_way.get(flow, 0)
            if flow in self.stalls.slow:
                most = min(most, self._most() - taken)
            room = None if self._throttle is None else self._throttle.room(flow, taken)
            if room != 0 and most > 0:
                fitting[flow] = most if room is None else min(most, room)
        return fitting

    def _most(self) -> int:
        """Places of one flow: a flow whose messages take long leaves some to the others."""
        return max(1, self._limits.concurrency - self._limits.reserved // 2)

    def _ahead(self, now: float) -> int:
        return min(MOST_AHEAD, int(self.pace.per_second(now) * AHEAD))


class Pace:
    """How many events a second were finished of late."""

    def __init__(self) -> None:
        self._began = 0.0
        self._count = 0
        self._last = 0.0

    def count(self, now: float) -> None:
        self.per_second(now)
        self._count += 1

    def per_second(self, now: float) -> float:
        """Over the last quarter of a second that is over."""
        over = now - self._began
        if over >= 0.25:
            self._last = self._count / over
            self._began, self._count = now, 0
        return self._last


def flow_of(event: Event) -> Flow:
    return Flow(event.channel, event.type)


__all__ = ["Limits", "Pace", "Places", "flow_of"]
