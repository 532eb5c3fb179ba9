"""What this process counts and times, as Prometheus metrics in a registry of the instance's own.

Recording costs a look-up in a dictionary and an addition. What stands in the database or elsewhere is read when
somebody scrapes; see `serving/scrape.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .errors import AccessDenied, EventsRefused, Unavailable
from .services import Accept
from .types import Event, IncomingEvent, Operator, Queue

MOST_CHILDREN = 500
"""Sets of label values that one metric keeps apart; what comes beyond is counted together, as `other`."""

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_REFUSALS: tuple[tuple[type[Exception], str], ...] = (
    (EventsRefused, "invalid"),
    (AccessDenied, "denied"),
    (Unavailable, "unavailable"),
    (Exception, "error"),
)

M = TypeVar("M")


class _Children(Generic[M]):
    """A metric's children by their label values: `labels`, its own look-up, checks every value and takes a lock."""

    def __init__(self, labels: Callable[..., M]) -> None:
        self._labels = labels
        self._known: dict[tuple[str, ...], M] = {}

    def __call__(self, *values: str) -> M:
        child = self._known.get(values)
        if child is None:
            if len(self._known) >= MOST_CHILDREN:
                return self._labels(*["other"] * len(values))
            child = self._known[values] = self._labels(*values)
        return child


class _Timed(AbstractContextManager[None]):
    """How long the block takes, however it ends."""

    __slots__ = ("_clock", "_histogram", "_started")

    def __init__(self, histogram: Histogram, clock: Callable[[], float]) -> None:
        self._histogram = histogram
        self._clock = clock
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = self._clock()

    def __exit__(self, *error: object) -> None:
        self._histogram.observe(self._clock() - self._started)


