"""Events that come twice: which of them are new, which repeat an earlier one, and which misuse its key.

The key is what the caller chose: origin, type and externalId. Within the window of its type it stands for one content:
queue, attributes and children as the caller wrote them, in whatever order of attributes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import EventProblem, EventsRefused
from .store.payload import micros
from .types import Event


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


@dataclass(frozen=True, slots=True)
class Proposal:
    """An event under the id that it gets if it is new. `key` is empty where nothing can repeat; `until` is the end of
    the window in microseconds."""

    id: int
    event: Event
    key: str = ""
    digest: str = ""
    until: int = 0


def propose(event_id: int, event: Event, windows: Mapping[str, int]) -> Proposal:
    """`windows` are microseconds by event type."""
    window = windows.get(event.type)
    if window is None or not event.external_id:
        return Proposal(event_id, event)
    key = _hash([event.origin, event.type, event.external_id])
    digest = _hash([event.queue.value, event.data])
    return Proposal(event_id, event, key, digest, micros(event.created) + window)


def resolve(calls: Sequence[Sequence[Proposal]], known: Mapping[str, First]) -> list[list[Stored] | EventsRefused]:
    """The answer to each call, in order. What a refused call proposed counts for nobody."""
    known = dict(known)
    answers: list[list[Stored] | EventsRefused] = []
    for call in calls:
        own: dict[str, tuple[int, First]] = {}
        answer: list[Stored] = []
        problems: list[EventProblem] = []
        for position, one in enumerate(call, 1):
            earlier, first = own.get(one.key, (0, known.get(one.key)))
            if first is None:
                if one.key:
                    own[one.key] = position, First(one.id, one.digest)
                    problems += _too_late(position, one.event)
                answer.append(Stored(one.id))
            elif first.digest == one.digest:
                answer.append(Stored(first.id, fresh=False))
            else:
                problems.append(_problem(position, one.event, earlier, first.id))
        if problems:
            answers.append(EventsRefused(problems))
        else:
            known.update({key: first for key, (_, first) in own.items()})
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
