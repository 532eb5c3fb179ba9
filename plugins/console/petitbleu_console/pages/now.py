"""What goes on at this moment: figures beside their thresholds, the queue, curves, and what the checks say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from aiohttp import web
from petitbleu import Report, ReportLine, ReportQuery

from ..site import Site, View, Visit

SPAN = timedelta(hours=1)
CURRENT = timedelta(minutes=5)
"""What the figures are about; the curves show the whole span."""
_TONES = {"ok": "good", "warning": "warning", "alert": "alert"}


async def _page(site: Site, visit: Visit) -> web.StreamResponse:
    return site.page(visit, "now.html.j2", refresh=site.settings.refresh, **await _figures(site, visit))


async def _live(site: Site, visit: Visit) -> web.StreamResponse:
    return site.fragment(visit, "now_live.html.j2", refresh=site.settings.refresh, **await _figures(site, visit))


async def _figures(site: Site, visit: Visit) -> dict[str, Any]:
    now = site.services.now()
    level = await _sum(site, visit, "service_level", now)
    times = await _sum(site, visit, "processing_time", now)
    pending, most = await site.services.pending()
    return {
        "now": now,
        "level": level.values,
        "errors": level.errors,
        "times": times.values,
        "pending": pending,
        "most": most,
        "queue": await site.services.desk.queue(visit.operator),
        "alerts": await site.services.desk.alerts(visit.operator),
        "tones": _TONES,
        "health": await site.services.desk.health(),
    }


async def _sum(site: Site, visit: Visit, kind: str, now: datetime) -> ReportLine:
    found = await site.services.report(ReportQuery(kind, now - CURRENT, now), visit.operator)
    return found.lines[0]


async def _throughput(site: Site, visit: Visit) -> web.StreamResponse:
    report = await _minutes(site, visit, "service_level")
    say = visit.say
    return _series(
        [say("in"), say("out"), say("errors")], say("a minute"), report, ("incoming", "outgoing", "errors"), absent=0
    )


async def _latency(site: Site, visit: Visit) -> web.StreamResponse:
    report = await _minutes(site, visit, "processing_time")
    names = ("processing_p50", "processing_p95", "processing_p99")
    return _series(["p50", "p95", "p99"], "s", report, names, absent=None)


async def _minutes(site: Site, visit: Visit, kind: str) -> Report:
    now = site.services.now()
    return await site.services.report(ReportQuery(kind, now - SPAN, now, ("period",), "minute"), visit.operator)


def _series(
    labels: list[str], unit: str, report: Report, names: tuple[str, ...], absent: int | None
) -> web.StreamResponse:
    """What a chart draws: a point for every minute, `absent` where nothing was counted."""
    known = {datetime.fromisoformat(line.keys["period"]): line.values for line in report.lines}
    start = report.since.replace(second=0, microsecond=0)
    minutes = [start + timedelta(minutes=one) for one in range(int((report.until - start) / timedelta(minutes=1)) + 1)]
    values = [[known[one].get(name) if one in known else absent for one in minutes] for name in names]
    data = [[int(one.timestamp()) for one in minutes], *values]
    return web.json_response({"labels": labels, "unit": unit, "data": data}, headers={"Cache-Control": "no-store"})


VIEWS = (
    View("GET", "now", "read", _page),
    View("GET", "now/live", "read", _live),
    View("GET", "now/throughput", "read", _throughput),
    View("GET", "now/latency", "read", _latency),
)
