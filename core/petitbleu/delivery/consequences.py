"""What becomes of an event: from what was found out about it to the step that is stored.

A step has a *cause* in one word, by which events are counted and found: of tries that failed the outcome's scope, or
`unknown`; for the others see `CAUSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..errors import NotNow
from ..failover import Failover, remaining
from ..lifecycle import EXPIRED, FAILED, PENDING, SENT
from ..metrics import Metrics
from ..queue.shares import Flow
from ..recycling import Recycling
from ..retry import delay
from ..steps import AttemptRecord, Claimed, Step
from ..suppression import Reason
from ..throttle import Throttle, Ticket
from ..types import Channel, Deferred, Delivered, Failed, Outcome, Queue, Retry, Scope, Unknown

MOST_UNKNOWNS = 2
CAUSES: Mapping[str, frozenset[str]] = {
    "sent": frozenset({""}),
    "failed": frozenset({*Scope, "unknown", "no_address", "rendering", "crashes", "receipt"}),
    "expired": frozenset({"expiration", "tries"}),
    "ignored": frozenset({*Reason, "check", "cancelled", "safe_mode"}),
    "not_covered": frozenset({"no_route", "no_channel", "no_template", "no_content"}),
}
"""Of events that have ended. What is put back or waits has that of its last try."""
EXPIRATION, UNKNOWN = "expiration", "unknown"
NO_RECYCLING = Recycling((), {})
AS_GIVEN = Failover()


@dataclass(slots=True)
class Work:
    """One claimed event under way."""

    claimed: Claimed
    channel: str
    template: str = ""
    handed_off: str = ""
    started: int = 0
    expected: tuple[str, ...] = ()
    """What receipts will call the message if its answer gets lost."""
    candidates: tuple[str, ...] = ()
    """The providers that its channel's plugin would give it to."""
    address: str = ""
    brand: str = ""
    looked: int = 0
    """When it was asked whether the address is suppressed."""
    doubted: bool = False
    """Soft errors of the address are being counted."""
    ticket: Ticket | None = None
    """Its way through the throttle, once it is being delivered."""
    told: bool = False
    """What became of it is stored, and observers hear of it."""
    when_told: Callable[[], None] | None = None
    """Called then."""

    @property
    def flow(self) -> Flow:
        return Flow(self.claimed.event.channel, self.claimed.event.type)

    @property
    def queue(self) -> Queue:
        return self.claimed.event.queue

    @property
    def asked(self) -> int:
        return 0 if self.ticket is None else self.ticket.asked

    @property
    def number(self) -> int:
        return self.claimed.attempts + 1


