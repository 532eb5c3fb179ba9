"""The shape of Adobe Campaign's REST calls for transactional messages, over the same events."""

from __future__ import annotations

import re

from aiohttp import web
from petitbleu import Comparison, EventQuery, JsonEvent, Services
from pydantic import Field

from .bridge import parsed
from .events import EventId
from .operation import JSON, Answer, Body, Call, Given, Operation, Raw, Success, Told
from .problems import Problem
from .pushing import PushHeaders, push_one

TAG = "Adobe Campaign's calls"
PATH = "/{org}/campaign/{api}/{eventType}"

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


class CampaignPath(Given):
    org: str = Field(description="Any name: there is one organisation here.")
    api: str = Field(description="Any name: there is one API here.")
    event_type: str = Field(description="The event type.")


class CampaignEventPath(CampaignPath):
    p_key: EventId = Field(alias="PKey", description="What the first call answered as `PKey`.")


class CampaignEvent(Told):
    """An event, as callers of Adobe Campaign's REST calls read it."""

    p_key: EventId = Field(alias="PKey", description="The event's id: a number of 64 bits, as text.")
    href: str = Field(description="Where to ask what became of it.")
    status: str = Field(
        description="`pending`, `processing`, `paused`, `processed`, `ignored`, `deliveryFailed`, `routingFailed` or "
        "`tooOld`."
    )


async def push(call: Call, path: CampaignPath, headers: PushHeaders, body: Raw) -> Answer:
    _, event_id = await push_one(call, parsed(body.content), path.event_type, headers.idempotency_key)
    href = f"{_base(call.request, call.door.services)}{call.request.path}/{event_id}"
    pending = call.door.services.statuses["pending"].rest
    return Answer(202, CampaignEvent(p_key=str(event_id), href=href, status=pending), {"Location": href})


async def get(call: Call, path: CampaignEventPath) -> Answer:
    services = call.door.services
    found = await services.find_events(EventQuery(Comparison("id", "=", (path.p_key,))), call.operator)
    if not found or found[0].type != path.event_type:
        text = f"There is no event {path.p_key} of this type, or it is none that the operator may read."
        raise Problem("not-found", text)
    href = f"{_base(call.request, services)}{call.request.path}"
    status = services.statuses[found[0].status].rest
    return Answer(200, CampaignEvent(p_key=str(found[0].id), href=href, status=status))


def _base(request: web.Request, services: Services) -> str:
    told = "Host" in request.headers and _HOST.fullmatch(request.host)
    return f"{request.scheme}://{request.host}" if told else services.public_url


OPERATIONS = (
    Operation(
        method="POST",
        path=PATH,
        name="campaignPushEvent",
        summary="Push one event, as Adobe Campaign's callers do",
        tag=TAG,
        right="push",
        run=push,
        parameters=CampaignPath,
        headers=PushHeaders,
        body=Body({JSON: JsonEvent}, raw=True),
        answers={
            202: Success(
                "The event is stored.",
                CampaignEvent,
                headers={"Location": "Where to ask about it."},
                links={
                    "campaignGetEvent": {
                        "org": "$request.path.org",
                        "api": "$request.path.api",
                        "eventType": "$request.path.eventType",
                        "PKey": "$response.body#/PKey",
                    }
                },
            )
        },
        problems=frozenset({"invalid-event", "key-reused"}),
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{PKey}}",
        name="campaignGetEvent",
        summary="The status of an event, as Adobe Campaign's callers ask for it",
        tag=TAG,
        right="read",
        run=get,
        parameters=CampaignEventPath,
        answers={200: Success("The event.", CampaignEvent)},
    ),
)
