"""Whether a message may go to its provider now, or when to come back, and what each answer teaches.

Before a provider that is neither limited nor in trouble this is a matter of a few look-ups, without a wait. A message
that may not go waits in its place for a moment, if few do so, or is put back in the queue with a time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

from ..errors import NotNow
from ..failover import Condition
from ..metrics import Metrics
from ..queue.shares import Flow
from ..retry import delay
from ..store.payload import moment
from ..types import Check, Deferred, Delivered, Event, Failed, Outcome, Queue, Retry, Scope, Unknown
from .exchange import Exchange
from .lane import RECENT, Lane, Provider
from .limits import Feedback, ProviderLimits
from .shared import Pause, Shared
from .ticket import Obstacle, State, Ticket
from .window import Window

logger = logging.getLogger("petitbleu.delivery")

SLICE = 0.1
"""Seconds after which who waits looks for itself whether there is room."""
BRIEF = 100_000
"""Microseconds for which many may wait for a provider though others have work."""
SPREAD = 1_000_000
"""Microseconds over which events come back after a pause, at least."""
COMING_BACK = 5_000
"""Microseconds of that spread for each event."""
_UNLIMITED = ProviderLimits()
_ADDRESS = re.compile(r"[^\s<>]*@[^\s<>]*")


class Throttle:
    """`limits` by (channel, provider); `now` is the database's clock in microseconds."""

    def __init__(
        self,
        shared: Shared,
        feedback: Feedback,
        limits: Mapping[tuple[str, str], ProviderLimits],
        now: Callable[[], int],
        random: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._feedback = feedback
        self._limits = limits
        self._now = now
        self._random = random
        self._metrics = metrics
        self._providers: dict[tuple[str, str], Provider] = {}
        self.exchange = Exchange(shared, self._lanes, self._open_again, feedback.lease, now)
        """With the other processes."""
        self._refused: dict[Flow, Lane] = {}
        """The providers that the last event of a flow was not let in with."""
        self._ways: dict[Flow, Provider] = {}
        """Where the last event of each flow went that was let in."""
        self._here: dict[Flow, int] = {}
        """Events of each flow that are being delivered."""

    # ------------------------------------------------------------------------------------------------------ delivery

    def ticket(self, channel: str, event: Event) -> Ticket:
        """For one delivery, to be given back with `close`."""
        flow = Flow(event.channel, event.type)
        self._here[flow] = self._here.get(flow, 0) + 1
        return Ticket(channel, flow, event.queue)

    def close(self, ticket: Ticket) -> None:
        """Whatever it holds is free again."""
        self._here[ticket.flow] -= 1
        self._leave(ticket)

    async def admit(self, ticket: Ticket, name: str, destination: str, at_once: int = 0, /) -> None:
        """Let it in with a provider, or raise `NotNow`; if it is in with another one, it leaves that."""
        if ticket.provider is not None:
            self._leave(ticket)
        provider = self._providers.get((ticket.channel, name)) or self._meet(ticket.channel, name)
        lane, now = provider.lane, self._now()
        ticket.asked = ticket.asked or now
        if at_once and at_once < lane.window.limit:
            lane.window.resize(at_once)
        spot = provider.spots.get(destination)
        if spot is None or destination != provider.newest:
            spot = provider.spot(destination, now)
        if lane.waiters or spot.waiters or self._obstacle(provider, spot, now) is not None:
            now = await self._wait(ticket, provider, spot, now)
        lane.enter(now)
        spot.enter(now)
        provider.by_queue[ticket.queue] += 1
        ticket.provider, ticket.spot, ticket.began = provider, spot, now
        self._ways[ticket.flow] = provider
        # who is let in where there is little room is asked for in such numbers only
        if self._refused:
            tight = lane.waiting or ticket.probing is not None or lane.in_use * 4 >= lane.window.places * 3
            if not tight:
                self._refused.pop(ticket.flow, None)

    def learn(self, ticket: Ticket, outcome: Outcome) -> None:
        """What the provider's answer says of it. To be called while the ticket is held."""
        kind = _verdict(outcome)
        if kind is None or not outcome.provider:
            return
        provider = ticket.provider
        if provider is None or provider.lane.provider != outcome.provider:
            provider = self._providers.get((ticket.channel, outcome.provider))
            if provider is None:
                provider = self._meet(ticket.channel, outcome.provider)
            spot = None
        else:
            spot = ticket.spot
        if ticket.probing is not None and ticket.provider is provider:
            self._probed(ticket.probing, kind, outcome)
            ticket.probing = None
            return
        lane = provider.lane
        if kind == "failed":
            dead = lane.window.failed()
            # who alone has failed all the time is down; a provider that others get through is not
            alone = spot is not None and spot.window.failed() and spot.window.lost > lane.window.lost
            if dead and lane.pause is None:
                self._pause(lane, 1, outcome)
            elif alone and spot is not None and spot.pause is None and lane.pause is None:
                self._pause(spot, 1, outcome)
        else:
            for one in (lane, spot) if spot is not None else (lane,):
                if kind == "delivered":
                    one.window.succeeded()
                else:
                    one.window.answered()

    def due(self, channel: str, name: str, due: int) -> int:
        """When an event whose try was deferred comes back, if it should do so at `due`: not before its provider."""
        provider = self._providers.get((channel, name))
        return due if provider is None or provider.lane.pause is None else max(due, provider.lane.pause.until)

    def condition(self, channel: str, name: str) -> Condition:
        """How a provider is doing, for the choice between several."""
        provider = self._providers.get((channel, name)) or self._meet(channel, name)
        lane, now = provider.lane, self._now()
        paused = lane.pause is not None and not lane.pause.over(now)
        return Condition(paused, lane.age(now) / 1e6)

    # -------------------------------------------------------------------------------------------------------- worker

    def parked(self, queue: Queue | None = None) -> int:
        """Messages under way that take no place from the others: those beyond a provider's stake."""
        stake, parked = self._feedback.stake, 0
        for one in self._providers.values():
            excess = one.lane.in_use - stake
            if excess > 0:
                parked += excess if queue is None else min(excess, one.by_queue[queue])
        return parked

    def room(self, flow: Flow, taken: int = 0) -> int | None:
        """How many events of a flow should be claimed now, beyond the `taken` ones that may not have come here yet;
        `None`: nothing is known against any number."""
        lane = self._refused.get(flow)
        if lane is None:
            return None
        now, coming = self._now(), max(0, taken - self._here.get(flow, 0))
        if lane.pause is not None:
            shut = coming or lane.probing or lane.pause.probed(now) or not lane.pause.over(now)
            return 0 if shut else 1
        room = lane.window.places - lane.in_use
        if lane.places is not None:
            room = min(room, lane.places.here(now) - lane.in_use)
        if lane.tokens is not None:
            room = min(room, lane.tokens.left if lane.tokens.ready(now) else 0)
        waiting = self._most_waiting(lane, lane.window.places, now) - lane.waiting
        return max(0, max(0, room) + max(0, waiting) - coming)

    def blocked(self) -> frozenset[Flow]:
        """Flows of which nothing should be claimed now."""
        return frozenset(flow for flow in self._refused if self.room(flow) == 0)

    def states(self) -> list[State]:
        found = []
        for (channel, name), one in self._providers.items():
            lane, spots = one.lane, one.spots.values()
            waiting, paused = lane.waiting, sum(spot.pause is not None for spot in spots)
            found.append(State(channel, name, lane.window.places, lane.in_use, waiting, lane.pause, paused, one.limits))
        return found

    def pauses(self) -> Mapping[str, Pause]:
        """By `channel/provider` or `channel/provider/destination`, those that other processes made too."""
        known = {
            lane.key: lane.pause
            for one in self._providers.values()
            for lane in (one.lane, *one.spots.values())
            if lane.pause is not None
        }
        return self.exchange.pauses() | known

    def checks(self) -> list[Check]:
        """For the health page: what is paused, of providers as a failure."""
        return [
            Check(key, "/" in key.partition("/")[2], f"paused until {_clock(pause.until)}, because: {pause.reason}")
            for key, pause in sorted(self.pauses().items())
        ]

    # -------------------------------------------------------------------------------------------------------- inside

    def _meet(self, channel: str, name: str) -> Provider:
        limits = self._limits.get((channel, name), _UNLIMITED)
        most = min(self._feedback.places, limits.whole.concurrency or self._feedback.places)
        lane = Lane(channel, name, Window(self._feedback.window, most), limits.whole)
        lane.pause = self.exchange.pauses().get(lane.key)
        found = self._providers[channel, name] = Provider(lane, limits, self._feedback.window)
        return found

    def _leave(self, ticket: Ticket) -> None:
        if ticket.probing is not None:
            # nothing was learnt
            self.exchange.leave_probe(ticket.probing)
            ticket.probing = None
        provider, spot = ticket.provider, ticket.spot
        if provider is None or spot is None:
            return
        now = self._now()
        spot.leave(ticket.began, now)
        provider.lane.leave(ticket.began, now)
        provider.by_queue[ticket.queue] -= 1
        ticket.provider = ticket.spot = None

    def _obstacle(self, provider: Provider, spot: Lane, now: int) -> Obstacle | None:
        lane = provider.lane
        if lane.pause is not None:
            return Obstacle("paused", lane)
        if spot.pause is not None:
            return Obstacle("paused", spot)
        if lane.in_use >= lane.window.places:
            return Obstacle("window", lane)
        if spot.in_use >= spot.window.places or spot.in_use >= provider.room(spot, now):
            return Obstacle("destination", spot)
        for one in (lane, spot):
            if one.places is not None and one.in_use >= one.places.here(now):
                return Obstacle("concurrency", one)
            if one.tokens is not None and not one.tokens.ready(now):
                return Obstacle("rate", one)
        return None

    async def _wait(self, ticket: Ticket, provider: Provider, spot: Lane, now: int) -> int:
        """Until the message may go: gives the time then. Raises `NotNow`."""
        lane = provider.lane
        end = now + int(self._feedback.wait * 1e6)
        queued = bool(lane.waiters or spot.waiters)
        lane.waiting += 1
        spot.waiting += 1
        try:
            while True:
                obstacle = self._obstacle(provider, spot, now)
                if obstacle is None and not queued:
                    return now
                kind, one = obstacle or Obstacle("window", lane)
                if kind == "paused":
                    # what goes to a destination that is paused too would say little of the provider
                    telling = one is spot or spot.pause is None or spot.pause.over(now)
                    if telling and await self.exchange.probe(one, now):
                        ticket.probing = one
                        return self._now()
                    raise self._put_back(ticket, kind, one, self._now(), 1)
                if kind in ("rate", "concurrency") and await self.exchange.ask(kind, one, now):
                    now = self._now()
                    continue
                places = lane.window.places if one is lane else max(provider.room(spot, now), spot.in_use)
                if now >= end or one.waiting > self._most_waiting(one, places, now):
                    raise self._put_back(ticket, kind, one, now, places)
                seconds = min(SLICE, (end - now) / 1e6)
                if kind == "rate" and one.tokens is not None and one.tokens.ask_at > now:
                    seconds = min(seconds, (one.tokens.ask_at - now) / 1e6)
                await one.turn(seconds, front=not queued)
                queued, now = False, self._now()
        finally:
            lane.waiting -= 1
            spot.waiting -= 1

    def _most_waiting(self, lane: Lane, places: int, now: int) -> int:
        """How many may wait: where others have work, few, or as many as will be gone in a moment."""
        most = self._feedback.places
        if not lane.destination and len(self._providers) == 1:
            return most
        soon = places * BRIEF / max(1.0, lane.age(now))
        if lane.limit.rate is not None:
            soon = min(soon, lane.limit.rate * BRIEF / 1e6)
        return max(self._feedback.stake, min(most // 2, int(soon)))

    def _put_back(self, ticket: Ticket, kind: str, lane: Lane, now: int, places: int) -> NotNow:
        feedback = self._feedback
        way = self._ways.get(ticket.flow)
        # a flow that goes elsewhere too, or to other destinations, must not stand still for this
        if not lane.destination and (way is None or way.lane is lane or now - way.lane.last > RECENT):
            self._refused[ticket.flow] = lane
        self._metrics.put_back(lane.channel, lane.provider, kind)
        lane.refused += 1
        if lane.pause is not None:
            until = lane.pause.until if not lane.pause.over(now) else now + int(feedback.pause * 1e6)
            due = until + int(self._random() * min(max(SPREAD, lane.refused * COMING_BACK), feedback.pause_cap * 1e6))
            return NotNow(f"{lane.key} is paused until {_clock(until)}, because: {lane.pause.reason}", due)
        # one after the other, as there will be room for them
        each = lane.age(now) / max(1, places)
        if lane.limit.rate is not None:
            each = max(each, 1e6 / lane.limit.rate)
        latest = now + int(feedback.back_cap * 1e6)
        lane.cursor = min(latest, max(lane.cursor, now) + int(max(each, 1000)))
        due = lane.cursor + int(self._random() * max(50_000, (lane.cursor - now) // 4))
        return NotNow(f"{lane.key} takes no more at once ({kind})", due)

    # -------------------------------------------------------------------------------------------------------- pauses

    def _pause(self, lane: Lane, number: int, outcome: Outcome) -> None:
        now = self._now()
        asked = getattr(outcome, "retry_after", None)
        backoff = Retry(self._feedback.pause, self._feedback.pause_cap)
        seconds = delay(number, backoff, asked, self._random)
        since = lane.pause.since if lane.pause is not None else now
        # it is shown and logged for the provider's sake, not for that of whoever was written to
        reason = _ADDRESS.sub("***", outcome.text)
        lane.pause = Pause(now + int(seconds * 1e6), number, since, reason)
        lane.probing = False
        lane.wake(len(lane.waiters))
        self.exchange.tell(lane)
        text = "%s is left alone for %.0f s, pause %d in a row: %s"
        logger.warning(text, lane.key, seconds, number, reason, extra={"provider": lane.provider})

    def _probed(self, lane: Lane, kind: str, outcome: Outcome) -> None:
        self._metrics.probed(lane.channel, lane.provider, kind)
        if kind == "failed":
            self._pause(lane, 1 if lane.pause is None else lane.pause.number + 1, outcome)
            return
        self._open_again(lane)
        self.exchange.tell(lane)
        logger.info("%s is written to again", lane.key, extra={"provider": lane.provider})

    def _open_again(self, lane: Lane) -> None:
        lane.open_again()
        if not lane.destination:
            for spot in self._providers[lane.channel, lane.provider].spots.values():
                spot.window.reset()

    def _lanes(self) -> list[Lane]:
        return [lane for one in self._providers.values() for lane in (one.lane, *one.spots.values())]


def _verdict(outcome: Outcome) -> str | None:
    """`delivered`, `failed`, or `answered`: about something else, but answered. `None`: the provider had no part."""
    match outcome:
        case Delivered():
            return "delivered"
        case Unknown():
            return "failed"
        case Deferred() | Failed():
            return {Scope.PROVIDER: "failed", Scope.US: None}.get(outcome.scope, "answered")


def _clock(time: int) -> str:
    return f"{moment(time):%H:%M:%S} UTC"
