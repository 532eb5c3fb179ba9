"""Events as operators look for them, look at them and change them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, get_args

from ..addresses import DEVICE
from ..errors import AccessDenied, InputRefused, NotFound, QueryRefused
from ..lifecycle import PENDING, PROCESSING
from ..masking import Masks
from ..operating import (
    Actor,
    Done,
    EventAction,
    EventAttempt,
    EventFilter,
    EventReceipt,
    EventRecord,
    EventRecycling,
    FoundEvent,
    Page,
    RenderedMessage,
)
from ..operations.operations import Operations
from ..status import Status
from ..store.payload import moment, optional_moment
from ..types import Channel, Comparison, Condition, Content, Event, EventQuery, Junction, Operator, Queue
from .embedding import embedded
from .listing import Sizes, clean, cursor, page, place

OPEN = "open"
_TERMS: Mapping[str, tuple[str, Literal["=", "<", ">="]]] = {
    "type": ("type", "="),
    "status": ("status", "="),
    "feedback": ("feedback", "="),
    "external_id": ("externalId", "="),
    "email": ("email", "="),
    "mobile_phone": ("mobilePhone", "="),
    "device": ("device", "="),
    "channel": ("channel", "="),
    "origin": ("origin", "="),
    "template": ("template", "="),
    "brand": ("brand", "="),
    "cause": ("cause", "="),
    "ended_since": ("processed", ">="),
    "ended_before": ("processed", "<"),
    "created_since": ("created", ">="),
    "created_before": ("created", "<"),
}
"""By the field of the filter: what it compares, and how."""


class DeskEvents:
    """Implements `operating.EventDesk`. `changes` is how many events one call may change; `brands` maps event types to
    the brands they speak for; `now` is the database's clock in microseconds; `template_files` gives the files of
    `TYPE/CHANNEL vN`."""

    def __init__(
        self,
        status: Status,
        operations: Operations,
        load_event: Callable[[int], Awaitable[Event | None]],
        masks: Masks,
        brands: Mapping[str, str],
        now: Callable[[], int],
        sizes: Sizes,
        changes: int,
        channels: Mapping[str, Channel],
        template_files: Callable[[str], Awaitable[Mapping[str, bytes]]],
    ) -> None:
        self._status = status
        self._operations = operations
        self._load_event = load_event
        self._masks = masks
        self._brands = brands
        self._now = now
        self._sizes = sizes
        self._changes = changes
        self._channels = channels
        self._template_files = template_files

    async def search(self, wanted: EventFilter, operator: Operator, limit: int, cursor: str = "") -> Page[FoundEvent]:
        query = _query(wanted, self._sizes.checked(limit) + 1)
        return page(await self._status.newest(query, operator, place(cursor)), limit)

    async def count(self, wanted: EventFilter, operator: Operator) -> int:
        return await self._status.count(_query(wanted), operator)

    async def record(self, event_id: int, operator: Operator, *, data: bool = False) -> EventRecord:
        found = await self._status.find(EventQuery(Comparison("id", "=", (str(event_id),))), operator)
        if not found:
            raise NotFound(f"there is no event {event_id}")
        event = found[0]
        if data and not operator.may("data", event.type, self._brands.get(event.type, "")):
            raise AccessDenied
        kept = await self._load_event(event.id) if data else None
        return EventRecord(
            event,
            [attempt_of(row) for row in await self._status.attempts(event.id)],
            [receipt_of(row) for row in await self._status.receipts(event.id)],
            [recycling_of(row) for row in await self._status.recyclings(event.id)],
            self._masks.masked(kept.type, kept.data) if kept is not None else None,
        )

    async def rendered(
        self, event_id: int, number: int | None, operator: Operator, *, images: bool = False
    ) -> RenderedMessage:
        found = await self._status.find(EventQuery(Comparison("id", "=", (str(event_id),))), operator)
        if not found:
            raise NotFound(f"there is no event {event_id}")
        event = found[0]
        if not operator.may("data", event.type, self._brands.get(event.type, "")):
            raise AccessDenied
        if number is None:
            kept = [row["number"] for row in await self._status.attempts(event.id) if row["rendered"]]
            if not kept:
                raise NotFound(f"no message of event {event_id} is kept")
            number = kept[-1]
        copy = await self._status.rendered(event.id, number) if 0 < number < 1 << 31 else None
        if copy is None:
            raise NotFound(f"no message of attempt {number} of event {event_id} is kept")
        message = RenderedMessage(number=number, until=moment(copy["until"]), **copy["message"])
        return await self._with_images(message) if images else message

    async def _with_images(self, message: RenderedMessage) -> RenderedMessage:
        """The files are those of the template's version, which does not change: a copy has but their names."""
        channel = self._channels.get(message.channel)
        if channel is None:
            return message
        files = await self._template_files(message.template)
        return replace(message, parts=embedded(channel, Content(message.parts, message.fields, files)))

    async def change(
        self,
        action: EventAction,
        which: Sequence[int] | EventFilter,
        actor: Actor,
        *,
        to: str = "",
        reason: str = "",
        rehearsal: bool = False,
        limit: int = 0,
        cursor: str = "",
    ) -> Page[Done]:
        if action not in get_args(EventAction):
            raise QueryRefused(f"{action!r} is nothing that can be done to events")
        if not actor.operator.may("admin"):
            raise AccessDenied
        clean(reason)
        if (action == "reroute") != bool(to):
            raise QueryRefused("a channel to send by is what reroute needs, and nothing else")
        if to and to not in self._channels:
            raise QueryRefused(f"there is no channel {to[:64]!r}; there are {', '.join(sorted(self._channels))}")
        ids, following = which, ""
        if isinstance(which, EventFilter):
            ids, following = await self._meant(which, actor.operator, limit, cursor)
        elif len(which) > self._changes:
            self._sizes.limit_reached("limits.changes")
            raise QueryRefused(f"{len(which)} events; one call changes {self._changes} at most")
        operation = getattr(self._operations, action)
        more = {"to": to} if to else {}
        return Page(await operation(ids, actor, reason=reason, rehearsal=rehearsal, **more), following)

    async def _meant(
        self, wanted: EventFilter, operator: Operator, limit: int, given: str
    ) -> tuple[Sequence[int], str]:
        """A cursor is the time of the first call and the last id: what is done to the events may change what the filter
        means, and copies of them are new events."""
        if wanted == EventFilter():
            raise InputRefused([("filter", "says nothing, and would mean every event there is")])
        if limit > self._changes:
            self._sizes.limit_reached("limits.changes")
            raise QueryRefused(f"the number of events must be between 1 and {self._changes}")
        limit = limit if limit > 0 else self._changes
        until, after = place(given) or (self._now(), 0)
        ids = await self._status.ids(_query(wanted, limit + 1), operator, after, until)
        return ids[:limit], cursor((until, ids[limit - 1])) if len(ids) > limit else ""


