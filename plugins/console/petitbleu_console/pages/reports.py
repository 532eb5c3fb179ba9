"""The three reports, as tables and curves, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from aiohttp import web
from petitbleu import QueryRefused, Report, ReportLine, ReportQuery

from ..entrance import ROOT
from ..site import HEADERS, Site, View, Visit

KINDS = {"service_level": "Service level", "processing_time": "Processing time", "history": "History"}
SPANS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}
LABELS = {"hour": "one hour", "day": "one day", "week": "one week", "month": "30 days", "year": "one year"}
_FINE = {"hour": "minute", "day": "hour", "week": "day", "month": "day", "year": "month"}
BY = ("period", "type", "channel", "brand", "origin", "status", "cause")
_CURVES = {
    "service_level": ("incoming", "outgoing", "errors"),
    "processing_time": ("processing_avg", "processing_p95"),
    "history": ("events",),
}


@dataclass(frozen=True, slots=True)
class Asked:
    kind: str
    span: str
    by: tuple[str, ...]
    channel: str
    brand: str

    def path(self, **changes: object) -> str:
        given = {"kind": self.kind, "span": self.span, "by": self.by, "channel": self.channel, "brand": self.brand}
        pairs = {name: value for name, value in {**given, **changes}.items() if value}
        return f"{ROOT}reports?" + urlencode(pairs, doseq=True)


async def _page(site: Site, visit: Visit) -> web.StreamResponse:
    asked = _asked(visit)
    report = await _report(site, visit, asked, asked.by)
    if visit.query.get("form") == "csv":
        return _csv(report)
    return site.page(
        visit,
        "reports.html.j2",
        asked=asked,
        report=report,
        columns=_columns(report),
        links=[_events(line.filter) for line in report.lines],
        kinds_of=[[(kind, _events(kind.filter)) for kind in line.errors] for line in report.lines],
        kinds=KINDS,
        spans=LABELS,
        dimensions=_dimensions(asked.kind),
        channels=sorted(channel.name for channel in site.services.channels()),
        series=f"{ROOT}reports/series?{asked.path().partition('?')[2]}",
    )


async def _series(site: Site, visit: Visit) -> web.StreamResponse:
    asked = _asked(visit)
    report = await _report(site, visit, asked, ("period",))
    names = _CURVES[asked.kind]
    times = [int(_begin(line).timestamp()) for line in report.lines]
    data = [times, *([line.values.get(name) for line in report.lines] for name in names)]
    unit = "s" if asked.kind == "processing_time" else ""
    document = {"labels": [visit.say(name) for name in names], "unit": unit, "data": data}
    return web.json_response(document, headers={"Cache-Control": "no-store"})


def _begin(line: ReportLine) -> datetime:
    text = line.keys["period"]
    return datetime.fromisoformat(f"{text}-01" if len(text) == 7 else text)


async def _report(site: Site, visit: Visit, asked: Asked, by: tuple[str, ...]) -> Report:
    now = site.services.now()
    query = ReportQuery(
        asked.kind,
        now - SPANS[asked.span],
        now,
        by,
        _FINE[asked.span],
        channels=(asked.channel,) if asked.channel else (),
        brands=(asked.brand,) if asked.brand else (),
    )
    return await site.services.report(query, visit.operator)


def _asked(visit: Visit) -> Asked:
    query = visit.request.query
    kind, span = query.get("kind", "service_level"), query.get("span", "day")
    if kind not in KINDS or span not in SPANS:
        raise QueryRefused(visit.say("There is no such thing."))
    by = tuple(one for one in _dimensions(kind) if one in query.getall("by", []))
    return Asked(kind, span, by, query.get("channel", ""), query.get("brand", ""))


def _dimensions(kind: str) -> Sequence[str]:
    """What lines of the report can stand for: boxes that are ticked for one report may be none of the next."""
    return [one for one in BY if kind == "history" or one not in ("status", "cause")]


def _columns(report: Report) -> Sequence[str]:
    return list(report.lines[0].values) if report.lines else []


def _events(given: Mapping[str, str] | None) -> str:
    """The page that lists the events of a line; empty: none can."""
    return "" if given is None else f"{ROOT}events?" + urlencode(given)


def _csv(report: Report) -> web.Response:
    out = io.StringIO()
    writer = csv.writer(out)
    columns = _columns(report)
    writer.writerow([*report.by, *columns])
    for line in report.lines:
        writer.writerow([*(_inert(line.keys[name]) for name in report.by), *(line.values[name] for name in columns)])
    disposition = f'attachment; filename="{report.kind}.csv"'
    return web.Response(
        text=out.getvalue(), content_type="text/csv", headers={**HEADERS, "Content-Disposition": disposition}
    )


def _inert(text: str) -> str:
    """A spreadsheet takes no caller's text for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


VIEWS = (
    View("GET", "reports", "read", _page),
    View("GET", "reports/series", "read", _series),
)
