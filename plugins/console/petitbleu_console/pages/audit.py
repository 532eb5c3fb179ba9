"""Who changed what, when and from where."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web
from petitbleu import AuditFilter

from ..entrance import ROOT
from ..site import Site, View, Visit

_ASKED = ("action", "object", "by", "origin")


async def _list(site: Site, visit: Visit) -> web.StreamResponse:
    asked = {name: visit.query.get(name, "").strip() for name in _ASKED}
    page = await site.services.desk.audit.find(
        AuditFilter(**asked), visit.operator, site.lines, visit.query.get("cursor", "")
    )
    given = {name: value for name, value in asked.items() if value}
    more = f"{ROOT}audit?" + urlencode({**given, "cursor": page.cursor}) if page.cursor else ""
    return site.page(visit, "audit.html.j2", asked=asked, entries=page.items, more=more)


VIEWS = (View("GET", "audit", "audit", _list),)
