"""What every page is made with: who looks, in which language, the menu, and an answer with the same safe headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from petitbleu import Actor, Operator, Services

from . import looks
from .entrance import ORIGIN, ROOT, Entrance, Ticket
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
        self.lines = min(settings.lines, services.row_limit)
        """Of a listing on one page."""
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


def _html(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=HEADERS)
