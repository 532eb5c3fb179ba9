"""Suspects, events that another crash would condemn, are tried alone: whatever else is under way could be the culprit,
or be taken for one with them. The queue keeps them from every claim but ours, which takes one when nothing else runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized

from ..lifecycle import MOST_CRASHES
from ..queue.queue import WorkQueue
from ..queue.shares import Flow
from ..steps import Claimed
from ..throttle import Throttle
from ..types import Queue

ALONE = 5.0
"""Seconds for which at most a suspect waits for everything else to end, and everything else then for the suspect: what
crashes does so soon."""


class Trials:
    """Of a worker that has so many events `under_way` and looks for suspects every `poll` seconds. `clock` is in
    seconds, of any that only goes on."""

    def __init__(
        self,
        queue: WorkQueue,
        throttle: Throttle | None,
        under_way: Sized,
        poll: float,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._throttle = throttle
        self._under_way = under_way
        self._poll = poll
        self._clock = clock
        self._looked = 0.0
        self._flows = deque[tuple[Queue, Flow]]()
        """Of which some wait, as last seen; the one whose turn it is first."""
        self._clearing = False
        """Nothing is begun until what is under way has ended."""
        self._tried: Claimed | None = None
        self._began = 0.0
        self._deadline = 0.0
        """Until when everything else is waited for, then the suspect."""
        self._rest = 0.0

    @property
    def waiting(self) -> bool:
        return bool(self._flows)

    def alone(self) -> bool:
        """Whether nothing else may be begun."""
        return self._clearing or (self._tried is not None and self._clock() < self._deadline)

    async def next(self) -> Claimed | None:
        """A suspect to begin with at once, if it is time."""
        if self._clock() - self._looked >= self._poll:
            await self._look()
        if self._tried is not None or self._clock() < self._rest:
            return None
        if self._flows and not self._clearing:
            self._clearing, self._began, self._deadline = True, self._clock(), self._clock() + ALONE
        if self._flows and self._under_way and self._clock() < self._deadline:
            return None
        while self._flows and self._tried is None:
            queue, flow = self._flows[0]
            claimed = await self._queue.claim(queue, {flow: 1}, "claim_suspects")
            self._flows.popleft()
            if claimed:
                self._tried, self._deadline = claimed[0], self._clock() + ALONE
                # there may be more of the flow, whose turn comes after the others'
                self._flows.append((queue, flow))
        self._clearing = False
        return self._tried

    def ended(self, claimed: Claimed) -> None:
        if claimed is self._tried:
            now = self._clock()
            # everything else gets as much time as the trial took from it
            self._tried, self._rest = None, now + min(now, self._deadline) - self._began

    async def _look(self) -> None:
        blocked = frozenset[Flow]() if self._throttle is None else self._throttle.blocked()
        self._flows = deque(one for one in await self._queue.suspects() if one[1] not in blocked)
        self._looked = self._clock()


def suspicious(claimed: Claimed) -> bool:
    """Whether it must be tried alone; one whose time is over ends without being tried."""
    expired = claimed.expires is not None and claimed.expires <= claimed.claimed_at
    return claimed.crashes == MOST_CRASHES - 1 and not expired


__all__ = ["Trials", "suspicious"]
