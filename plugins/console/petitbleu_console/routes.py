"""Every route of the console: who may see a page, the doors in and out, and the files that pages need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from petitbleu import AccessDenied, PetitbleuError, Services

from .entrance import ROOT, holds_key, is_ours
from .pages import VIEWS
from .settings import ConsoleSettings
from .site import HEADERS, LANGUAGE, SECTIONS, Site, View, Visit
from .wording import LANGUAGES

_STATIC = Path(__file__).parent / "static"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(settings: ConsoleSettings, services: Services) -> list[web.RouteDef]:
    """Every route of the console."""
    site = Site(settings, services, SECTIONS)
    files = [
        web.get(ROOT + "static/" + file.name, _served(file))
        for file in sorted(_STATIC.iterdir())
        if file.suffix in _KINDS
    ]
    return [
        web.get(ROOT.rstrip("/"), _to(ROOT + "now")),
        web.get(ROOT, _to(ROOT + "now")),
        web.get(ROOT + "sign-in", _sign_in_page(site)),
        web.post(ROOT + "sign-in", _sign_in(site)),
        web.post(ROOT + "sign-out", _sign_out(site)),
        web.post(ROOT + "language", _choose_language(site)),
        *files,
        *(web.route(view.method, ROOT + view.path, _guarded(site, view)) for view in VIEWS),
    ]


def _guarded(site: Site, view: View) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        found = await site.entrance.operator(request)
        if found is None:
            return _sent_away(request)
        operator, ticket = found
        form = await _form(request) if view.method == "POST" else {}
        visit = Visit(request, operator, ticket, site.language(request), form)
        if view.method == "POST" and not (is_ours(request) and holds_key(ticket, form.get("key", ""))):
            response: web.StreamResponse = _failed(
                site, visit, 403, "This form is not ours, or too old. Nothing is done."
            )
        elif not operator.may(view.right):
            response = _failed(site, visit, 403, "You have no right to this.")
        else:
            try:
                response = await view.show(site, visit)
            except AccessDenied:
                response = _failed(site, visit, 403, "You have no right to this.")
            except web.HTTPNotFound:
                response = _failed(site, visit, 404, "There is no such thing.")
            except PetitbleuError as error:
                response = _failed(site, visit, 409, str(error))
        site.entrance.renew(request, response, ticket)
        return response

    return handler


def _failed(site: Site, visit: Visit, status: int, text: str) -> web.Response:
    return site.page(visit, "failed.html.j2", status, text=visit.say(text))


def _sent_away(request: web.Request) -> web.StreamResponse:
    if request.headers.get("HX-Request"):
        # a script follows this to a whole page
        return web.Response(status=401, headers={**HEADERS, "HX-Redirect": ROOT + "sign-in"})
    where = quote(request.path_qs, safe="") if request.method == "GET" else ""
    return web.Response(status=303, headers={**HEADERS, "Location": f"{ROOT}sign-in?to={where}"})


def _sign_in_page(site: Site) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return site.door(request, to=_inside(request.query.get("to", "")), wrong="", login="")

    return handler


def _sign_in(site: Site) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        to, login = _inside(form.get("to", "")), form.get("login", "")
        if not is_ours(request):
            return site.door(request, 403, to=to, wrong="This form is not ours, or too old. Nothing is done.", login="")
        try:
            session = await site.entrance.sign_in(request, login, form.get("password", ""))
        except AccessDenied:
            return site.door(request, 403, to=to, wrong="Wrong login or password.", login=login)
        response = web.Response(status=303, headers={**HEADERS, "Location": to})
        site.entrance.admit(request, response, session)
        return response

    return handler


def _sign_out(site: Site) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        found = await site.entrance.operator(request)
        form = await _form(request)
        response = web.Response(status=303, headers={**HEADERS, "Location": ROOT + "sign-in"})
        if found is not None and is_ours(request) and holds_key(found[1], form.get("key", "")):
            await site.entrance.sign_out(request, *found)
            site.entrance.forget(response)
        return response

    return handler


def _choose_language(site: Site) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        response = web.Response(status=303, headers={**HEADERS, "Location": _inside(form.get("to", ""))})
        if is_ours(request) and form.get("language") in LANGUAGES:
            response.set_cookie(
                LANGUAGE, form["language"], path=ROOT, httponly=True, samesite="Strict", max_age=31536000
            )
        return response

    return handler


def _inside(path: str) -> str:
    """A path of the console; anything else would send people elsewhere."""
    return path if path.startswith(ROOT) and "\\" not in path and "//" not in path else ROOT + "now"


async def _form(request: web.Request) -> dict[str, str]:
    """As our pages send it; nothing of anything else."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    posted = await request.post()
    return {name: value for name, value in posted.items() if isinstance(value, str)}


def _to(path: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=303, headers={**HEADERS, "Location": path})

    return handler


def _served(file: Path) -> Handler:
    body, kind = file.read_bytes(), _KINDS[file.suffix]

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=body, content_type=kind, charset="utf-8", headers={**HEADERS, "Cache-Control": "private, max-age=3600"}
        )

    return handler
