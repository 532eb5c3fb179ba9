"""S2 to S5: an SMSC that cuts, does not answer, tells receipts as it likes, and wants less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..oracle import Verdict
from ..rig import Case, Rig, Row, World, row
from ..ways import SMS, WINDOW
from .full import kept_full

LONG = f"<more>{' and so on' * 14}. This is number {{}}.</more>"
"""Makes a text of two parts, each of which says its number."""


async def s2(rig: Rig) -> AsyncIterator[Row]:
    yield await kept_full(rig, "S2", "a full window, nothing cut", SMS, WINDOW, rig.events(300), receipts={})
    yield await window_cut(rig, rig.events(100), 3)
    yield await window_cut(rig, rig.events(100), 3, told=False)
    yield await window_cut(rig, rig.events(60), 3, parts=2)


async def window_cut(rig: Rig, events: int, cuts: int, *, told: bool = True, parts: int = 1) -> Row:
    """The connection is cut while as many messages are unanswered as there may be. The SMSC has them, and sends none of
    their identifiers: receipts tell what became of them, or nobody ever does; no part goes out a second time."""
    orders: dict[str, Any] = {"latency": 150, "cut": WINDOW, "cuts": cuts}
    if told:
        orders["receipts"] = {"delay": 200}
    async with rig.world({"delivery.concurrency": 30, "delivery.reserved": 0}, way=SMS, orders=orders) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            for _ in range(events):
                key = callers.key()
                await callers.push(key, ctx=LONG.format(key) if parts > 1 else "")
            await world.site.serve("worker")
            judged = await world.verdict(60, h="unknown")
        made = world.stand_in.count("cut")
        sent = await world.site.database.number("SELECT count(*) FROM events WHERE status = 'sent'")
        whole = len({(one.id, one.part) for one in world.sink.receipts(await world.site.database.events())})
    checks = {
        "the connection was cut": made == cuts,
        "there was something in doubt": judged.h > 0,
        "every part of each came": whole == parts * judged.received,
    }
    if told:
        checks["all is known by its receipt"] = sent == events
    else:
        checks["what nobody knows ends so"] = judged.unknown == judged.h == cuts * WINDOW
    return row(
        "S2",
        ("receipts" if told else "no receipts") + (f", {parts} parts" if parts > 1 else ""),
        judged,
        checks,
        {"cuts": made},
        dup=0,
        failed=0,
        false_failed=0,
        unknown=0 if told else judged.h,
    )


async def s3(rig: Rig) -> AsyncIterator[Row]:
    yield await unanswered(rig, rig.events(100), 9)


async def unanswered(rig: Rig, events: int, every: int) -> Row:
    """Every so many messages are taken and not answered; the receipt comes by the message's own number."""
    changes = {"sms.connectors.main.timeouts.response": 1.5}
    async with rig.world(changes, way=SMS, orders={"lose": every, "receipts": {"delay": 100}}) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            await world.site.serve("worker")
            judged = await world.verdict(60, h="unknown")
        lost = world.stand_in.count("unanswered")
        sent = await world.site.database.number("SELECT count(*) FROM events WHERE status = 'sent'")
    return row(
        "S3",
        f"every {every}. response never comes",
        judged,
        {
            "responses were missing": lost > 0,
            "each is an unknown": judged.h >= lost,
            "all is known by its receipt": sent == judged.acked,
        },
        {"missing": lost, "unknown at first": judged.h},
        dup=0,
        failed=0,
        false_failed=0,
        unknown=0,
    )


async def s4(rig: Rig) -> AsyncIterator[Row]:
    yield await receipts_at_will(rig, rig.events(300), {"early": 3})
    yield await receipts_at_will(rig, rig.events(300), {"twice": 2, "delay": 50})
    yield await receipts_at_will(rig, rig.events(300), {"delay": 2500})
    yield await receipts_at_will(rig, rig.events(300), {"early": 5, "twice": 3, "delay": 300, "elsewhere": True})
    yield await receipts_and_deaths(rig, rig.events(200), 3)


