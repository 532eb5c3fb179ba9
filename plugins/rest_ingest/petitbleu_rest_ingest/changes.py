"""What operators do to events, from cancel to release: to one, to several, or to all that a filter means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from petitbleu import Done, EventAction, EventFilter, Page
from pydantic import Field, model_validator

from .events import ROOT, TAG, EventId
from .operation import JSON, Answer, Body, Call, Given, Operation, Success, Told
from .problems import Problem

CHANGES = "/api/v1/event-changes"
REASON = Field("", max_length=500, description="Why, for the record.")


class ChangedPath(Given):
    id: EventId = Field(description="The event's id, whole or without its high byte.")


TO = Field("", max_length=64, description="Of `reroute`, and of nothing else: the channel to send by.")


class EventChange(Given):
    """How to change one event."""

    to: str = TO
    reason: str = REASON
    dry_run: bool = Field(False, description="Only say what would happen.")


class EventChanges(Given):
    """How to change several events: those of `ids`, or those that `filter` means."""

    action: EventAction
    ids: tuple[EventId, ...] | None = Field(None, min_length=1, max_length=1000)
    filter: EventFilter | None = None
    to: str = TO
    reason: str = REASON
    dry_run: bool = Field(False, description="Only say what would happen.")
    limit: int = Field(0, ge=0, le=1000, description="Of a filter's events, so many at once; 0: `limits.changes`.")
    cursor: str = Field("", max_length=40, description="What the call before answered as `cursor`, to go on.")

    @model_validator(mode="after")
    def _one_of_them(self) -> EventChanges:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("needs either ids or a filter")
        return self


class Changed(Told):
    """What became of one request."""

    id: EventId
    href: str
    ok: bool
    text: str = Field(description="What was done, or would be; or why not.")
    new_id: EventId | None = Field(None, description="Of a resend: the id of the new event.")


class AllChanged(Told):
    """What became of several requests, in order."""

    results: tuple[Changed, ...]
    done: int
    refused: int
    dry_run: bool
    cursor: str | None = Field(None, description="Goes on with the rest of what the filter means; missing at its end.")


def _told(done: Done) -> Changed:
    new_id = None if done.new_id is None else str(done.new_id)
    return Changed(id=str(done.id), href=f"{ROOT}/{done.id}", ok=done.ok, text=done.text, new_id=new_id)


async def _change_one(action: EventAction, call: Call, path: ChangedPath, body: EventChange | None) -> Answer:
    asked = body or EventChange()
    page = await call.door.services.desk.events.change(
        action, [int(path.id)], call.actor, to=asked.to, reason=asked.reason, rehearsal=asked.dry_run
    )
    (done,) = page.items
    if done.missing:
        raise Problem("not-found", f"There is no event {path.id}, or none that the operator may change.")
    if not done.ok:
        raise Problem("conflict", f"The event {done.text}.")
    return Answer(200, _told(done))


async def change_events(call: Call, body: EventChanges) -> Answer:
    which: Sequence[int] | EventFilter = body.filter or [int(one) for one in body.ids or ()]
    page: Page[Done] = await call.door.services.desk.events.change(
        body.action,
        which,
        call.actor,
        to=body.to,
        reason=body.reason,
        rehearsal=body.dry_run,
        limit=body.limit,
        cursor=body.cursor,
    )
    good = sum(one.ok for one in page.items)
    results = tuple(map(_told, page.items))
    told = AllChanged(
        results=results,
        done=good,
        refused=len(results) - good,
        dry_run=body.dry_run,
        cursor=page.cursor or None,
    )
    return Answer(200, told)


_SUMMARIES: dict[str, tuple[str, str]] = {
    "cancel": ("End an event that waits, unsent", "One that a worker has, or that may be out already, is left alone."),
    "retry": ("Try an event again now", "One that waits for its next try, or ended without being sent."),
    "resend": ("Send a copy of an event", "The copy is a new event; no idempotency key stands in its way."),
    "reroute": (
        "Let an event go on by another channel",
        "Under its own id, whether it waits or has ended. It needs an address for the channel `to`, and a published "
        "template of its type.",
    ),
    "hold": ("Keep an event that waits from being sent", "Until it is released."),
    "release": ("Let an event go that is held", "One whose expiration has passed meanwhile ends as `expired`."),
}


def _one(action: EventAction) -> Operation:
    async def run(call: Call, **given: Any) -> Answer:
        return await _change_one(action, call, **given)

    summary, text = _SUMMARIES[action]
    return Operation(
        method="POST",
        path=f"{ROOT}/{{id}}/{action}",
        name=f"{action}Event",
        summary=summary,
        text=text,
        tag=TAG,
        right="admin",
        run=run,
        parameters=ChangedPath,
        body=Body({JSON: EventChange}, needed=False),
        answers={200: Success("It is done, or with `dryRun` would be.", Changed)},
        problems=frozenset({"conflict"}),
    )


OPERATIONS = (
    *map(_one, get_args(EventAction)),
    Operation(
        method="POST",
        path=CHANGES,
        name="changeEvents",
        summary="Change several events",
        text="Each of `ids`, or what a `filter` means, as far as the operator's rights reach; with an answer for each. "
        "Of a filter's events so many at a time as `limits.changes` says, in one transaction: go on with the `cursor` "
        "of the answer until there is none. Events that came after the first call are not among them.",
        tag=TAG,
        right="admin",
        run=change_events,
        body=Body({JSON: EventChanges}),
        answers={200: Success("What became of each.", AllChanged)},
    ),
)
