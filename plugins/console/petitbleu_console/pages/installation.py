"""The installation: plugins, operators with their sessions and tokens, and the configuration as it holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aiohttp import web
from petitbleu import QueryRefused

from ..entrance import ROOT
from ..site import Site, View, Visit

RIGHT = "admin"
_RIGHT = "right-"
"""Begins the name of a box for a right."""
LONGEST = 3650
"""Days that a token may hold."""


async def _plugins(site: Site, visit: Visit) -> web.StreamResponse:
    health = await site.services.desk.health()
    settings = await site.services.desk.installation.settings(visit.operator)
    plugins = await site.services.desk.installation.plugins(visit.operator)
    own = {
        plugin.name: [one for one in settings if one.path.startswith(f"plugins.{plugin.name}.")] for plugin in plugins
    }
    return site.page(visit, "plugins.html.j2", plugins=plugins, checks=health.checks, settings=own)


async def _operators(site: Site, visit: Visit) -> web.StreamResponse:
    return await _operators_with(site, visit, "")


async def _operators_with(site: Site, visit: Visit, token: str) -> web.StreamResponse:
    desk = site.services.desk.installation
    operators = await desk.operators(visit.operator)
    return site.page(
        visit,
        "operators.html.j2",
        operators=operators,
        rights=sorted({right for one in operators for right in one.rights}),
        types=sorted(site.services.event_types)[:2],
        sessions=await desk.sessions(visit.operator, site.lines, visit.query.get("sessions", "")),
        of=visit.query.get("sessions", ""),
        tokens=await desk.tokens(visit.operator),
        token=token,
        longest=LONGEST,
    )


async def _sign_out(site: Site, visit: Visit) -> web.StreamResponse:
    login = visit.part("login")
    ended = await site.services.desk.installation.end_sessions(login, visit.actor)
    text = visit.say("{login} is signed out everywhere: {number} sessions", login=login, number=ended)
    return site.back(visit, ROOT + "operators", text)


async def _end_session(site: Site, visit: Visit) -> web.StreamResponse:
    ended = await site.services.desk.installation.end_session(visit.part("session"), visit.actor)
    return site.back(visit, ROOT + "operators", visit.say("A session of {login} is ended", login=ended.login))


async def _create_token(site: Site, visit: Visit) -> web.StreamResponse:
    """Answers with the page itself: the token is nowhere but in it."""
    days = visit.form.get("days", "365").strip()
    if not (days.isdecimal() and len(days) < 6 and 0 < int(days) <= LONGEST):
        raise QueryRefused(visit.say("A token holds for 1 to {longest} days.", longest=LONGEST))
    rights = [name.removeprefix(_RIGHT) for name in visit.form if name.startswith(_RIGHT)]
    types = [one.strip() for one in visit.form.get("types", "").split(",") if one.strip()]
    made = await site.services.desk.installation.create_token(
        visit.form.get("login", ""),
        visit.form.get("name", "").strip(),
        visit.actor,
        rights=rights or None,
        event_types=types or None,
        expires=timedelta(days=int(days)),
    )
    return await _operators_with(site, visit, made.token)


async def _revoke_token(site: Site, visit: Visit) -> web.StreamResponse:
    number = visit.part("number")
    if not (number.isdecimal() and len(number) < 19):
        raise web.HTTPNotFound
    token = await site.services.desk.installation.revoke_token(int(number), visit.actor)
    return site.back(visit, ROOT + "operators", visit.say("The token {name} holds no more", name=token.name))


async def _configuration(site: Site, visit: Visit) -> web.StreamResponse:
    settings = await site.services.desk.installation.settings(visit.operator)
    find = visit.query.get("find", "").strip().lower()
    request = visit.query.get("reload", "")
    shown = [one for one in settings if find in f"{one.path} {one.value}".lower()]
    return site.page(
        visit,
        "configuration.html.j2",
        settings=shown,
        find=find,
        request=request,
        **await _servers(site, visit, request),
    )


async def _reload(site: Site, visit: Visit) -> web.StreamResponse:
    request = await site.services.desk.installation.reload(visit.actor)
    return site.back(visit, f"{ROOT}configuration?reload={request}")


async def _reloads(site: Site, visit: Visit) -> web.StreamResponse:
    request = visit.part("request")
    return site.fragment(visit, "reloads.html.j2", request=request, **await _servers(site, visit, request))


async def _servers(site: Site, visit: Visit, request: str) -> dict[str, Any]:
    """What they have answered so far; a request without any was hardly heard yet."""
    found = await site.services.desk.installation.reloads(request, visit.operator) if request else ()
    return {"servers": found, "waiting": not found or any(one.done is None for one in found)}


VIEWS = (
    View("GET", "plugins", RIGHT, _plugins),
    View("GET", "operators", RIGHT, _operators),
    View("POST", "operators/{login}/sign-out", RIGHT, _sign_out),
    View("POST", "sessions/{session}/end", RIGHT, _end_session),
    View("POST", "tokens", RIGHT, _create_token),
    View("POST", "tokens/{number}/revoke", RIGHT, _revoke_token),
    View("GET", "configuration", RIGHT, _configuration),
    View("POST", "reload", RIGHT, _reload),
    View("GET", "reload/{request}", RIGHT, _reloads),
)
