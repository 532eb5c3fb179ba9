"""Events: found by one box, one event's way, and what can be done to one or to many."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import get_args
from urllib.parse import urlencode

from aiohttp import web
from petitbleu import (
    Data,
    EventAction,
    EventFilter,
    EventRecord,
    FoundEvent,
    IncomingEvent,
    PetitbleuError,
    Preview,
    QueryRefused,
    Queue,
)

from ..entrance import ROOT
from ..messages import framed, shown
from ..site import Site, View, Visit

ACTIONS: tuple[EventAction, ...] = get_args(EventAction)
REROUTE: EventAction = "reroute"
_BOX = ("external_id", "email", "mobile_phone")
"""What the one box asks for."""
_FILTERS = tuple(one.name for one in fields(EventFilter) if one.name not in _BOX)
"""Each has a field of its own under its name: a report's line leads here with what it counts."""
_TIMES_ASKED = tuple(name for name in _FILTERS if name.endswith(("_since", "_before")))
_RARER = ("queue", "device", "origin", "template", "cause", "ended_since", "ended_before")
"""What is asked for less often, and is folded away until it is."""
_TONES = {
    "sent": "good",
    "delivered": "good",
    "received": "good",
    "failed": "bad",
    "expired": "bad",
    "bounced": "bad",
    "complained": "bad",
    "deferred": "warn",
    "unknown": "warn",
    "ignored": "warn",
    "not_covered": "warn",
}
_TIMES = ("scheduled", "expiration")
_MOST = 100
"""Rounds of a change of many: each is as many events as the server takes at once."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an event's way."""

    at: datetime
    tone: str
    text: str


async def _list(site: Site, visit: Visit) -> web.StreamResponse:
    asked = _asked(site, visit.query)
    if asked["find"].isdecimal() and len(asked["find"]) < 20:
        try:
            found = await site.services.desk.events.record(int(asked["find"]), visit.operator)
        except PetitbleuError:
            pass  # a number can be an externalId too
        else:
            return site.back(visit, f"{ROOT}events/{found.event.id}")
    problem, more = "", ""
    events: Sequence[FoundEvent] = ()
    try:
        page = await site.services.desk.events.search(
            _filter(asked), visit.operator, site.lines, visit.query.get("cursor", "")
        )
    except QueryRefused as refused:
        problem = str(refused)
    else:
        events = page.items
        if page.cursor:
            more = f"{ROOT}events?" + urlencode({**_given(asked), "cursor": page.cursor})
    return site.page(
        visit,
        "events.html.j2",
        asked=asked,
        narrowed=bool(_given(asked)),
        rarer=any(asked[name] for name in _RARER),
        events=events,
        more=more,
        problem=problem,
        types=sorted(site.services.event_types.values(), key=lambda one: one.label),
        statuses=list(site.services.statuses.values()),
        names=site.services.statuses,
        channels=sorted(channel.name for channel in site.services.channels()),
        queues=[queue.value for queue in Queue],
        actions=ACTIONS,
        may_change=visit.operator.may("admin"),
    )


def _asked(site: Site, given: Mapping[str, str]) -> dict[str, str]:
    """What was asked for. Times become those of the instance's time zone, as the fields for them have it."""
    asked = {name: given.get(name, "").strip() for name in ("find", *_FILTERS)}
    for name in _TIMES_ASKED:
        try:
            at = datetime.fromisoformat(asked[name])
        except ValueError:
            continue  # the search says what is wrong with it
        if at.tzinfo is not None:
            asked[name] = at.astimezone(site.services.time_zone).replace(tzinfo=None).isoformat()
    return asked


def _given(asked: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value}


def _filter(asked: Mapping[str, str]) -> EventFilter:
    """What stands in the one box is an address where it looks like one, an externalId otherwise."""
    find = asked["find"]
    kind = "email" if "@" in find else "mobile_phone" if find.startswith("+") else "external_id"
    return EventFilter(**{name: asked[name] for name in _FILTERS}, **{kind: find})


async def _bulk(site: Site, visit: Visit) -> web.StreamResponse:
    """Shows first what would happen; does it when it is said again."""
    action, asked = _action(visit.form.get("action", "")), _asked(site, visit.form)
    if not _given(asked):
        raise QueryRefused(visit.say("Narrow the search first: this would be every event there is."))
    change, to = site.services.desk.events.change, visit.form.get("to", "")
    if visit.form.get("sure") != "yes":
        limit = min(site.lines, site.services.change_limit)
        page = await change(action, _filter(asked), visit.actor, to=to, rehearsal=True, limit=limit)
        return site.page(
            visit, "bulk.html.j2", action=action, to=to, asked=_given(asked), done=page.items, more=bool(page.cursor)
        )
    cursor, changed, left = "", 0, 0
    for _ in range(_MOST):
        page = await change(action, _filter(asked), visit.actor, to=to, cursor=cursor)
        changed += sum(one.ok for one in page.items)
        left += sum(not one.ok for one in page.items)
        cursor = page.cursor
        if not cursor:
            break
    text = visit.say(
        "{action}: {changed} events, {left} left as they are", action=visit.say(action), changed=changed, left=left
    )
    if cursor:
        text += ". " + visit.say("There are more: do it once more.")
    return site.back(visit, f"{ROOT}events?" + urlencode(_given(asked)), text)


async def _one(site: Site, visit: Visit) -> web.StreamResponse:
    record, sees_data = await _record(site, visit)
    found = await _message(site, visit, record)
    return site.page(
        visit,
        "event.html.j2",
        event=record.event,
        way=_way(site, visit, record),
        data=None if record.data is None else json.dumps(record.data, ensure_ascii=False, indent=2),
        sees_data=sees_data,
        message=None if found is None else shown(site, found.channel, found.message, visit.request.path + "/part"),
        kept=found is not None and found.kept,
        names=site.services.statuses,
        actions=await _possible(site, visit, record.event.id),
    )


