"""Events that come twice: which of them are new, which repeat an earlier one, and which misuse its key.

The key is what the caller chose: origin, type and externalId. Within the window of its type it stands for one content:
queue, attributes and children as the caller wrote them, in whatever order of attributes.

A whole call may have a key as well, which its operator chose: it stands for the contents of all of its events, and for
the ids that they got.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EventProblem, EventsRefused, KeyReused
from ..store.payload import micros
from ..types import Event


@dataclass(frozen=True, slots=True)
class Stored:
    """The id that answers for an event; `fresh` unless it is the id of an earlier event with the same key."""

    id: int
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class First:
    """What a key stands for already: the id of its event and the digest of its content."""

    id: int
    digest: str
    ids: tuple[int, ...] = ()
    """Of a call's key: the ids of all of its events."""


@dataclass(frozen=True, slots=True)
class CallKey:
    """What an operator calls a call."""

    login: str
    key: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """An event under the id that it gets if it is new. `key` is empty where nothing can repeat; `until` is the end of
    the window in microseconds."""

    id: int
    event: Event
    key: str = ""
    digest: str = ""
    until: int = 0


@dataclass(frozen=True, slots=True)
class Proposed:
    """The events of a call, with the key of the call itself if it has one."""

    events: Sequence[Proposal]
    key: str = ""
    digest: str = ""
    until: int = 0

    def all_keys(self) -> list[str]:
        return [key for key in (self.key, *(one.key for one in self.events)) if key]


def call_key(call: CallKey) -> str:
    """As it is stored; never that of an event."""
    return _hash({"login": call.login, "key": call.key})


def propose_call(events: Sequence[Proposal], call: CallKey | None, window: int) -> Proposed:
    """`window` is for how many microseconds the call's key stands for it."""
    if call is None or not events:
        return Proposed(events)
    digest = _hash([[one.event.queue.value, one.event.data] for one in events])
    return Proposed(events, call_key(call), digest, micros(events[0].event.created) + window)


def propose(event_id: int, event: Event, windows: Mapping[str, int]) -> Proposal:
    """`windows` are microseconds by event type."""
    window = windows.get(event.type)
    if window is None or not event.external_id:
        return Proposal(event_id, event)
    key = _hash([event.origin, event.type, event.external_id])
    digest = _hash([event.queue.value, event.data])
    return Proposal(event_id, event, key, digest, micros(event.created) + window)


def resolve(calls: Sequence[Proposed], known: Mapping[str, First]) -> list[list[Stored] | EventsRefused]:
    """The answer to each call, in order. What a refused call proposed counts for nobody."""
    known = dict(known)
    answers: list[list[Stored] | EventsRefused] = []
    for call in calls:
        before = known.get(call.key) if call.key else None
        if before is not None:
            answers.append(
                [Stored(number, fresh=False) for number in before.ids] if before.digest == call.digest else KeyReused()
            )
            continue
        own: dict[str, tuple[int, First]] = {}
        answer: list[Stored] = []
        problems: list[EventProblem] = []
        for position, one in enumerate(call.events, 1):
            earlier, first = own.get(one.key, (0, known.get(one.key)))
            if first is None:
                if one.key:
                    own[one.key] = position, First(one.id, one.digest)
                if one.key or call.key:
                    problems += _too_late(position, one.event)
                answer.append(Stored(one.id))
            elif first.digest == one.digest:
                answer.append(Stored(first.id, fresh=False))
            else:
                problems.append(_problem(position, one.event, earlier, first.id))
        if problems:
            answers.append(EventsRefused(problems))
            continue
        known.update({key: first for key, (_, first) in own.items()})
        if call.key:
            known[call.key] = First(answer[0].id, call.digest, tuple(one.id for one in answer))
        answers.append(answer)
    return answers


def _too_late(position: int, event: Event) -> list[EventProblem]:
    """A repeat may come after its expiration, a new event may not."""
    if event.scheduled is not None or event.expiration is None or event.expiration > event.created:
        return []
    return [EventProblem(position, event.external_id[:64], "expiration", "has passed")]


def _problem(position: int, event: Event, earlier: int, first_id: int) -> EventProblem:
    # an earlier event of the same call has no id that anyone could look up
    first = f"event {earlier} of this call" if earlier else f"event {first_id}"
    text = f"is that of {first}, whose content differs; a new event needs an externalId of its own"
    return EventProblem(position, event.external_id[:64], "externalId", text)


def _hash(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