class Metrics:
    """One instance's metrics. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.registry = registry = CollectorRegistry()
        self._clock = clock

        def counter(name: str, text: str, *labels: str) -> _Children[Counter]:
            return _Children(Counter(f"petitbleu_{name}", text, labels, registry=registry).labels)

        def total(name: str, text: str) -> Counter:
            return Counter(f"petitbleu_{name}", text, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> _Children[Histogram]:
            return _Children(Histogram(f"petitbleu_{name}", text, labels, buckets=buckets, registry=registry).labels)

        self._accepted = counter("events_accepted", "Events stored.", "queue", "type")
        self._refused = counter("events_refused", "Events of calls that were refused.", "reason")
        self._intake = histogram("intake_seconds", "A call, from read to stored or refused.", _QUICK, "result")
        self._steps = counter("steps", "What claimed events became.", "queue", "status")
        self._attempts = counter(
            "attempts", "Tries written down in an event's record.", "channel", "provider", "outcome", "scope"
        )
        self._delivery = histogram("delivery_seconds", "A channel handing over one message.", _SLOW, "channel")
        self._sent_after = histogram(
            "sent_after_seconds", "From accepted, or from the scheduled time, to sent.", _SLOW, "queue"
        )
        self._under_way = _Children(
            Gauge(
                "petitbleu_events_under_way",
                "Claimed events this process is working on.",
                ["queue"],
                registry=registry,
            ).labels
        )
        self._claim = histogram("claim_seconds", "One claim.", _QUICK, "queue")
        self._batch = histogram("batch_size", "What one write, or one claim, took together.", _SIZES, "kind")
        self._render_limits = total("render_limits", "Messages whose template wanted more than it may use up.")
        self._repeated = total("events_repeated", "Events that were known already and got the first one's id.")
        self._doubtful = counter(
            "possible_duplicates", "Messages sent again though a provider may have the first one.", "channel", "cause"
        )
        self._rescued = total("leases_rescued", "Events taken back from workers that gave no sign.")
        self._requests = counter("http_requests", "Requests that were answered.", "path", "status")
        self._requests_under_way = Gauge(
            "petitbleu_http_requests_under_way", "Requests that were not yet answered.", registry=registry
        )
        self._limits_reached = counter("limits_reached", "How often a limit of the configuration held.", "limit")
        self._woken = counter("wakeups", "Announcements of work between processes.", "way")
        self._archived = total("archived_events", "Events that were written into the archive.")
        self._purged = counter("purged_rows", "Rows deleted since their time was over.", "table")
        self._put_backs = counter(
            "put_backs", "Events put back because a provider was given no more.", "channel", "provider", "reason"
        )
        self._probes = counter(
            "probes", "Messages by which a provider was tried after a pause.", "channel", "provider", "result"
        )
        self._receipts = counter("receipts", "Receipts whose attempt was found.", "channel", "state")
        self._unmatched = counter("receipts_unmatched", "Receipts of messages that are not known here.", "channel")
        self._recycled = counter(
            "recycled_events", "Events that went on by another channel.", "channel", "to", "failure"
        )
        self._suppressed = counter(
            "suppressed", "Events ignored since their address is suppressed.", "channel", "reason"
        )
        self._suppressions = counter(
            "suppressions_added", "Addresses that feedback put on the suppression list.", "channel", "reason"
        )
        self._safe_mode = Gauge(
            "petitbleu_safe_mode", "1 where nobody but those of safe_mode.allow is written to.", registry=registry
        )
        self._notices = counter("notices", "Notices of the outbox, by what became of them.", "subscription", "result")
        for queue in Queue:
            self._under_way(queue.value)

    # ----------------------------------------------------------------------------------------------------------- HTTP

    @contextmanager
    def request(self) -> Iterator[None]:
        self._requests_under_way.inc()
        try:
            yield
        finally:
            self._requests_under_way.dec()

    def answered(self, path: str, status: int) -> None:
        """`path` is that of the route; "" is no route of ours."""
        self._requests(path, str(status)).inc()

    # --------------------------------------------------------------------------------------------------------- intake

    def measured(self, accept: Accept) -> Accept:
        """`accept`, timed, its refusals counted."""

        async def measured(events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> list[int]:
            started = self._clock()
            result = "accepted"
            try:
                return await accept(events, operator, key)
            except Exception as error:
                result = next(name for kind, name in _REFUSALS if isinstance(error, kind))
                self._refused(result).inc(len(events))
                raise
            finally:
                self._intake(result).observe(self._clock() - started)

        return measured

    def accepted(self, event: Event) -> None:
        self._accepted(event.queue.value, event.type).inc()

    def limit_reached(self, limit: str) -> None:
        """`limit` is the setting's name, such as `limits.pending`."""
        self._limits_reached(limit).inc()

    # ---------------------------------------------------------------------------------------------------------- queue

    def claiming(self, queue: Queue) -> AbstractContextManager[None]:
        return _Timed(self._claim(queue.value), self._clock)

    def batch(self, kind: str, size: int) -> None:
        self._batch(kind).observe(size)

    def repeated(self, events: int) -> None:
        self._repeated.inc(events)

    def rescued(self, events: int) -> None:
        self._rescued.inc(events)

    def woken(self, way: str) -> None:
        """`way` is `sent` or `heard`."""
        self._woken(way).inc()

    def safe_mode(self, on: bool) -> None:
        self._safe_mode.set(on)

    def archived(self, events: int) -> None:
        self._archived.inc(events)

    def purged(self, table: str, rows: int) -> None:
        self._purged(table).inc(rows)

    # ------------------------------------------------------------------------------------------------------- delivery

    def under_way(self, queue: Queue) -> AbstractContextManager[None]:
        return self._under_way(queue.value).track_inprogress()

    def delivering(self, channel: str) -> AbstractContextManager[None]:
        return _Timed(self._delivery(channel), self._clock)

    def put_back(self, channel: str, provider: str, reason: str) -> None:
        self._put_backs(channel, provider, reason).inc()

    def probed(self, channel: str, provider: str, result: str) -> None:
        self._probes(channel, provider, result).inc()

    def receipt(self, channel: str, state: str) -> None:
        self._receipts(channel, state).inc()

    def receipt_unmatched(self, channel: str) -> None:
        self._unmatched(channel).inc()

    def recycled(self, channel: str, to: str, failure: str) -> None:
        self._recycled(channel, to, failure).inc()

    def render_limit(self) -> None:
        self._render_limits.inc()

    def possible_duplicate(self, channel: str, cause: str) -> None:
        """`no_answer`: of the provider; `worker_lost`: it stopped after the hand-over; `lease_lost`: the answer came
        when somebody else had the event."""
        self._doubtful(channel, cause).inc()

    def suppression_added(self, channel: str, reason: str) -> None:
        self._suppressions(channel, reason).inc()

    def noticed(self, subscription: str, result: str, notices: int) -> None:
        """`told`; `failed`, and tried again; `given_up`; `dropped`: too many wait already."""
        self._notices(subscription, result).inc(notices)

    def step(self, queue: Queue, status: str) -> None:
        self._steps(queue.value, status).inc()

    def suppressed(self, channel: str, reason: str) -> None:
        self._suppressed(channel, reason).inc()

    def attempt(self, channel: str, provider: str, outcome: str, scope: str) -> None:
        self._attempts(channel, provider, outcome, scope).inc()

    def sent_after(self, queue: Queue, seconds: float) -> None:
        self._sent_after(queue.value).observe(seconds)


__all__ = ["MOST_CHILDREN", "Metrics"]
