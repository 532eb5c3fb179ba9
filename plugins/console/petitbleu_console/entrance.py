"""Who is at the console: a signed session cookie, an idle time-out, and proof that a form is ours.

The cookie holds a session token of the core, its security token, when a page was last asked for, and a MAC over all of
it with the session token as the key; whoever has the token may say when he was last here, nobody else. It goes to the
console's paths only (`SameSite=Strict`, `HttpOnly`, RFC 6265bis). Forms carry the security token, which the core
compares with the session's, and which other sites cannot read.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web
from petitbleu import AccessDenied, Actor, Credentials, Operator, Services, Session, SessionExpired

from .settings import ConsoleSettings

ROOT = "/console/"
COOKIE = "petitbleu_console"
ORIGIN = "console"
"""What the audit calls this way in."""
RIGHT = "read"
"""Without it there is nothing to see here."""
RENEWED = 30
"""Seconds after which a page renews the time in the cookie."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the cookie says. `seen` is in seconds since 1970."""

    token: str = field(repr=False)
    security_token: str = field(repr=False)
    seen: int

    def text(self) -> str:
        return f"{self.token}.{self.security_token}.{self.seen}.{self._mac()}"

    def _mac(self) -> str:
        said = f"{self.security_token}.{self.seen}".encode()
        return hmac.new(self.token.encode(), said, hashlib.sha256).hexdigest()


def read_ticket(text: str) -> Ticket | None:
    """None for whatever is no cookie of ours."""
    parts = text.split(".")
    if len(parts) != 4 or not text.isascii() or not (parts[2].isdecimal() and len(parts[2]) < 12):
        return None
    ticket = Ticket(parts[0], parts[1], int(parts[2]))
    return ticket if hmac.compare_digest(ticket.text(), text) else None


class Entrance:
    """Lets operators in and out."""

    def __init__(self, settings: ConsoleSettings, services: Services) -> None:
        self._settings = settings
        self._services = services

    async def operator(self, request: web.Request) -> tuple[Operator, Ticket] | None:
        """Who asks for a page; None: somebody who must sign in first."""
        ticket = read_ticket(request.cookies.get(COOKIE, ""))
        if ticket is None or not 0 <= self._now() - ticket.seen <= self._settings.idle:
            return None
        credentials = Credentials(_address(request), ticket.token, security_token=ticket.security_token)
        try:
            return await self._services.auth.authenticate(credentials), ticket
        except (AccessDenied, SessionExpired):
            return None

    async def sign_in(self, request: web.Request, login: str, password: str) -> Session:
        """Raises `AccessDenied`, later and later for who guesses."""
        return await self._services.desk.entrance.sign_in(login, password, RIGHT, ORIGIN, _address(request))

    async def sign_out(self, request: web.Request, operator: Operator, ticket: Ticket) -> None:
        # it may have ended meanwhile
        with contextlib.suppress(AccessDenied):
            await self._services.desk.entrance.sign_out(ticket.token, Actor(operator, ORIGIN, _address(request)))

    def admit(self, request: web.Request, response: web.StreamResponse, session: Session) -> None:
        self._set(request, response, Ticket(session.token, session.security_token, self._now()))

    def renew(self, request: web.Request, response: web.StreamResponse, ticket: Ticket) -> None:
        """Whoever asks for pages is not idle."""
        if self._now() - ticket.seen >= RENEWED:
            self._set(request, response, Ticket(ticket.token, ticket.security_token, self._now()))

    def forget(self, response: web.StreamResponse) -> None:
        response.del_cookie(COOKIE, path=ROOT)

    def _set(self, request: web.Request, response: web.StreamResponse, ticket: Ticket) -> None:
        secure = self._settings.secure == "always" or request.scheme == "https"
        response.set_cookie(COOKIE, ticket.text(), path=ROOT, httponly=True, secure=secure, samesite="Strict")

    def _now(self) -> int:
        return int(self._services.now().timestamp())


def is_ours(request: web.Request) -> bool:
    """Whether a form was sent from a page of this server, as far as the browser says (Fetch Metadata, `Origin`)."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin", "")
    try:
        return not origin or urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def holds_key(ticket: Ticket, given: str) -> bool:
    """Whether a form carries the session's security token."""
    return hmac.compare_digest(ticket.security_token.encode(), given.encode("utf-8", "surrogatepass"))


def _address(request: web.Request) -> str:
    return request.remote or ""