class Consequences:
    """`receipt_wait` is in seconds, `now` the database's clock in microseconds."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        now: Callable[[], int],
        random: Callable[[], float],
        metrics: Metrics,
        throttle: Throttle | None = None,
        failovers: Mapping[str, Failover] = MappingProxyType({}),
        recycling: Recycling = NO_RECYCLING,
        receipt_wait: float = 600.0,
    ) -> None:
        self._channels = channels
        self._now = now
        self._random = random
        self._metrics = metrics
        self._throttle = throttle
        self._failovers = failovers
        self._recycling = recycling
        self._receipt_wait = int(receipt_wait * 1_000_000)

    def outcome(self, work: Work, outcome: Outcome) -> Step:
        attempt = self.attempt(work, outcome)
        match outcome:
            case Delivered():
                step = self.final(work, SENT, outcome.text, attempt)
                wait = self._wait_for_receipt(work) if outcome.awaits else None
                return step if wait is None else replace(step, watch=self._now() + wait)
            case Failed():
                if outcome.scope is Scope.PROVIDER and self._others(work, outcome.provider):
                    return self._with_another(work, outcome.provider, outcome.text, attempt)
                return self.final(work, FAILED, outcome.text, attempt, cause=outcome.scope)
            case Deferred():
                if outcome.scope is Scope.PROVIDER and self._others(work, outcome.provider):
                    return self._with_another(work, outcome.provider, outcome.text, attempt)
                counts = outcome.scope not in (Scope.PROVIDER, Scope.US)
                return self._retry(work, outcome, counts, attempt)
            case Unknown():
                unknowns = work.claimed.unknowns + 1
                if self._policy(work) == "hold":
                    due = self._now() + self._receipt_wait
                    reason = f"unknown: {outcome.text}; its receipt is awaited"
                    step = self.later(work, due, reason, counts=False, attempt=attempt, cause=UNKNOWN)
                    return replace(step, unknowns=unknowns, awaits=work.number, handed_off=outcome.provider)
                if unknowns >= MOST_UNKNOWNS:
                    reason = f"unknown: {outcome.text}"
                    return replace(self.final(work, FAILED, reason, attempt, cause=UNKNOWN), unknowns=unknowns)
                again = Deferred(outcome.provider, f"unknown: {outcome.text}", Scope.PROVIDER)
                step = self._retry(work, again, True, attempt, UNKNOWN)
                if step.due is not None and self._others(work, outcome.provider):
                    step = replace(step, avoid=_and(work.claimed.avoid, outcome.provider))
                return replace(step, unknowns=unknowns)

    def _others(self, work: Work, provider: str) -> bool:
        """Whether there is a provider that this message was not given to yet."""
        return remaining(work.candidates, [*work.claimed.avoid.split(), provider])

    def _with_another(self, work: Work, provider: str, text: str, attempt: AttemptRecord) -> Step:
        """At once: what one provider says against itself says nothing against the message."""
        step = self.later(work, self._now(), text, counts=False, attempt=attempt, cause=Scope.PROVIDER)
        return replace(step, avoid=_and(work.claimed.avoid, provider))

    def _wait_for_receipt(self, work: Work) -> int | None:
        """How many microseconds from now somebody wants to know whether the message arrived."""
        channel = work.channel
        seconds = [
            self._failovers.get(channel, AS_GIVEN).no_receipt,
            self._recycling.wait(work.claimed.event, channel),
        ]
        return min((int(one * 1_000_000) for one in seconds if one is not None), default=None)

    def stumbled(self, work: Work, text: str) -> Step:
        """A failure of ours. It undoes no hand-over: a message that may be out is not simply sent again."""
        if work.handed_off:
            return self.outcome(work, Unknown(work.handed_off, text, work.expected))
        return self._retry(work, Deferred("", text, Scope.US), counts=True)

    def _policy(self, work: Work) -> str:
        channel = self._channels.get(work.channel)
        return channel.unknown if channel is not None else "hold"

    def _retry(
        self, work: Work, outcome: Deferred, counts: bool, attempt: AttemptRecord | None = None, cause: str = ""
    ) -> Step:
        channel = self._channels.get(work.channel)
        retry = channel.retry if channel is not None else Retry()
        attempt = attempt or self.attempt(work, outcome)
        if counts and work.claimed.tries + 1 >= retry.tries:
            self._metrics.limit_reached("delivery.retry.tries")
            return self.final(
                work, EXPIRED, f"the last of {retry.tries} tries failed: {outcome.text}", attempt, cause="tries"
            )
        seconds = delay(work.number, retry, outcome.retry_after, self._random)
        due = self._now() + int(seconds * 1_000_000)
        if self._throttle is not None and outcome.scope is Scope.PROVIDER:
            due = self._throttle.due(work.channel, outcome.provider, due)
        if work.claimed.expires is not None and due >= work.claimed.expires:
            reason = f"it expires before its next try; the last said: {outcome.text}"
            return self.final(work, EXPIRED, reason, attempt, cause=EXPIRATION)
        # every provider has had its chance: they begin anew
        return replace(self.later(work, due, outcome.text, counts, attempt, cause or outcome.scope), avoid="")

    def put_back(self, work: Work, not_now: NotNow) -> Step:
        expires = work.claimed.expires
        if expires is not None and not_now.due >= expires:
            return self.final(work, EXPIRED, f"it expires before its next try; {not_now}", cause=EXPIRATION)
        return self.later(work, not_now.due, str(not_now), counts=False)

    def later(
        self, work: Work, due: int, reason: str, counts: bool, attempt: AttemptRecord | None = None, cause: str = ""
    ) -> Step:
        claimed = work.claimed
        return Step(
            claimed,
            PENDING,
            reason,
            work.channel,
            work.template,
            tries=claimed.tries + counts,
            attempts=claimed.attempts + (attempt is not None),
            unknowns=claimed.unknowns,
            due=due,
            attempt=attempt,
            at=self._now(),
            chain=claimed.chain,
            avoid=claimed.avoid,
            cause=cause,
            brand=work.brand,
        )

    def final(
        self, work: Work, status: str, reason: str, attempt: AttemptRecord | None = None, *, cause: str = ""
    ) -> Step:
        """Ended; `cause` is one of `CAUSES` for that status."""
        claimed = work.claimed
        return Step(
            claimed,
            status,
            reason,
            work.channel,
            work.template,
            tries=claimed.tries,
            attempts=claimed.attempts + (attempt is not None),
            unknowns=claimed.unknowns,
            attempt=attempt,
            at=self._now(),
            cause=cause,
            brand=work.brand,
        )

    def attempt(self, work: Work, outcome: Outcome) -> AttemptRecord:
        words: dict[type, str] = {Delivered: "delivered", Deferred: "deferred", Failed: "failed", Unknown: "unknown"}
        return AttemptRecord(
            number=work.number,
            channel=work.channel,
            provider=outcome.provider,
            template=work.template,
            started=work.started,
            ended=self._now(),
            outcome=words[type(outcome)],
            scope=str(getattr(outcome, "scope", "")),
            code=getattr(outcome, "code", ""),
            text=outcome.text,
            reference=getattr(outcome, "reference", ""),
            names=getattr(outcome, "awaits", ()),
        )


def _and(avoid: str, provider: str) -> str:
    return f"{avoid} {provider}".strip()


__all__ = ["AS_GIVEN", "NO_RECYCLING", "Consequences", "Work"]
