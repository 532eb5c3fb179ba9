"""How long operators wait for a search among very many events: the console's page, on each database, by every filter.

The events are made in the database itself, with the shares that an installation has: most are sent, few failed. Of
every filter there is a value that few events have or none, for which the database cannot stop early.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlencode

from petitbleu.store import open_store
from petitbleu.store.queries import Dialect

from .arithmetic import median
from .bench import Bench
from .browser import browser, console_stage
from .report import Figure

LIMITS: Mapping[Dialect, float] = {"postgres": 1.0, "sqlite": 2.0}
"""Seconds that a search may take."""
OPEN = 1000
"""Of all events, those that wait."""
DAY = 86_400_000_000
DAYS = 30
_NUMBERS = {
    "sqlite": "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {count}) SELECT n FROM up)",
    "postgres": "generate_series(1, {count}) AS up(n)",
}
_EVENTS = """
    INSERT INTO events (id, type, lane, channel, status, errors, created, processing, processed, external_id, origin,
                        email, mobile_phone, device, template, reason, feedback, brand, cause)
    SELECT {cell} + n, CASE WHEN n % 100000 = 77 THEN 'rare' ELSE 'type' || (n % 10) END,
           CASE WHEN n % 20 = 0 THEN 1 ELSE 0 END,
           CASE WHEN n % 5 = 0 THEN 'sms' WHEN n % 50001 = 3 THEN 'web' ELSE 'email' END,
           CASE WHEN n > {count} - {open} THEN 'pending' WHEN n % 50 = 7 THEN 'failed'
                WHEN n % 50000 = 9 THEN 'expired' ELSE 'sent' END,
           0, {start} + n * CAST({step} AS bigint), {start} + n * CAST({step} AS bigint) + 100000,
           CASE WHEN n > {count} - {open} THEN NULL ELSE {start} + n * CAST({step} AS bigint) + 900000 END,
           'order-' || n, CASE WHEN n % 90001 = 5 THEN 'rare' ELSE 'shop' END,
           'customer' || (n % 300000) || '@example.com',
           CASE WHEN n % 5 = 0 THEN '+336' || (10000000 + n % 300000) ELSE '' END,
           CASE WHEN n % 50001 = 3 THEN 'token-' || n ELSE '' END,
           'type' || (n % 10) || '/email v3', '250 2.0.0 Ok: queued as 4D1F2A0C3',
           CASE WHEN n % 10 = 1 THEN 'received' WHEN n % 60000 = 11 THEN 'complained' ELSE '' END,
           CASE WHEN n % 80001 = 5 THEN 'rare' WHEN n % 10 = 2 THEN 'outlet' ELSE 'shop' END,
           CASE WHEN n % 50 = 7 AND n % 1000 = 7 THEN 'address' WHEN n % 50 = 7 THEN 'message'
                WHEN n % 50000 = 9 THEN 'tries' ELSE '' END
    FROM {numbers}"""
_QUEUE = """
    INSERT INTO queue (id, state, lane, priority, due, type, channel)
    SELECT id, 0, lane, 5, created + 90 * {day}, type, channel FROM events WHERE status = 'pending'"""
SIZED = {"sqlite": "ANALYZE", "postgres": "VACUUM ANALYZE"}

CASES: Mapping[str, Mapping[str, str]] = {
    "all": {},
    "externalId": {"find": "order-77"},
    "email": {"find": "customer77@example.com"},
    "phone": {"find": "+33610000005"},
    "device": {"device": "token-3"},
    "type, rare": {"type": "rare"},
    "type, none": {"type": "never"},
    "status failed": {"status": "failed"},
    "status, rare": {"status": "expired"},
    "status, none": {"status": "not_covered"},
    "status open": {"status": "open"},
    "receipt, rare": {"feedback": "complained"},
    "receipt, none": {"feedback": "bounced"},
    "channel, rare": {"channel": "web"},
    "channel, none": {"channel": "fax"},
    "brand, rare": {"brand": "rare"},
    "brand, none": {"brand": "never"},
    "origin, rare": {"origin": "rare"},
    "origin, none": {"origin": "never"},
    "template, none": {"template": "never/email v1"},
    "cause, rare": {"cause": "tries"},
    "cause, none": {"cause": "crashes"},
    "queue batch": {"queue": "batch"},
    "created, a day": {"created_since": "{20}", "created_before": "{21}"},
    "ended, a day": {"ended_since": "{3}", "ended_before": "{4}"},
    "ended, none": {"ended_before": "{0}"},
    "a report's line": {"type": "type7", "status": "failed", "cause": "address", "ended_since": "{5}"},
    "two, none": {"type": "rare", "status": "failed", "brand": "outlet"},
}
"""What the page is asked for; `{3}` is the third day of those the events came on, `{0}` before them all."""


async def search(bench: Bench) -> list[Figure]:
    figures = []
    for kind in LIMITS:
        async with console_stage(bench) as own, own.database(kind) as database:
            start = await _fill(database.assignment.partition("=")[2], bench.settings.search_events)
            async with own.server(database, 1, "intake") as server, browser(server.port) as visitor:
                slowest = ("", 0.0)
                for name, asked in CASES.items():
                    path = "events?" + urlencode({key: _dated(value, start) for key, value in asked.items()})
                    times = [await visitor.seconds(path) for _ in range(max(2, bench.settings.runs))]
                    bench.say(f"{kind:8} {name:16} {1000 * median(times):7.0f} ms, {1000 * max(times):.0f} ms at most")
                    slowest = max(slowest, (name, median(times)), key=lambda one: one[1])
        label = f"search_{bench.settings.search_events}_{kind}"
        figures.append(
            Figure(label, slowest[1], "s", target=LIMITS[kind], side="<=", note=f"the slowest, {slowest[0]}")
        )
    return figures


def _dated(value: str, start: int) -> str:
    if not value.startswith("{"):
        return value
    at = start // 1_000_000 + int(value.strip("{}")) * 86_400
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


async def _fill(url: str, count: int) -> int:
    """The first event's time, in microseconds."""
    async with open_store(url, patient=True) as store:
        step = DAYS * DAY // count
        start = store.now() - DAYS * DAY
        numbers = _NUMBERS[store.dialect].format(count=count)
        values = {"count": count, "open": OPEN, "start": start, "step": step, "cell": 1 << 56, "numbers": numbers}
        await store.connection.execute_script(_EVENTS.format(**values))
        await store.connection.execute_script(_QUEUE.format(day=DAY))
        await store.connection.execute_script(SIZED[store.dialect])
        return start
