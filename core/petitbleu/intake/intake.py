"""The one door in: every event of a call is checked, then all are stored in one commit, or none."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any, TypeVar

from ..addresses import email_address, instant, phone_number, registration_token
from ..channels import ADDRESSES, ATTRIBUTES, EMAIL, MOBILE_PHONE, REGISTRATION_TOKEN, Wish, default_wish
from ..data import Element, json_size
from ..deadlines import within
from ..errors import AccessDenied, EventProblem, EventsRefused, Unavailable
from ..hosting.calling import HookFailed
from ..hosting.calls import Calls
from ..metrics import Metrics
from ..queue.idempotency import CallKey
from ..queue.queue import WorkQueue
from ..suggest import did_you_mean
from ..types import Event, IncomingEvent, Operator, Queue
from .contract import Contract
from .reading import Reading, Refused, half_characters, read_language, read_priority

T = TypeVar("T")
TELLERS = 32
"""Accepted events of which observers hear at the same time."""


_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Limits:
    """`events` of one call, `pending` in the queue, `attribute` characters of one attribute, `data` bytes of one
    event as JSON; `lifetime` is how long an event without an expiration may live; `deadline` is for one call; `untold`
    accepted events wait for slow observers."""

    events: int
    pending: int
    attribute: int
    data: int
    lifetime: timedelta
    deadline: float
    untold: int = 10_000


@dataclass(frozen=True, slots=True)
class TypeRules:
    """What intake knows of an event type: the brand it speaks for, what its ctx must hold, and whether one of its
    events may come twice and be the same."""

    brand: str = ""
    contract: Contract | None = None
    repeatable: bool = False


@dataclass(slots=True)
class _Calls:
    """Those that were checked against the same types and channels, and are not through yet."""

    under_way: int = 0


class Intake:
    """Implements `services.Accept`."""

    def __init__(
        self,
        queue: WorkQueue,
        calls: Calls,
        types: Mapping[str, TypeRules],
        wishes: Mapping[str, Wish],
        limits: Limits,
        time_zone: tzinfo,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        metrics: Metrics | None = None,
        addresses: Mapping[str, Callable[[str], str]] = MappingProxyType({}),
    ) -> None:
        """`addresses` are the attributes that plugins' channels have for an address, with their checks."""
        self._queue = queue
        self._calls = calls
        self._types = self._every_type = types
        self._wishes = self._every_wish = wishes
        self._calls_in = _Calls()
        self._limits = limits
        self._time_zone = time_zone
        self._now = now
        self._monotonic = monotonic
        self._metrics = metrics or Metrics()
        self._addresses = addresses
        self._every_address = {*ADDRESSES, *addresses}
        self._canonical = {**ATTRIBUTES, **{name.lower(): name for name in addresses}}
        self._canonical |= {name: name for name in self._canonical.values()}
        self._untold: deque[Event] = deque()
        self._tellers: set[asyncio.Task[None]] = set()

    async def __call__(self, events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> list[int]:
        if not operator.may("push"):
            raise AccessDenied
        depth = self._queue.depth.known(self._monotonic)
        if depth is None:
            depth = await self._look(self._queue.depth.count(self._monotonic))
        beyond = depth + len(events) - self._limits.pending
        if beyond > 0 and not key and not any(map(self._may_be_known, events)):
            raise self._full(depth)
        if not events:
            return []
        counted = self._calls_in
        counted.under_way += 1
        try:
            return await self._take(events, operator, key, beyond, depth)
        finally:
            counted.under_way -= 1

    async def _take(
        self, events: Sequence[IncomingEvent], operator: Operator, key: str, beyond: int, depth: int
    ) -> list[int]:
        checked = self.check(events, repeatable=bool(key))
        call = CallKey(operator.login, key) if key else None
        if any(not operator.may("push", event.type, self._types[event.type].brand) for event in checked):
            raise AccessDenied
        # what is stored already needs no room
        if beyond > 0 and beyond > await self._look(self._queue.known(checked, call)):
            raise self._full(depth)
        await self._ask(checked)
        try:
            async with asyncio.timeout(self._limits.deadline):
                stored = await self._queue.store(checked, call)
        except TimeoutError:
            raise self._late("it is not known whether it stored the events") from None
        self._tell(replace(event, id=one.id) for event, one in zip(checked, stored, strict=True) if one.fresh)
        return [one.id for one in stored]

    async def retire(self, types: Collection[str], channels: Collection[str]) -> None:
        """From now on do not know these; what was retired before is known again. Returns when no call is on its way in
        that knew them."""
        self._types = {name: rules for name, rules in self._every_type.items() if name not in types}
        self._wishes = {name: wish for name, wish in self._every_wish.items() if wish.channel not in channels}
        before, self._calls_in = self._calls_in, _Calls()
        while before.under_way:  # noqa: ASYNC110 - a call pays for a counter, not for telling
            await asyncio.sleep(0.005)

    def check(self, events: Sequence[IncomingEvent], repeatable: bool = False) -> list[Event]:
        """The events, valid, with id 0; `repeatable` ones may be over by now. Raises `EventsRefused` with every problem
        of every event, `Unavailable` where a plugin's check of an address fails."""
        if len(events) > self._limits.events:
            self._metrics.limit_reached("limits.events")
            text = f"{len(events)} events in one call; the limit is {self._limits.events}"
            raise EventsRefused([EventProblem(self._limits.events + 1, "", "", text)])
        created = datetime.fromtimestamp(self._now() / 1e6, UTC)
        problems: list[EventProblem] = []
        try:
            checked = [
                self._check_one(position, event, created, problems, repeatable)
                for position, event in enumerate(events, 1)
            ]
        except HookFailed as failed:
            raise Unavailable(f"the event cannot be checked now ({failed.plugin})") from failed
        if problems:
            raise EventsRefused(problems)
        return [event for event in checked if event is not None]

    async def _look(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._limits.deadline, work)
        except TimeoutError:
            raise self._late("nothing is stored") from None

    def _late(self, but: str) -> Unavailable:
        self._metrics.limit_reached("limits.deadline")
        return Unavailable(f"the database did not answer in time; {but}")

    def _full(self, depth: int) -> Unavailable:
        self._metrics.limit_reached("limits.pending")
        return Unavailable(f"The queue is full ({depth}/{self._limits.pending})")

    def _may_be_known(self, event: IncomingEvent) -> bool:
        """Told before it is checked, since a full queue is no time for work in vain."""
        given = {name.lower(): value.strip() for name, value in event.attributes.items()}
        rules = self._types.get(given.get("type", ""))
        return rules is not None and rules.repeatable and bool(given.get("externalid"))

    async def _ask(self, events: Sequence[Event]) -> None:
        problems = []
        for position, event in enumerate(events, 1):
            try:
                verdict = await self._calls.check_event(event)
            except HookFailed as failed:
                raise Unavailable(f"the event cannot be checked now ({failed.plugin})") from failed
            if verdict is not None:
                problems.append(EventProblem(position, event.external_id, verdict.attribute, verdict.reason))
        if problems:
            raise EventsRefused(problems)

    def _tell(self, events: Iterable[Event]) -> None:
        """Observers hear of it after the commit and keep no caller waiting; those that are too slow miss some."""
        for event in events:
            if len(self._untold) + len(self._tellers) >= self._limits.untold:
                self._metrics.limit_reached("limits.untold")
            else:
                self._untold.append(event)
        # those that are still at it wait for a slow plugin, which must not keep the others from hearing
        if self._untold and len(self._tellers) < TELLERS:
            teller = asyncio.create_task(self._tell_all())
            self._tellers.add(teller)
            teller.add_done_callback(self._tellers.discard)

    async def _tell_all(self) -> None:
        while self._untold:
            await self._calls.event_accepted(self._untold.popleft())

    async def settle(self) -> None:
        """Wait until observers have heard of everything accepted so far."""
        await asyncio.gather(*self._tellers, return_exceptions=True)

    def _check_one(
        self,
        position: int,
        incoming: IncomingEvent,
        created: datetime,
        problems: list[EventProblem],
        repeatable: bool,
    ) -> Event | None:
        found = [(one.attribute, one.reason) for one in incoming.problems]
        if any(not name for name, _ in found):
            # it is no event at all, so nothing else can be said of it
            problems += [EventProblem(position, "", name, text) for name, text in found]
            return None
        values = self._attributes(incoming.attributes, found)
        data: dict[str, Any] = Element(values)
        for name, child in incoming.children.items():
            data[self._spelled(name)] = child

        reading = Reading(values, found)
        country = values.get("country", "").strip()
        addresses = self._addresses_of(reading, country)
        event_type = reading.one("type", self._known_type, "")
        if not event_type and "type" not in reading.failed():
            found.append(("type", "is missing; it names the event type"))
        wish = self._wish_of(reading, addresses)
        scheduled, expiration = self._times_of(reading, event_type, created, repeatable)
        priority = reading.one("priority", read_priority, 5)
        language = reading.one("language", read_language, "")
        found += self._content(event_type, data)
        if found:
            external = values.get("externalId", "")[:64]
            problems += [EventProblem(position, external, name, text) for name, text in found]
            return None
        return Event(
            id=0,
            type=event_type,
            queue=Queue(incoming.queue),
            channel=wish.channel if wish is not None else "",
            data=data,
            created=created,
            addresses=addresses,
            language=language,
            country=country,
            external_id=values.get("externalId", ""),
            origin=values.get("origin", ""),
            priority=priority,
            scheduled=scheduled,
            expiration=expiration or self._end_of(scheduled or created),
        )

    def _end_of(self, start: datetime) -> datetime:
        try:
            return start + self._limits.lifetime
        except OverflowError:
            return _NEVER

    def _addresses_of(self, reading: Reading, country: str) -> dict[str, str]:
        return {
            name: value
            for name, parse in (
                (EMAIL, email_address),
                (MOBILE_PHONE, lambda text: phone_number(text, country)),
                (REGISTRATION_TOKEN, registration_token),
                *self._addresses.items(),
            )
            if (value := reading.one(name, parse))
        }

    def _wish_of(self, reading: Reading, addresses: Mapping[str, str]) -> Wish | None:
        """The channel that is asked for, or else that of the addresses there are."""
        wish: Wish | None = reading.one("wishedChannel", self._wish)
        failed = reading.failed()
        if wish is None and not failed & {*self._every_address, "wishedChannel"}:
            wish = default_wish(addresses, self._wishes)
            if wish is None:
                text = "the event has no address; give email or mobilePhone, or a wishedChannel"
                reading.found.append((EMAIL, text))
        if wish is not None and wish.address not in addresses and wish.address not in failed:
            reading.found.append((wish.address, f"is missing; the channel {wish.channel} needs it"))
        return wish

    def _times_of(
        self, reading: Reading, event_type: str, created: datetime, repeatable: bool
    ) -> tuple[datetime | None, datetime | None]:
        """When it is to be sent, and until when."""
        scheduled: datetime | None = reading.one("scheduled", lambda text: instant(text, self._time_zone))
        expiration: datetime | None = reading.one("expiration", lambda text: instant(text, self._time_zone))
        # a repeat may come after its expiration; that it is none is seen where its key is looked up
        if reading.values.get("externalId") and event_type in self._types:
            repeatable = repeatable or self._types[event_type].repeatable
        if expiration is not None and expiration <= (scheduled or created) and (scheduled or not repeatable):
            text = "is not after the scheduled time" if scheduled else "has passed"
            reading.found.append(("expiration", text))
        return scheduled, expiration

    def _spelled(self, name: str) -> str:
        """As the core writes the name of an attribute, however the caller does; nearly all write it so."""
        return self._canonical.get(name) or self._canonical.get(name.lower(), name)

    def _attributes(self, given: Mapping[str, str], found: list[tuple[str, str]]) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, value in given.items():
            canonical = self._spelled(name)
            if len(value) > self._limits.attribute:
                self._metrics.limit_reached("limits.attribute")
                found.append((canonical, f"has {len(value)} characters; the limit is {self._limits.attribute}"))
            elif "\0" in value:
                # JSON can hold it; PostgreSQL keeps no text with it
                found.append((canonical, "holds a NUL character"))
            elif canonical in values and values[canonical] != value:
                found.append((canonical, "is given twice with different values"))
            else:
                values[canonical] = value
        found += [
            (name, f"has {len(values[name])} characters; the limit is 255")
            for name in ("externalId", "origin")
            if len(values.get(name, "")) > 255
        ]
        return values

    def _known_type(self, text: str) -> str:
        if text not in self._types:
            hint = did_you_mean(text, self._types)
            raise Refused(f"{text[:64]!r} is not a declared event type" + (f"; {hint}" if hint else ""))
        return text

    def _wish(self, text: str) -> Wish:
        wish = self._wishes.get(text.lower())
        if wish is not None:
            return wish
        if re.fullmatch(r"[+-]?\d{1,20}", text):
            number = int(text)
            if not -128 <= number <= 127:
                raise Refused(f"{number} is out of range for a signed 8-bit number (-128 to 127)")
            if str(number) in self._wishes:
                return self._wishes[str(number)]
            raise Refused(f"no channel has the number {number}")
        names = sorted(name for name in self._wishes if not name.isdigit())
        raise Refused(f"{text[:64]!r} is not a channel; channels are {', '.join(names)}")

    def _content(self, event_type: str, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        try:
            size = json_size(data)
        except UnicodeEncodeError:
            return half_characters(data)
        if size > self._limits.data:
            self._metrics.limit_reached("limits.data")
            return [("ctx", f"the event has {size} bytes; the limit is {self._limits.data}")]
        rules = self._types.get(event_type)
        return rules.contract.problems(data.get("ctx")) if rules is not None and rules.contract is not None else []
