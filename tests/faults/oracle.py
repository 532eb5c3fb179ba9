"""Says what went wrong, from what callers were told, what the sink took and said, and what the database holds.

It looks at no log of the server under test, and at nothing while the test runs: three records go in, a verdict comes
out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

FINAL = frozenset(("sent", "ignored", "failed", "not_covered", "expired"))
TOLERANCE = 2.0
"""Seconds by which the clocks of two parts of the rig may differ, and a message be under way."""


@dataclass(frozen=True, slots=True)
class Call:
    """One push: `keys` are its events' externalIds. Acknowledged with `ids`, refused, or neither is known.

    Times are seconds since 1970; `scheduled` and `expires` hold for all its events.
    """

    keys: tuple[str, ...]
    said: str
    """`acked`, `refused` or `indeterminate`."""
    ids: tuple[int, ...] = ()
    began: float = 0.0
    ended: float = 0.0
    scheduled: float | None = None
    expires: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The sink took a message of this event, or one of its parts."""

    id: int
    at: float
    part: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """What the provider said later of a message of this event, as the product has heard and acknowledged it."""

    id: int
    state: str
    """`received` or `bounced`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An event as the database has it in the end. `queued` says that it still has a row in the queue."""

    id: int
    key: str
    status: str
    reason: str = ""
    queued: bool = False
    processed: float | None = None
    feedback: str = ""
    """What it holds to be the last word of the provider."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt as the database has it in the end."""

    id: int
    number: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault, and what those it struck had leased at that moment; a provider may have what is `handed_off`."""

    at: float
    leased: frozenset[int] = frozenset()
    handed_off: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Records:
    """Everything the oracle is told. `waited` is when the wait for the last event ended."""

    calls: Sequence[Call] = ()
    receipts: Sequence[Receipt] = ()
    events: Sequence[Stored] = ()
    attempts: Sequence[Tried] = ()
    strikes: Sequence[Strike] = ()
    handed_off: int | None = None
    """H where a strike cannot tell it."""
    waited: float = 0.0
    reports: Sequence[Report] = ()
    unmatched: int = 0
    """Messages that are reported of, and nobody knows which ones they are; each once, however often that was told."""
    over_window: int = 0
    """Messages that came while the provider had as many as it allows."""
    dead: frozenset[str] = frozenset()
    """Addresses of which the provider said that they are gone for good, as the list has them."""
    suppressed: frozenset[str] = frozenset()
    """Addresses that are on the suppression list."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts, and for each kind of defect the first few events that have it."""

    acked: int = 0
    refused: int = 0
    indeterminate: int = 0
    received: int = 0
    lost: int = 0
    dup: int = 0
    h: int = 0
    ghosts: int = 0
    false_sent: int = 0
    false_failed: int = 0
    early: int = 0
    late: int = 0
    failed: int = 0
    """Acknowledged, not received, in a final state with its reason: not lost, but not delivered either."""
    unknown: int = 0
    """Ended `failed` because nobody knows, received or not: the provider's answer was cut off once too often."""
    same_key: int = 0
    """Events that share a key with another one."""
    partial: int = 0
    """Calls of which some events are stored and some are not."""
    two_finals: int = 0
    """Events with two attempts that were delivered."""
    unmatched: int = 0
    misreported: int = 0
    """Events that do not hold what the provider reported of them."""
    over_window: int = 0
    wrongly_suppressed: int = 0
    """Addresses on the list of which the provider said no such thing."""
    unsuppressed: int = 0
    """Dead addresses that are not on the list."""
    recovery: float | None = None
    """Seconds until what the struck ones had leased was done; None where nothing was."""
    answer: tuple[float, float, float] | None = None
    """p50, p95 and p99 of the calls that were acknowledged, in seconds."""
    delivery: tuple[float, float, float] | None = None
    """The same from acknowledged to received."""
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def broken(self, **most: float) -> list[str]:
        """Which counts exceed what is allowed; those not named are not looked at."""
        known = {one.name for one in fields(self)}
        found = []
        for name, limit in most.items():
            if name not in known:
                raise ValueError(f"the oracle does not count {name!r}")
            value = getattr(self, name)
            if value is not None and value > limit:
                some = ", ".join(self.examples.get(name, ()))
                found.append(f"{name} {value:.4g} > {limit:.4g}" + (f" ({some})" if some else ""))
        return found


