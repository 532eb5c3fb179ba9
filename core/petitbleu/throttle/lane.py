"""What is known, in this process, of one provider or of one destination behind it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from ..types import Queue
from .limits import UNLIMITED, Limit, ProviderLimits
from .quota import KEPT
from .shared import Pause
from .window import Quick, Usual, Window

MOST_DESTINATIONS = 2000
"""Destinations of one provider that are remembered; idle ones make room for others."""
RECENT = 60_000_000
"""Microseconds for which a destination counts as one of several."""
MOMENT = 5_000.0
"""Microseconds in which nobody is slow."""
LONG = 1_000_000
"""Microseconds for which others may be without a place that a slow destination has."""
SLOW = 3.0
"""So many times as long as usual makes a destination a slow one."""


@dataclass(slots=True)
class Tokens:
    """Of a rate: what was granted to this process and is not used yet, and when asking for more makes sense."""

    rate: float
    left: int = 0
    until: int = 0
    ask_at: int = 0

    def ready(self, now: int) -> bool:
        return self.left > 0 and now <= self.until

    def granted(self, count: int, next_due: int, now: int) -> None:
        self.left, self.until, self.ask_at = count, now + KEPT, next_due


@dataclass(slots=True)
class Places:
    """Of a concurrency: what is lent to this process, until when, and the most that was of use since it last asked."""

    limit: int
    held: int = 0
    until: int = 0
    ask_at: int = 0
    wanted: int = 0

    def here(self, now: int) -> int:
        return self.held if now < self.until else 0


@dataclass(slots=True, eq=False)
class Lane:
    """A provider, or with `behind` one of its destinations. Times in microseconds by the database's clock."""

    channel: str
    provider: str
    window: Window
    limit: Limit = UNLIMITED
    destination: str = ""
    in_use: int = 0
    began: int = 0
    """Sum of the times at which what is in use began."""
    last: int = 0
    usual: Usual = field(default_factory=Usual)
    quick: Quick = field(default_factory=Quick)
    waiting: int = 0
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)
    pause: Pause | None = None
    probing: bool = False
    """By this process."""
    refused: int = 0
    """Put back since it was last open."""
    cursor: int = 0
    """When there will be room for one more that is put back."""
    tokens: Tokens | None = None
    places: Places | None = None

    def __post_init__(self) -> None:
        self.tokens = None if self.limit.rate is None else Tokens(self.limit.rate)
        self.places = None if self.limit.concurrency is None else Places(self.limit.concurrency)

    @property
    def name(self) -> str:
        return f"{self.channel}/{self.provider}"

    @property
    def key(self) -> str:
        """In the database."""
        return f"{self.name}/{self.destination}" if self.destination else self.name

    @property
    def borrows(self) -> bool:
        """Whether it has places of a shared concurrency."""
        return self.places is not None and (self.places.held > 0 or self.in_use > 0)

    def age(self, now: int) -> float:
        """How long a message is here: as of late, or as those that are here have been already."""
        here = (self.in_use * now - self.began) / self.in_use if self.in_use else 0.0
        return max(self.usual.value, here)

    def enter(self, now: int) -> None:
        self.in_use += 1
        self.began += now
        self.last = now
        if self.tokens is not None:
            self.tokens.left -= 1
        if self.places is not None:
            self.places.wanted = max(self.places.wanted, self.in_use)

    def leave(self, began: int, now: int) -> None:
        self.in_use -= 1
        self.began -= began
        self.usual.saw(now - began)
        if not self.destination:
            self.quick.saw(now - began)
        if self.waiters:
            self.wake()

    async def turn(self, seconds: float, front: bool) -> None:
        """Until there may be room, or so many seconds have passed. Whoever waited already stands in front."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        if front:
            self.waiters.appendleft(turn)
        else:
            self.waiters.append(turn)
        timer = loop.call_later(seconds, _late, turn)
        try:
            await turn
        except BaseException as error:
            with suppress(ValueError):
                self.waiters.remove(turn)
            if not isinstance(error, TimeoutError):
                raise
        finally:
            timer.cancel()

    def wake(self, most: int = 1) -> None:
        while self.waiters and most > 0:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                most -= 1

    def open_again(self) -> None:
        self.pause, self.probing, self.refused, self.cursor = None, False, 0, 0
        self.window.reset()


@dataclass(slots=True, eq=False)
class Provider:
    """A provider's lane, those of its destinations, and how many messages of each queue are with it."""

    lane: Lane
    limits: ProviderLimits
    start: int
    spots: dict[str, Lane] = field(default_factory=dict)
    by_queue: dict[Queue, int] = field(default_factory=lambda: dict.fromkeys(Queue, 0))
    newest: str = ""
    """The destination that came last, and when another one was last seen to come."""
    mixed: int = 0

    def spot(self, destination: str, now: int) -> Lane:
        if destination != self.newest:
            if self.newest:
                self.mixed = now
            self.newest = destination
        found = self.spots.get(destination)
        if found is None:
            if len(self.spots) >= MOST_DESTINATIONS:
                self._forget()
            limit = self.limits.of(destination)
            most = self.lane.window.limit
            window = Window(self.start, most if limit.concurrency is None else min(most, limit.concurrency))
            found = Lane(self.lane.channel, self.lane.provider, window, limit, destination)
            self.spots[destination] = found
        return found

    def _forget(self) -> None:
        """Half of the destinations: those of which nothing was heard for the longest time."""
        idle = [one for one in self.spots.values() if not (one.in_use or one.waiting or one.pause or one.borrows)]
        for one in sorted(idle, key=lambda one: one.last)[: MOST_DESTINATIONS // 2]:
            del self.spots[one.destination]

    def room(self, spot: Lane, now: int) -> int:
        """Places a destination may have. While there are others, that is half of them until one of its messages has
        ended, then all. If its messages take long beside those of the others, it has no more than a tenth where the
        others need the rest; and if they take so long that this would come late, the fewer the longer at any time."""
        most = self.lane.window.places
        if now - self.mixed > RECENT:
            return most
        age = spot.age(now)
        times = age / self._age_of_others(spot, now)
        if times > SLOW and self.lane.in_use * 10 >= most * 9:
            return max(1, most // 10)
        if times > SLOW and age > LONG:
            return max(1, int(most * max(0.1, SLOW / 2 / times)))
        return most if spot.usual.value else max(1, most // 2)

    def _age_of_others(self, spot: Lane, now: int) -> float:
        """As that of those under way now, or that of the quicker ones, or what is too little to speak of."""
        others = self.lane.in_use - spot.in_use
        here = now - (self.lane.began - spot.began) / others if others else 0.0
        return max(here, self.lane.quick.value, MOMENT)


def _late(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())
