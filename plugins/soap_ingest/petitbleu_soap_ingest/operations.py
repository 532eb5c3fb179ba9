"""What each method does: read its parameters, ask the core, give back the results in order.

Every method first finds out who is calling, so that a stranger learns nothing about events, types or schemas.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from lxml import etree
from petitbleu import (
    Accept,
    EventProblem,
    EventsRefused,
    IncomingEvent,
    Operator,
    Queue,
    Services,
    Session,
    incoming_event,
)

from . import schema
from .answers import Xml, element, utc_text
from .envelope import Carried, Envelope
from .faults import CallRefused
from .querydef import read_query, run_query
from .settings import SoapSettings

QUEUES = {"nms:rtEvent": Queue.REALTIME, "nms:batchEvent": Queue.BATCH}


@dataclass(frozen=True, slots=True)
class Door:
    """What every call may use."""

    settings: SoapSettings
    services: Services
    accept: Accept


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the envelope it came in, and what the HTTP request carried."""

    door: Door
    envelope: Envelope
    carried: Carried

    @property
    def service(self) -> str:
        return self.envelope.service

    async def operator(self, token: str | None) -> Operator:
        return await self.door.services.auth.authenticate(self.carried.credentials(token or ""))


Parameter = str | bool | etree._Element | None
"""Text and flags come as themselves, XML as the element of the parameter, what is missing as None."""

Results = tuple[int | str | Xml, ...]
"""In the order the service declares them."""


# ------------------------------------------------------------------------------------------------------------ events


async def push_event(call: Call, token: str | None, event: etree._Element | None) -> Results:
    """Also run for a method that the service does not have: callers know their mistake by an id of 0."""
    operator = await call.operator(token)
    if call.envelope.method != "PushEvent":
        return (0,)
    given = _children(event, "domEvent")
    if len(given) != 1:
        raise _event_refused(f"the parameter domEvent holds {len(given)} elements; it takes one event")
    ids = await call.door.accept([incoming_event(given[0], QUEUES[call.service])], operator)
    return (ids[0],)


async def push_events(call: Call, token: str | None, collection: etree._Element | None) -> Results:
    operator = await call.operator(token)
    wrappers = _children(collection, "domEventCollection")
    if len(wrappers) != 1:
        text = f"the parameter domEventCollection holds {len(wrappers)} elements; it takes one that wraps the events"
        raise _event_refused(text)
    events = [incoming_event(child, QUEUES[call.service]) for child in wrappers[0]]
    ids = await call.door.accept(events, operator)
    return (
        element(
            "Events",
            {},
            *(
                element("rtEvent", {"id": event_id, "externalId": _external_id(event)})
                for event_id, event in zip(ids, events, strict=True)
            ),
        ),
    )


def _children(parameter: etree._Element | None, name: str) -> list[etree._Element]:
    if parameter is None:
        raise _event_refused(f"the parameter {name} is missing; it is the second one, after the session token")
    if not len(parameter) and (parameter.text or "").strip():
        raise _event_refused(f"the parameter {name} holds text; write the XML in it as elements, not escaped")
    return list(parameter)


def _event_refused(text: str) -> EventsRefused:
    return EventsRefused([EventProblem(1, "", "", text)])


def _external_id(event: IncomingEvent) -> str:
    written = event.attributes.get("externalId")
    if written is not None:
        return written
    return next((value for name, value in event.attributes.items() if name.lower() == "externalid"), "")


# ----------------------------------------------------------------------------------------------------------- session


async def logon(call: Call, token: str | None, login: str | None, password: str | None, options: object) -> Results:
    session = await call.door.services.auth.logon(login or "", password or "", call.carried.address)
    return (session.token, _session_info(call.door.services, session), session.security_token)


async def logoff(call: Call, token: str | None) -> Results:
    await call.operator(token)
    credentials = call.carried.credentials(token or "")
    await call.door.services.auth.logoff(credentials.token or credentials.cookie)
    return ()


def _session_info(services: Services, session: Session) -> Xml:
    build = version("petitbleu")
    major, minor = [*build.split("."), "0"][:2]
    lifetime = int(session.lifetime)
    server = {
        "instanceName": services.instance,
        "buildNumber": build,
        "majNumber": major,
        "minNumber": minor,
        "serverDate": utc_text(services.now()),
        "sessionTimeOut": lifetime,
        "securityTimeOut": lifetime,
    }
    user = {
        "login": session.operator.login,
        "loginCS": session.operator.login,
        "timezone": str(services.time_zone),
    }
    rights = (element("login-right", {"right": right}) for right in sorted(session.operator.rights))
    return element("sessionInfo", {}, element("serverInfo", server), element("userInfo", user, *rights))


# ------------------------------------------------------------------------------------------------- schemas and queries


async def get_entity(
    call: Call, token: str | None, key: str | None, md5: str | None, must_exist: bool | None
) -> Results:
    await call.operator(token)
    kind, _, name = (key or "").strip().partition("|")
    found = schema.schema(name, call.door.services) if kind == "xtk:schema" else None
    if found is None and must_exist:
        known = ", ".join(f"xtk:schema|{known}" for known in schema.NAMES)
        raise CallRefused(f"there is no entity {(key or '')[:200]!r}; known are {known}")
    return (found or Xml(""),)


async def execute_query(call: Call, token: str | None, entity: etree._Element | None) -> Results:
    operator = await call.operator(token)
    services = call.door.services
    query = read_query(entity, services.statuses, call.door.settings)
    return (await run_query(query, services, operator),)
