"""How long operators wait for a report over a year: the console's page, on each database, from what a year leaves.

The counts are made in the database itself: 300 days by the day, 58 by the hour and 2 by the minute, of 6 event types,
each with four facts, or 110,000 rows. How many events they stand for makes no difference.
"""

from __future__ import annotations

from urllib.parse import urlencode

from petitbleu.store import open_store

from .arithmetic import median
from .bench import Bench
from .browser import browser, console_stage
from .report import Figure
from .search import LIMITS, SIZED

DAY = 86_400
KEPT = ((DAY, 300, 60), (3600, 58 * 24, 2), (60, 2 * 1440, 0))
"""Seconds that a row stands for, how many times there are, and how many days ago the last one was."""
KINDS = ("service_level", "processing_time", "history")
_ROWS = """
    INSERT INTO statistics (span, start, fact, type, channel, brand, origin, events, timed,
                            queuing, sending, processing)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}),
         t(type) AS (SELECT 1 UNION ALL SELECT type + 1 FROM t WHERE type < 6),
         f(fact) AS (VALUES ('accepted'), ('sent'), ('failed'), ('retried'))
    SELECT {span}, CAST({last} AS bigint) - CAST(i AS bigint) * {span} * 1000000, fact, 'type' || type, 'email', 'shop',
           'crm', 100, 100, 9000000, 5000000, 14000000
    FROM n CROSS JOIN t CROSS JOIN f"""


async def year(bench: Bench) -> list[Figure]:
    figures = []
    for kind, limit in LIMITS.items():
        async with console_stage(bench) as own, own.database(kind) as database:
            await _fill(database.assignment.partition("=")[2])
            async with own.server(database, 1, "intake") as server, browser(server.port) as visitor:
                slowest = ("", 0.0)
                for report in KINDS:
                    for by in (("type",), ("period", "type")):
                        path = "reports?" + urlencode({"kind": report, "span": "year", "by": by}, doseq=True)
                        times = [await visitor.seconds(path) for _ in range(max(2, bench.settings.runs))]
                        name = f"{report} by {' and '.join(by)}"
                        bench.say(
                            f"{kind:8} {name:34} {1000 * median(times):7.0f} ms, {1000 * max(times):.0f} ms at most"
                        )
                        slowest = max(slowest, (name, median(times)), key=lambda one: one[1])
        figures.append(
            Figure(f"report_year_{kind}", slowest[1], "s", target=limit, side="<=", note=f"the slowest, {slowest[0]}")
        )
    return figures


async def _fill(url: str) -> None:
    async with open_store(url, patient=True) as store:
        now = store.now() - store.now() % (DAY * 1_000_000)
        for span, count, ago in KEPT:
            last = now - ago * DAY * 1_000_000
            await store.connection.execute_script(_ROWS.format(span=span, count=count, last=last))
        await store.connection.execute_script(SIZED[store.dialect])