async def _possible(site: Site, visit: Visit, event_id: int) -> Sequence[tuple[EventAction, str, str]]:
    """What can be done to the event now, the channel it is to go by, and the words for what would happen."""
    if not visit.operator.may("admin"):
        return ()
    change = site.services.desk.events.change
    ways = [(action, "") for action in ACTIONS if action != REROUTE]
    ways += [(REROUTE, name) for name in sorted(channel.name for channel in site.services.channels())]
    asked = [(action, to, await change(action, [event_id], visit.actor, to=to, rehearsal=True)) for action, to in ways]
    return [(action, to, done.text) for action, to, page in asked for done in page.items if done.ok]


async def _part(site: Site, visit: Visit) -> web.StreamResponse:
    """A part of the message for the frame that shows it."""
    record, _ = await _record(site, visit)
    found = await _message(site, visit, record, images=True)
    if found is None or visit.query.get("part", "") not in found.message.parts:
        raise web.HTTPNotFound
    return framed(found.message.parts[visit.query["part"]])


async def _change(site: Site, visit: Visit) -> web.StreamResponse:
    action, to = _action(visit.part("action")), visit.form.get("to", "")
    (done,) = (await site.services.desk.events.change(action, [_id(visit)], visit.actor, to=to)).items
    where = done.new_id or done.id
    said = done.text if done.ok else f"{visit.say('Not done')}: {done.text}"
    return site.back(visit, f"{ROOT}events/{where}", said)


async def _record(site: Site, visit: Visit) -> tuple[EventRecord, bool]:
    """With what the caller sent where the operator may see it."""
    sees_data = visit.operator.may("data")
    return await site.services.desk.events.record(_id(visit), visit.operator, data=sees_data), sees_data


@dataclass(frozen=True, slots=True)
class _Message:
    """`kept`: as it was sent, word for word; otherwise as it would be now."""

    channel: str
    message: Preview
    kept: bool


async def _message(site: Site, visit: Visit, record: EventRecord, *, images: bool = False) -> _Message | None:
    """The copy of the last message of which there is one, otherwise a new rendering."""
    try:
        sent = await site.services.desk.events.rendered(record.event.id, None, visit.operator, images=images)
    except PetitbleuError:
        again = await _rendered(site, visit, record, images)
        return None if again is None else _Message(record.event.channel, again, kept=False)
    return _Message(sent.channel, Preview(sent.address, "", sent.fields, sent.parts, sent.files, notes=()), kept=True)


async def _rendered(site: Site, visit: Visit, record: EventRecord, images: bool) -> Preview | None:
    """What went out, as far as it can be told from what is kept."""
    name, _, version = record.event.template.partition(" v")
    if record.data is None or not version:
        return None
    try:
        return await site.services.desk.templates.preview(
            name,
            visit.operator,
            version=version,
            event=_incoming(record.event.queue, record.data),
            images=images,
        )
    except PetitbleuError:
        return None


def _incoming(queue: str, data: Mapping[str, Data]) -> IncomingEvent:
    """As it came, but that it is never too late for it."""
    attributes = {name: value for name, value in data.items() if isinstance(value, str) and name not in _TIMES}
    children = {name: value for name, value in data.items() if not isinstance(value, str)}
    return IncomingEvent(Queue(queue), attributes, children)


def _way(site: Site, visit: Visit, record: EventRecord) -> Sequence[Step]:
    say, event = visit.say, record.event
    steps = [Step(event.created, "", say("accepted into the queue {queue}", queue=say(event.queue)))]
    for attempt in record.attempts:
        words = say(
            "attempt {number} by {channel}/{provider} with {template}: {outcome}",
            number=attempt.number,
            channel=attempt.channel,
            provider=attempt.provider or "–",
            template=attempt.template or "–",
            outcome=say(attempt.outcome),
        )
        scope = f" ({say(attempt.scope)})" if attempt.scope else ""
        seconds = (attempt.ended - attempt.started).total_seconds()
        code = "" if attempt.text.startswith(attempt.code) else attempt.code
        said = " ".join(filter(None, (code, attempt.text)))
        steps.append(
            Step(attempt.ended, _TONES.get(attempt.outcome, ""), f"{words}{scope}, {seconds * 1000:.0f} ms: {said}")
        )
    for receipt in record.receipts:
        words = say("receipt for attempt {number}: {state}", number=receipt.number, state=say(receipt.state))
        steps.append(Step(receipt.received, _TONES.get(receipt.state, ""), f"{words}: {receipt.text}".rstrip(": ")))
    steps += [Step(one.at, "warn", one.reason) for one in record.recyclings]
    if event.processed is not None:
        label = say(site.services.statuses[event.status].label)
        steps.append(Step(event.processed, _TONES.get(event.status, ""), f"{label}: {event.reason}".rstrip(": ")))
    # stable: of one moment, an attempt comes before what follows from it
    return sorted(steps, key=lambda step: step.at)


def _id(visit: Visit) -> int:
    text: str = visit.part("id")
    if not (text.isdecimal() and len(text) < 20):
        raise web.HTTPNotFound
    return int(text)


def _action(text: str) -> EventAction:
    for action in ACTIONS:
        if action == text:
            return action
    raise web.HTTPNotFound


VIEWS = (
    View("GET", "events", "read", _list),
    View("POST", "events/bulk", "admin", _bulk),
    View("GET", "events/{id}", "read", _one),
    View("GET", "events/{id}/part", "data", _part),
    View("POST", "events/{id}/{action}", "admin", _change),
)
