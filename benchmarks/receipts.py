"""Receipts a second, from their arrival to the event's record, beside many messages that wait for theirs and few."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.metrics import Metrics
from petitbleu.receipts.receipts import Receipts
from petitbleu.store import Store, migrate, open_store
from petitbleu.suppression import Terms
from petitbleu.suppression.guard import Suppressions
from petitbleu.types import Receipt, ReceiptState

from .arithmetic import median
from .bench import Bench
from .processes import Failed
from .report import Figure, number

FEW = 1000
AT_ONCE = 50
"""Receipts that a provider sends before it waits for an acknowledgement."""

BODY = (
    '{"type":"bench","queue":"realtime","channel":"sms","data":{},"created":1000000,'
    '"addresses":{"mobilePhone":"+33612345678"},"language":"","country":"","externalId":"","origin":"","priority":5,'
    '"scheduled":null,"expiration":null}'
)
FILL = (
    "INSERT INTO events (id, type, lane, channel, status, created, processed) "
    "SELECT n, 'bench', 0, 'sms', 'sent', 0, 0 FROM generate_series(1, {most}) n",
    f"INSERT INTO payloads (id, body) SELECT n, '{BODY}' FROM generate_series(1, {{most}}) n",
    "INSERT INTO attempts (event, number, channel, provider, started, ended, outcome) "
    "SELECT n, 1, 'sms', 'smsc', 0, 0, 'delivered' FROM generate_series(1, {most}) n",
    "INSERT INTO awaited (event, number, part, channel, provider, name) "
    "SELECT n, 1, 1, 'sms', 'smsc', 'm' || n FROM generate_series(1, {most}) n",
    "ANALYZE",
)


async def receipts(bench: Bench) -> list[Figure]:
    """`open_receipts` messages wait beside those whose receipts come."""
    many, coming = bench.settings.open_receipts, bench.settings.receipts
    rates, ratios = [], []
    async with AsyncExitStack() as stack:
        shallow = await stack.enter_async_context(bench.postgres.fresh())
        deep = await stack.enter_async_context(bench.postgres.fresh())
        for name, waiting in ((shallow, FEW), (deep, many)):
            async with open_store(bench.postgres.database(name)) as store:
                await migrate(store)
            for statement in FILL:
                await bench.postgres.run(statement.replace("{most}", str(coming + waiting)), name)
        for _ in range(bench.settings.runs):
            before = await _run(bench, shallow)
            rate = await _run(bench, deep)
            beside_few = (before + await _run(bench, shallow)) / 2
            bench.say(
                f"receipts beside {many:,} open ones {number(rate)}/s, beside {FEW:,} {number(beside_few)}/s, "
                f"ratio {rate / beside_few:.3f}"
            )
            rates.append(rate)
            ratios.append(rate / beside_few)
    return [Figure(f"receipts_beside_{many}", median(rates), "receipts/s", f"beside {FEW}", median(ratios), 0.8)]


async def _run(bench: Bench, filled: str) -> float:
    """In a copy of the database `filled`."""
    async with bench.postgres.fresh(filled) as name, open_store(bench.postgres.database(name)) as store:
        rate = await _rate(store, bench.settings.receipts)
        (row,) = await store.read("SELECT count(*) AS found FROM events WHERE feedback = 'received'", [])
        if row["found"] != bench.settings.receipts:
            raise Failed(f"{bench.settings.receipts} receipts came and {row['found']} events were received")
        return rate


async def _rate(store: Store, coming: int) -> float:
    calls = Calls(load([], []), 1.0)
    metrics, addresses = Metrics(), {"sms": "mobilePhone"}
    suppressions = Suppressions(store, addresses, {"": Terms()}, {}, metrics)
    box = Receipts(store, calls, 3600.0, metrics, suppressions, addresses, lambda event: "")

    async def none() -> int:
        return 0

    matching = asyncio.create_task(box.run(1.0, none))
    began = time.monotonic()
    try:
        for start in range(1, coming + 1, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, coming + 1))
            await box.record([_receipt(number) for number in numbers])
        while (await store.read("SELECT count(*) AS waiting FROM receipts WHERE look IS NOT NULL", []))[0]["waiting"]:
            await asyncio.sleep(0.02)
        return coming / (time.monotonic() - began)
    finally:
        matching.cancel()
        await asyncio.gather(matching, return_exceptions=True)


def _receipt(number: int) -> Receipt:
    text = "id:m stat:DELIVRD err:000"
    return Receipt("sms", "smsc", ReceiptState.RECEIVED, text, names=(f"{number:X}", f"m{number}"), code="000")


__all__ = ["receipts"]