HEX: Mapping[str, Any] = {"ids": "hex"}
"""Responses and receipts spell identifiers differently."""


async def receipts_at_will(rig: Rig, events: int, how: Mapping[str, Any]) -> Row:
    """Every receipt finds its message, and every message is in the state that the SMSC told last."""
    changes = {"sms.connectors.main.binds.transceiver": 2}
    orders = {**HEX, "receipts": {"bounce": 7, **how}, "reference": False}
    async with rig.world(changes, way=SMS, orders=orders) as world:
        intake = await world.site.serve("intake")
        for _ in range(2):
            await world.site.serve("worker")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            judged = await world.verdict(60, h="unknown")
        return row(
            "S4",
            ", ".join(f"{name} {value}" for name, value in how.items()),
            judged,
            _told(world, judged),
            {"receipts": world.stand_in.count("told")},
            dup=0,
            h=0,
            failed=0,
            false_failed=0,
        )


async def receipts_and_deaths(rig: Rig, events: int, deaths: int) -> Row:
    """Workers die while receipts come: what they had acknowledged is known, what they had not is told again."""
    orders = {**HEX, "latency": 50, "receipts": {"bounce": 7, "delay": 100}}
    async with rig.world({"delivery.concurrency": 4, "delivery.reserved": 0}, way=SMS, orders=orders) as world:
        intake = await world.site.serve("intake")
        for _ in range(2):
            await world.keep("worker")
        async with world.callers(intake) as callers:
            load = asyncio.create_task(callers.pushed(events, rate=60))
            for number in range(deaths):
                await asyncio.sleep(events / 60 / (deaths + 1))
                workers = world.living()
                await workers[number % len(workers)].kill()
            await load
            judged = await world.verdict(60)
        return row(
            "S4",
            f"{deaths} workers die meanwhile",
            judged,
            {"workers died": len(world.strikes) == deaths, "all was told": world.stand_in.owes == 0},
            {"receipts": world.stand_in.count("told"), "unknown": judged.unknown},
            dup=0,
            failed=0,
            false_failed=0,
            # what was about to be sent has no receipt
            unknown=judged.h,
        )


def _told(world: World, judged: Verdict) -> dict[str, bool]:
    bounced = sum(line.get("state") == "UNDELIV" for line in world.stand_in.lines() if "told" in line)
    return {
        "all was told": world.stand_in.owes == 0 and world.stand_in.count("told") >= judged.acked,
        "some did not arrive": bounced > 0,
    }


async def s5(rig: Rig) -> AsyncIterator[Row]:
    yield await throttled(rig, rig.events(200), 40)


async def throttled(rig: Rig, events: int, rate: int) -> Row:
    """The SMSC takes so many a second and refuses the rest: that costs no try, of which there are two."""
    changes = {"delivery.retry.sms": {"first": "0.3s", "cap": "1s", "tries": 2}}
    async with rig.world(changes, way=SMS, orders={"rate": rate, "receipts": {}}) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            for _ in range(2):
                await world.site.serve("worker")
            judged = await world.verdict(90, h="unknown")
        refused = world.stand_in.count("throttled")
        took = max(one.at for one in world.sink.receipts()) - min(one.at for one in world.sink.receipts())
    return row(
        "S5",
        f"{rate} a second",
        judged,
        {"it was throttled": refused > 0, "all is sent": judged.received == judged.acked},
        {"refused": refused, "a second": round(judged.received / took, 1)},
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )


CASES = (
    Case("S2", "SMS: cut with a full window", s2, ("node", "npm")),
    Case("S3", "SMS: responses that never come", s3, ("node", "npm")),
    Case("S4", "SMS: receipts early, twice, late, elsewhere", s4, ("node", "npm")),
    Case("S5", "SMS: throttling", s5, ("node", "npm")),
)
