"""The suppression list: looked up, added to, taken from, read in and written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlencode

from aiohttp import web
from petitbleu import PetitbleuError, Suppression, SuppressionFilter, SuppressionReason

from ..entrance import ROOT
from ..site import HEADERS, Site, View, Visit

_ASKED = ("channel", "address", "reason", "expired")
RIGHT = "suppress"


async def _list(site: Site, visit: Visit) -> web.StreamResponse:
    asked = {name: visit.query.get(name, "").strip() for name in _ASKED}
    problem, more = "", ""
    entries: Sequence[Suppression] = ()
    try:
        page = await site.services.desk.suppressions.find(
            _filter(asked), visit.operator, site.lines, visit.query.get("cursor", "")
        )
    except PetitbleuError as error:
        problem = str(error)
    else:
        entries = page.items
        if page.cursor:
            given = {name: value for name, value in asked.items() if value}
            more = f"{ROOT}suppressions?" + urlencode({**given, "cursor": page.cursor})
    return site.page(
        visit,
        "suppressions.html.j2",
        asked=asked,
        entries=entries,
        more=more,
        problem=problem,
        channels=sorted(channel.name for channel in site.services.channels()),
        reasons=[reason.value for reason in SuppressionReason],
    )


def _filter(asked: dict[str, str]) -> SuppressionFilter:
    return SuppressionFilter(asked["channel"], asked["address"], None, asked["reason"], asked["expired"] == "yes")


async def _add(site: Site, visit: Visit) -> web.StreamResponse:
    entry = await site.services.desk.suppressions.add(
        visit.form.get("channel", ""),
        visit.form.get("address", "").strip(),
        visit.actor,
        reason=SuppressionReason(visit.form["reason"])
        if visit.form.get("reason") in set(SuppressionReason)
        else SuppressionReason.MANUAL,
        text=visit.form.get("text", "").strip(),
    )
    return site.back(visit, ROOT + "suppressions", visit.say("{address} is suppressed", address=entry.address))


async def _remove(site: Site, visit: Visit) -> web.StreamResponse:
    address = visit.form.get("address", "")
    taken = await site.services.desk.suppressions.remove(
        visit.form.get("channel", ""), [address], visit.actor, brand=visit.form.get("brand", "")
    )
    text = "{address} may be written to again" if taken.gone else "{address} is not on the list"
    return site.back(visit, ROOT + "suppressions", visit.say(text, address=address))


async def _read_in(site: Site, visit: Visit) -> web.StreamResponse:
    number = await site.services.desk.suppressions.read_in(
        visit.form.get("list", ""), _form(visit.form.get("form", "")), visit.actor
    )
    return site.back(visit, ROOT + "suppressions", visit.say("{number} entries are on the list", number=number))


async def _write_out(site: Site, visit: Visit) -> web.StreamResponse:
    form = _form(visit.query.get("form", ""))
    asked = {name: visit.query.get(name, "").strip() for name in _ASKED}
    response = web.StreamResponse(
        headers={
            **HEADERS,
            "Content-Type": "text/csv; charset=utf-8" if form == "csv" else "application/json",
            "Content-Disposition": f'attachment; filename="suppressions.{form}"',
        }
    )
    pieces = site.services.desk.suppressions.write_out(_filter(asked), form, visit.operator)
    first = await anext(pieces, "")
    await response.prepare(visit.request)
    await response.write(first.encode())
    async for piece in pieces:
        await response.write(piece.encode())
    return response


def _form(text: str) -> Literal["csv", "json"]:
    return "json" if text == "json" else "csv"


VIEWS = (
    View("GET", "suppressions", RIGHT, _list),
    View("POST", "suppressions/add", RIGHT, _add),
    View("POST", "suppressions/remove", RIGHT, _remove),
    View("POST", "suppressions/import", RIGHT, _read_in),
    View("GET", "suppressions/export", RIGHT, _write_out),
)
