"""One event, from claim to outcome, in one straight line.

    claim ─► in time? ─► enrich ─► route ─► resolve ─► suppressed? ─► render ─► check ─► in time? ─► deliver ─►
    outcome ─► store ─► observers

Whether it is in time is asked once more right before the hand-off, and whether its address is suppressed if that was
asked more than a moment ago. No transaction is open while a plugin or a provider
is at work. What a stage raises becomes a retry with a reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ..data import from_json
from ..errors import HandOffRefused, NotNow, PetitbleuError, TemplateError
from ..failover import Condition, Failover
from ..failpoints import Failpoints
from ..hosting.calling import HookFailed
from ..hosting.calls import Calls
from ..lifecycle import EXPIRED, FAILED, IGNORED, MOST_CRASHES, NOT_COVERED, PENDING, SENT
from ..metrics import Metrics
from ..queue.queue import WorkQueue
from ..recycling import Recycling, longer
from ..rendered import Copies
from ..rendering import LimitReached
from ..safemode import Withheld
from ..steps import Claimed, Step
from ..store.payload import micros, optional_micros
from ..suppression.guard import Suppressions
from ..throttle import Throttle
from ..types import Attempt, Channel, Event, Hold, Message, Outcome, Suppress, Unknown
from .consequences import AS_GIVEN, EXPIRATION, NO_RECYCLING, UNKNOWN, Consequences, Work

logger = logging.getLogger("petitbleu.delivery")

LAG = 100_000
"""Microseconds by which our copy of the database's clock may be behind it. The claim went by that clock itself."""
STALE = 500_000
"""Microseconds after which it is asked again whether an address is suppressed, before a message is handed over."""


class _Suppressed(HandOffRefused):
    """The address came onto the list since it was looked for."""

    def __init__(self, step: Step) -> None:
        self.step = step
        super().__init__(f"event {step.claimed.id}: {step.reason}")