def judge(records: Records) -> Verdict:
    """Join the three records."""
    parts = Counter((receipt.id, receipt.part) for receipt in records.receipts)
    received: Counter[int] = Counter()
    for (one, _), times in parts.items():
        received[one] = max(received[one], times)
    first: dict[int, float] = {}
    for receipt in sorted(records.receipts, key=lambda one: one.at):
        first.setdefault(receipt.id, receipt.at)
    events = {event.id: event for event in records.events}
    by_key: dict[str, list[int]] = {}
    for event in records.events:
        by_key.setdefault(event.key, []).append(event.id)

    acked_calls = [call for call in records.calls if call.said == "acked"]
    acked = {one for call in acked_calls for one in call.ids}
    told = {key for call in records.calls if call.said != "refused" for key in call.keys}
    refused_keys = {key for call in records.calls if call.said == "refused" for key in call.keys} - told

    unsent = [one for one in records.events if one.status in FINAL - {"sent"} and not one.queued]
    unknown = [one for one in unsent if one.reason.startswith("unknown:")]
    unsent = [one for one in unsent if one not in unknown]

    reported = {report.id: report.state for report in records.reports}

    defects: dict[str, list[object]] = {
        "lost": [one for one in acked if not received[one] and not _ended(events.get(one))],
        "dup": [one for one, times in received.items() for _ in range(times - 1)],
        # stored or sent though its caller was told no, or sent though nobody ever stored it
        "ghosts": [
            *(one for key in refused_keys for one in by_key.get(key, ())),
            *(one for one in received if one not in events),
        ],
        "false_sent": [one.id for one in records.events if one.status == "sent" and not received[one.id]],
        # what the provider took and could not deliver has failed
        "false_failed": [_ending(one) for one in unsent if received[one.id] and reported.get(one.id) != "bounced"],
        "failed": [_ending(one) for one in unsent if one.id in acked and not received[one.id]],
        "unknown": [one.id for one in unknown],
        "same_key": [one for key, ids in by_key.items() if key for one in ids[1:]],
        "partial": [
            call.keys[0] for call in records.calls if 0 < sum(key in by_key for key in call.keys) < len(call.keys)
        ],
        "two_finals": [
            one
            for one, times in Counter(tried.id for tried in records.attempts if tried.outcome == "delivered").items()
            if times > 1
        ],
        "misreported": [f"{event.id} {event.feedback!r}" for event in records.events if _misreported(event, reported)],
        "wrongly_suppressed": [*sorted(records.suppressed - records.dead)],
        "unsuppressed": [*sorted(records.dead - records.suppressed)],
        "early": _untimely(records, lambda at, call: call.scheduled is not None and at < call.scheduled),
        "late": _untimely(records, lambda at, call: call.expires is not None and at > call.expires + TOLERANCE),
    }
    return Verdict(
        acked=len(acked),
        refused=sum(len(call.keys) for call in records.calls if call.said == "refused"),
        indeterminate=sum(len(call.keys) for call in records.calls if call.said == "indeterminate"),
        received=len(received),
        unmatched=records.unmatched,
        over_window=records.over_window,
        h=_handed_off(records),
        recovery=_recovery(records, events),
        answer=percentiles(call.ended - call.began for call in acked_calls),
        delivery=percentiles(
            first[one] - call.ended for call in acked_calls if not call.scheduled for one in call.ids if one in first
        ),
        examples={name: [str(one) for one in found[:5]] for name, found in defects.items() if found},
        **{name: len(found) for name, found in defects.items()},
    )


def _ended(event: Stored | None) -> bool:
    """With a reason; that of *sent* is its receipt, which is looked for elsewhere."""
    return event is not None and event.status in FINAL - {"sent"} and bool(event.reason) and not event.queued


def _misreported(event: Stored, reported: Mapping[int, str]) -> bool:
    return event.id in reported and event.feedback != reported[event.id]


def _ending(event: Stored) -> str:
    return f"{event.id} {event.status}: {event.reason[:60]}"


def _untimely(records: Records, bad: Callable[[float, Call], bool]) -> list[object]:
    calls = {one: call for call in records.calls for one in call.ids}
    return [one.id for one in records.receipts if one.id in calls and bad(one.at, calls[one.id])]


def _handed_off(records: Records) -> int:
    if records.handed_off is not None:
        return records.handed_off
    return sum(len(strike.handed_off) for strike in records.strikes)


def _recovery(records: Records, events: Mapping[int, Stored]) -> float | None:
    """Each event is timed from the last strike that hit it: how long the others took is theirs."""
    struck: dict[int, float] = {}
    for strike in sorted(records.strikes, key=lambda one: one.at):
        struck |= dict.fromkeys(strike.leased, strike.at)
    ends = {one: events[one].processed if one in events else None for one in struck}
    return max((max(0.0, (ends[one] or records.waited) - at) for one, at in struck.items()), default=None)


def percentiles(values: Iterable[float]) -> tuple[float, float, float] | None:
    """p50, p95 and p99 by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.50, 0.95, 0.99))
    return p50, p95, p99
