"""Events that keep a place though nothing comes of them: a plugin hangs in them, before it has asked for a provider or
when all that is left is to tell observers. They take no place from the others, however many there are.

What hangs later, with a provider, is the throttle's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Protocol

from ..queue.shares import Flow
from ..types import Queue

SLOW = 1_000_000
"""Microseconds within which an event should have asked for a provider. Flows in which one does not are taken to hang
from the start, until one does."""
MOST = 20
"""So many times the worker's places may be parked."""


class Moving(Protocol):
    """An event under way; times in microseconds, 0 for what has not come yet."""

    @property
    def flow(self) -> Flow: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def started(self) -> int: ...
    @property
    def asked(self) -> int:
        """When it asked for a provider."""
        ...

    @property
    def told(self) -> bool:
        """What became of it is stored."""
        ...


class Stalls:
    """Of a worker with so many `places`: a twentieth of them is what all that hangs may take from the others."""

    def __init__(self, places: int) -> None:
        self._stake = max(1, places // 20)
        self._most = MOST * places
        self._parked: dict[Hashable, tuple[Queue, Flow]] = {}
        self._by_queue: Counter[Queue] = Counter()
        self._by_flow: Counter[tuple[Queue, Flow]] = Counter()
        self.slow: set[Flow] = set()

    def look(self, under_way: Iterable[tuple[Hashable, Moving]], now: int) -> None:
        """Who hangs now."""
        stuck: list[tuple[Hashable, Queue, Flow]] = []
        told: list[tuple[Hashable, Queue, Flow]] = []
        for key, one in under_way:
            if one.told:
                told.append((key, one.queue, one.flow))
            elif one.asked:
                if one.asked - one.started < SLOW:
                    self.slow.discard(one.flow)
            elif one.started and now - one.started > SLOW:
                self.slow.add(one.flow)
                stuck.append((key, one.queue, one.flow))
            elif one.flow in self.slow:
                stuck.append((key, one.queue, one.flow))
        parked = [*told, *stuck[self._stake :]][: self._most]
        self._parked = {key: (queue, flow) for key, queue, flow in parked}
        self._by_queue = Counter(queue for _, queue, _ in parked)
        self._by_flow = Counter((queue, flow) for _, queue, flow in parked)

    def told(self, key: Hashable, one: Moving) -> None:
        """What became of it is stored."""
        if key not in self._parked and len(self._parked) < self._most:
            self._parked[key] = found = one.queue, one.flow
            self._by_queue[one.queue] += 1
            self._by_flow[found] += 1

    def ended(self, key: Hashable, one: Moving, now: Callable[[], int]) -> None:
        """One that is not under way any more."""
        if self.slow and one.flow in self.slow and not one.asked and now() - one.started < SLOW:
            self.slow.discard(one.flow)
        if self._parked and (found := self._parked.pop(key, None)) is not None:
            self._by_queue[found[0]] -= 1
            self._by_flow[found] -= 1

    def parked(self, queue: Queue | None = None) -> int:
        """Events under way that take no place."""
        return len(self._parked) if queue is None else self._by_queue[queue]

    def without(self, queue: Queue, taken: Counter[Flow]) -> Mapping[Flow, int]:
        """The places that each flow has of those that count."""
        if not self._parked:
            return taken
        return {flow: places - self._by_flow[queue, flow] for flow, places in taken.items()}


__all__ = ["Moving", "Stalls"]