class Delivery:
    """Carries one claimed event to an outcome.

    `brand` gives a brand's values by its name, `deadline` is in seconds, `now` is the database's clock in microseconds.
    """

    def __init__(
        self,
        queue: WorkQueue,
        calls: Calls,
        channels: Mapping[str, Channel],
        brand: Callable[[str], Mapping[str, Any]],
        instance: str,
        deadline: float,
        now: Callable[[], int],
        random: Callable[[], float],
        metrics: Metrics | None = None,
        throttle: Throttle | None = None,
        failpoints: Failpoints | None = None,
        failovers: Mapping[str, Failover] = MappingProxyType({}),
        recycling: Recycling = NO_RECYCLING,
        receipt_wait: float = 600.0,
        suppressions: Suppressions | None = None,
        copies: Copies | None = None,
    ) -> None:
        self._queue = queue
        self._calls = calls
        self._channels = channels
        self._brand = brand
        self._instance = instance
        self._deadline = deadline
        self._now = now
        self._random = random
        self._metrics = metrics or Metrics()
        self._throttle = throttle
        self._failpoints = failpoints
        self._failovers = failovers
        self._recycling = recycling
        self._ends = Consequences(channels, now, random, self._metrics, throttle, failovers, recycling, receipt_wait)
        self._suppressions = suppressions
        self._copies = copies

    async def process(self, work: Work) -> None:
        with self._metrics.under_way(work.claimed.event.queue):
            await self._process(work)

    async def _process(self, work: Work) -> None:
        claimed = work.claimed
        event = claimed.event
        work.started = self._now()
        outcome: Outcome | None = None
        quiet = False
        try:
            if self._failpoints:
                self._failpoints.passed("after_claim")
            step = self._stop_before(work)
            if step is None:
                made = await self._message(work, event)
                if isinstance(made, Step):
                    step = made
                else:
                    if self._failpoints:
                        self._failpoints.passed("after_render")
                    outcome = await self._deliver(work, made)
                    if self._failpoints:
                        self._failpoints.passed("after_reply")
                    step = self._ends.outcome(work, outcome)
                    if self._copies is not None and made.event.type in self._copies.types:
                        step.rendered = self._copies.copy(made, step.at)
                    if self._suppressions is not None:
                        step.note = self._suppressions.note_outcome(
                            event.id, work.channel, work.address, work.brand, outcome, work.doubted
                        )
        except _Suppressed as suppressed:
            step = suppressed.step
        except HandOffRefused as refused:
            step = self._untimely(work, " before it could be handed over")
            if step is None:
                logger.warning("%s; another worker has it", refused, extra={"event": claimed.id})
                return
        except NotNow as not_now:
            step = self._ends.put_back(work, not_now)
            quiet = step.status == PENDING
        except Withheld as withheld:
            step = self._ends.final(work, IGNORED, str(withheld), cause="safe_mode")
        except TemplateError as error:
            if isinstance(error.__cause__, LimitReached):
                self._metrics.render_limit()
            step = self._ends.final(work, FAILED, str(error), cause="rendering")
        except HookFailed as failed:
            step = self._ends.stumbled(work, str(failed))
        except PetitbleuError as error:
            step = self._ends.stumbled(work, str(error))
        except Exception as error:
            logger.exception("event %d could not be worked on", claimed.id, extra={"event": claimed.id})
            step = self._ends.stumbled(work, f"{type(error).__name__}: {error}")
        if step.status in (FAILED, EXPIRED):
            step = await self._recycled(work, step)
        if self._failpoints:
            self._failpoints.passed("before_result")
        # it is on its way from here on: a cancellation ends the wait, and loses no answer of a provider
        if not await self._queue.record(step):
            text = "event %d: its lease was lost, %s is not recorded"
            logger.warning(text, claimed.id, step.status, extra={"event": claimed.id})
            if work.handed_off:
                self._metrics.possible_duplicate(work.channel, "lease_lost")
            return
        if self._failpoints:
            self._failpoints.passed("after_result")
        # nothing happened to an event that is put back
        if quiet:
            return
        self._count(step)
        work.told = True
        if work.when_told is not None:
            work.when_told()
        await self._calls.outcome_recorded(event, step.status, outcome, step.reason)

    def _count(self, step: Step) -> None:
        """A step that the database has."""
        event, attempt, metrics = step.claimed.event, step.attempt, self._metrics
        metrics.step(event.queue, step.status)
        if step.suppressed:
            metrics.suppressed(step.channel, step.suppressed)
        if attempt is not None:
            metrics.attempt(attempt.channel, attempt.provider, attempt.outcome, attempt.scope)
        if step.due is not None and step.unknowns > step.claimed.unknowns:
            metrics.possible_duplicate(step.channel, "worker_lost" if step.claimed.handed_off else "no_answer")
        if step.status == SENT:
            start = max(event.scheduled or event.created, event.created)
            metrics.sent_after(event.queue, max(0.0, step.at / 1e6 - start.timestamp()))

    def _stop_before(self, work: Work) -> Step | None:
        """What can be said without looking at the event's content."""
        claimed = work.claimed
        if claimed.awaits:
            reason = f"unknown: no receipt came from {claimed.handed_off} in time"
            return self._ends.final(work, FAILED, reason, cause=UNKNOWN)
        if claimed.crashes >= MOST_CRASHES:
            reason = f"crashed the worker {claimed.crashes} times"
            if claimed.handed_off:
                # it may have arrived: that it failed is more than anybody knows
                attempt = self._ends.attempt(work, Unknown(claimed.handed_off, reason, _names(claimed)))
                step = self._ends.final(work, FAILED, f"unknown: {reason}", attempt, cause=UNKNOWN)
                return replace(step, unknowns=claimed.unknowns + 1)
            # and so it may at an earlier try
            if claimed.unknowns:
                return self._ends.final(work, FAILED, f"unknown: {reason}", cause=UNKNOWN)
            return self._ends.final(work, FAILED, reason, cause="crashes")
        if claimed.handed_off:
            lost = Unknown(claimed.handed_off, "the worker stopped after the hand-over", _names(claimed))
            step = self._ends.outcome(work, lost)
            # the try that was cut off is written down; a repeat follows at once, under the next number
            return step if step.due is None or step.awaits else replace(step, due=self._now())
        return self._untimely(work)

    def _untimely(self, work: Work, when: str = "") -> Step | None:
        """Too late, or too soon: that may have changed since the claim."""
        expires, scheduled = work.claimed.expires, optional_micros(work.claimed.event.scheduled)
        now = self._now()
        if expires is not None and now >= expires:
            return self._ends.final(work, EXPIRED, f"its expiration passed{when}", cause=EXPIRATION)
        if scheduled is not None and now < scheduled - LAG:
            return self._ends.later(work, scheduled, "its scheduled time has not come", counts=False)
        return None

    async def _message(self, work: Work, event: Event) -> Message | Step:
        """Enrich, route, resolve, render and check: a message fit to go, or why not."""
        event = await self._calls.enrich_event(event)
        route = await self._calls.route_event(event)
        if route is None:
            return self._ends.final(work, NOT_COVERED, "nothing says where to send it", cause="no_route")
        if work.claimed.chain:
            # the rules have had their say
            route = replace(route, channel=event.channel)
        work.channel = route.channel
        channel = self._channels.get(route.channel)
        if channel is None:
            reason = f"no plugin serves the channel {route.channel!r}"
            return self._ends.final(work, NOT_COVERED, reason, cause="no_channel")
        template = await self._calls.resolve_template(event, route)
        if template is None:
            reason = f"no published template {route.template}/{route.channel}"
            return self._ends.final(work, NOT_COVERED, reason, cause="no_template")
        work.template = f"{template.event_type}/{template.channel} v{template.version}"
        address = event.addresses.get(channel.address, "")
        if not address:
            reason = f"it has no {channel.address}, which the channel {channel.name} needs"
            return self._ends.final(work, FAILED, reason, cause="no_address")
        brand = route.brand or template.brand
        work.address, work.brand = address, brand
        if (step := await self._suppressed(work)) is not None:
            return step
        content = await self._calls.render(template, event, self._brand(brand))
        if content is None:
            return self._ends.final(work, NOT_COVERED, f"nothing renders {work.template}", cause="no_content")
        key = f"{event.id}@{self._instance}"
        message = Message(event, route.channel, address, brand, template, content, key)
        verdict = await self._calls.check_message(message)
        if isinstance(verdict, Suppress):
            return self._ends.final(work, IGNORED, verdict.reason, cause="check")
        if isinstance(verdict, Hold):
            return self._ends.later(work, micros(verdict.until), verdict.reason, counts=False)
        return self._untimely(work) or message

    async def _suppressed(self, work: Work) -> Step | None:
        if self._suppressions is None:
            return None
        work.looked = self._now()
        event_type = work.claimed.event.type
        standing = await self._suppressions.standing(event_type, work.channel, work.address, work.brand)
        work.doubted = standing.doubted
        if standing.reason is None:
            return None
        reason = standing.reason.value
        return replace(self._ends.final(work, IGNORED, standing.text, cause=reason), suppressed=reason)

    async def _deliver(self, work: Work, message: Message) -> Outcome:
        async def hand_off(provider: str) -> None:
            if self._failpoints:
                self._failpoints.passed("before_handoff")
            if self._untimely(work) is not None:
                raise HandOffRefused(f"event {work.claimed.id}: this is not its time")
            if self._now() - work.looked > STALE and (step := await self._suppressed(work)) is not None:
                raise _Suppressed(step)
            await self._queue.hand_off(work.claimed, provider, work.expected)
            work.handed_off = provider
            if self._failpoints:
                self._failpoints.passed("after_handoff")

        def expect(names: Sequence[str], /) -> None:
            work.expected = tuple(names)

        def pick(candidates: Sequence[str], /) -> str:
            if not candidates:
                raise ValueError("there is no provider to pick from")
            work.candidates = tuple(candidates)
            if len(work.candidates) == 1:
                return work.candidates[0]
            known = partial(_condition if self._throttle is None else self._throttle.condition, message.channel)
            failover = self._failovers.get(message.channel, AS_GIVEN)
            return failover.pick(work.candidates, work.claimed.avoid.split(), known, self._random)

        with self._metrics.delivering(message.channel):
            if self._throttle is None:
                return await self._handed(work, message, Attempt(work.number, hand_off, pick=pick, expect=expect))
            ticket = work.ticket = self._throttle.ticket(message.channel, work.claimed.event)
            admit = partial(self._throttle.admit, ticket)
            try:
                outcome = await self._handed(work, message, Attempt(work.number, hand_off, admit, pick, expect))
                self._throttle.learn(ticket, outcome)
                return outcome
            except HookFailed as failed:
                if failed.hung:
                    self._throttle.learn(ticket, Unknown(ticket.name, failed.cause))
                raise
            finally:
                self._throttle.close(ticket)

    async def _handed(self, work: Work, message: Message, attempt: Attempt) -> Outcome:
        try:
            return await self._calls.deliver(message, attempt, self._deadline)
        except (HookFailed, NotNow) as stopped:
            if not work.handed_off:
                raise
            cause = stopped.cause if isinstance(stopped, HookFailed) else str(stopped)
            return Unknown(work.handed_off, cause, work.expected)

    async def _recycled(self, work: Work, step: Step) -> Step:
        """The step, or in its place the event's way on by another channel."""
        claimed, event = work.claimed, work.claimed.event
        parked = claimed.crashes >= MOST_CRASHES
        if parked or not work.channel or (claimed.expires is not None and self._now() >= claimed.expires):
            return step
        failure = "unknown" if step.unknowns else "expired" if step.status == EXPIRED else "failed"
        answer = await self._calls.recycle_event(event, work.channel, failure, step.reason)
        if answer is None:
            return step
        chain = longer(claimed.chain, work.channel, answer.channel)
        if chain is None or not self._recycling.reachable(event, answer.channel):
            return step
        self._metrics.recycled(work.channel, answer.channel, failure)
        reason = f"goes on by {answer.channel}: {answer.reason}: {step.reason}"
        return replace(
            step, status=PENDING, reason=reason, due=self._now(), tries=0, moved=answer.channel, chain=chain, avoid=""
        )


def _names(claimed: Claimed) -> tuple[str, ...]:
    """What receipts will call what an earlier try handed off."""
    return tuple(str(name) for name in from_json(claimed.names)) if claimed.names else ()


def _condition(channel: str, provider: str) -> Condition:
    return Condition()


__all__ = ["Delivery", "Work"]
