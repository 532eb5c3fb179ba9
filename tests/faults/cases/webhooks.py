"""W1: other systems are told what becomes of events, while their receiver is down and whoever tells them is killed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any

from ..receiver import running_receiver
from ..rig import LEASE, RECOVERY, Case, Dialect, Rig, Row, World, row

SECRET = "whsec_b25lIGZvciB0aGUgZmF1bHQgY2FzZXMgYWxvbmU="
FINAL = ("event.sent", "event.failed", "event.ignored", "event.not_covered", "event.expired")
UNTOLD = "SELECT count(*) FROM outbox WHERE state = 0"


async def w1(rig: Rig) -> AsyncIterator[Row]:
    yield await told(rig, rig.events(800), 8, 60)
    yield await told(rig, rig.events(200), 4, 20, dialect="sqlite")


async def told(rig: Rig, events: int, deaths: int, rate: float, *, dialect: Dialect = "postgres") -> Row:
    """The receiver is down, then refuses, then cuts answers off; meanwhile the servers that tell it are killed."""
    chance = random.Random(1)
    async with running_receiver(rig.folder / f"webhooks-{dialect}-{time.monotonic_ns()}", SECRET) as receiver:
        changes: dict[str, Any] = {
            "webhooks.fetch": {"plain": True, "networks": ["127.0.0.0/8"], "ports": [receiver.port], "timeout": 1.0},
            "webhooks.subscriptions": {
                "all": {
                    "url": f"http://127.0.0.1:{receiver.port}/",
                    "secrets": [SECRET],
                    "events": ["accepted", "deferred", "sent", "ignored", "failed", "not_covered", "expired"],
                    "first": 0.2,
                    "cap": 1.0,
                }
            },
        }
        async with rig.world(changes, dialect=dialect) as world:
            await receiver.tell("down")
            intake = await world.site.serve("intake")
            for _ in range(2):
                await world.keep("worker")
            async with world.callers(intake) as callers:
                load = asyncio.create_task(callers.pushed(events, 6, rate))
                for number in range(deaths):
                    await asyncio.sleep(chance.uniform(0.5, 1.5))
                    if number == deaths // 2:
                        await receiver.tell("refuse 5")
                        await receiver.tell("cut 7")
                        await receiver.tell("up")
                    if living := world.living():
                        await chance.choice(living).kill()
                await load
                waited = await _all_told(world)
                judged = await world.verdict(60)
            statuses = {one.id: one.status for one in await world.site.database.events()}
        heard = receiver.lines()
    kinds = defaultdict(set)
    for line in heard:
        kinds[line["id"]].add(line["kind"])
    untold = [
        one for one, status in statuses.items() if not {"event.accepted", f"event.{status}"} <= kinds.get(one, set())
    ]
    bodies: defaultdict[str, set[str]] = defaultdict(set)
    for line in heard:
        bodies[line["key"]].add(line["body"])
    ends = Counter(line["id"] for line in {line["key"]: line for line in heard}.values() if line["kind"] in FINAL)
    return row(
        "W1",
        f"receiver down, {deaths} deaths, {dialect}",
        judged,
        {
            "every event's beginning and end is told": not untold,
            "all is told in time": waited is not None,
            "a repeat is the same message under the same id": all(len(found) == 1 for found in bodies.values()),
            "the end of each event is one message": set(ends.values()) == {1},
            "workers died": bool(world.strikes),
            "there was something to repeat": len(heard) > len(bodies),
        },
        {
            "messages": len(bodies),
            "repeats": len(heard) - len(bodies),
            "untold": len(untold),
            "all told after s": None if waited is None else round(waited, 1),
        },
        dup=judged.h,
        false_failed=0,
        recovery=RECOVERY,
    )


async def _all_told(world: World, seconds: float = 90.0 + LEASE) -> float | None:
    """Seconds until nothing is left to be told; None: it never was so."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        if await world.idle(0.5) and not await world.site.database.number(UNTOLD):
            return waited
        await asyncio.sleep(0.2)
    return None


CASES = (Case("W1", "webhooks", w1),)
