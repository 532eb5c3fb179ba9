"""Every page as a route: who asks is let in or sent to sign in, and what is answered carries the same safe headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from petitbleu import AccessDenied, Actor, Operator, PetitbleuError, Services

from . import looks
from .entrance import ORIGIN, ROOT, Entrance, Ticket, holds_key, is_ours
from .settings import ConsoleSettings
from .wording import LANGUAGES, Words, preferred, words

NOTE = "petitbleu_note"
LANGUAGE = "petitbleu_language"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request by somebody who is in. `form` is empty unless something is posted."""

    request: web.Request
    operator: Operator
    ticket: Ticket = field(repr=False)
    say: Words
    form: Mapping[str, str]

    @property
    def actor(self) -> Actor:
        """As whom the core writes down what this visit changes."""
        return Actor(self.operator, ORIGIN, self.request.remote or "")

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    def part(self, name: str) -> str:
        """What stands in the address for `{name}`."""
        return self.request.match_info[name]


@dataclass(frozen=True, slots=True)
class View:
    """A page, or what a form does. `path` is below `/console/`; `right` is needed to see it."""

    method: str
    path: str
    right: str
    show: Callable[[Site, Visit], Awaitable[web.StreamResponse]]


class Site:
    """What pages are made with."""

    def __init__(self, settings: ConsoleSettings, services: Services, sections: Sequence[Section]) -> None:
        self.settings = settings
        self.services = services
        self.entrance = Entrance(settings, services)
        self._sections = sections
        self._environment = Environment(
            loader=PackageLoader(__package__ or "", "html"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(looks.filters(services))

    def page(self, visit: Visit, template: str, /, status: int = 200, **values: Any) -> web.Response:
        """The page of a template, with the frame around it."""
        sections = [one for one in self._sections if visit.operator.may(one.right)]
        note = visit.request.cookies.get(NOTE, "")
        shown = self._render(
            template,
            visit.say,
            visit=visit,
            sections=sections,
            note=unquote(note),
            key=visit.ticket.security_token,
            **values,
        )
        response = _html(shown, status)
        if note:
            response.del_cookie(NOTE, path=ROOT)
        return response

    def fragment(self, visit: Visit, template: str, /, **values: Any) -> web.Response:
        """A piece of a page, for a script that puts it in place."""
        return _html(self._render(template, visit.say, visit=visit, key=visit.ticket.security_token, **values), 200)

    def door(self, request: web.Request, status: int = 200, **values: Any) -> web.Response:
        """The page where one signs in."""
        return _html(self._render("sign_in.html.j2", self.language(request), sections=(), note="", **values), status)

    def back(self, visit: Visit, path: str, note: str = "") -> web.Response:
        """Go to another page after a form, and say there what was done."""
        response = web.Response(status=303, headers={**HEADERS, "Location": path})
        if note:
            response.set_cookie(NOTE, quote(note[:1500]), path=ROOT, httponly=True, samesite="Strict", max_age=60)
        return response

    def language(self, request: web.Request) -> Words:
        chosen = request.cookies.get(LANGUAGE, "") or self.settings.language
        return words(chosen if chosen in LANGUAGES else preferred(request.headers.get("Accept-Language", "")))

    def _render(self, file: str, say: Words, /, **values: Any) -> str:
        template = self._environment.get_template(file)
        services = self.services
        return template.render(
            _=say,
            say=say,
            root=ROOT,
            instance=services.instance,
            safe_mode=services.safe_mode,
            zone=services.time_zone,
            **values,
        )


@dataclass(frozen=True, slots=True)
class Section:
    """A line of the menu."""

    path: str
    label: str
    right: str


SECTIONS = (
    Section("now", "Now", "read"),
    Section("events", "Events", "read"),
    Section("reports", "Reports", "read"),
    Section("templates", "Templates", "read"),
    Section("suppressions", "Suppressions", "suppress"),
    Section("plugins", "Plugins", "admin"),
    Section("operators", "Operators", "admin"),
    Section("configuration", "Configuration", "admin"),
    Section("audit", "Audit", "audit"),
)


def routes(settings: ConsoleSettings, services: Services) -> list[web.RouteDef]:
    """Every route of the console."""
    from .pages import VIEWS

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


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
    posted = await request.post()
    return {name: value for name, value in posted.items() if isinstance(value, str)}


def _to(path: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=303, headers={**HEADERS, "Location": path})

    return handler


_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def _served(file: Path) -> Handler:
    body, kind = file.read_bytes(), _KINDS[file.suffix]

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=body, content_type=kind, charset="utf-8", headers={**HEADERS, "Cache-Control": "private, max-age=3600"}
        )

    return handler


def _html(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=HEADERS)


__all__ = ["HEADERS", "Section", "Site", "View", "Visit", "routes"]