def _query(wanted: EventFilter, limit: int = 1) -> EventQuery:
    """Raises `QueryRefused`."""
    wanted = replace(wanted, device=wanted.device[:DEVICE])
    clean(*(getattr(wanted, one.name) for one in fields(wanted)))
    terms: list[Condition] = [
        Comparison(*_TERMS[one.name], (value,))
        for one in fields(wanted)
        if one.name != "queue" and (value := getattr(wanted, one.name)) and (one.name, value) != ("status", OPEN)
    ]
    if wanted.status == OPEN:
        terms.append(Comparison("status", "in", (PENDING, PROCESSING)))
    if wanted.queue and wanted.queue not in list(Queue):
        raise QueryRefused(f"@queue: {wanted.queue!r} should be one of {', '.join(Queue)}")
    where = Junction("and", tuple(terms)) if terms else None
    return EventQuery(where, Queue(wanted.queue) if wanted.queue else None, limit=limit)


def attempt_of(row: Mapping[str, Any]) -> EventAttempt:
    return EventAttempt(
        row["number"],
        row["channel"],
        row["provider"],
        row["template"],
        moment(row["started"]),
        moment(row["ended"]),
        row["outcome"],
        row["scope"],
        row["code"],
        row["text"],
        row["reference"],
        row["feedback"],
        row["awaited"],
        bool(row["rendered"]),
    )


def receipt_of(row: Mapping[str, Any]) -> EventReceipt:
    return EventReceipt(
        row["number"],
        row["channel"],
        row["provider"],
        row["state"],
        row["text"],
        row["code"],
        row["scope"],
        bool(row["permanent"]),
        optional_moment(row["at"]),
        moment(row["received"]),
    )


def recycling_of(row: Mapping[str, Any]) -> EventRecycling:
    return EventRecycling(moment(row["at"]), row["number"], row["origin"], row["target"], row["reason"])
