"""S6, P6: a provider that is away for longer than its messages are worth anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from ..rig import Case, Rig, Row, row
from ..ways import APNS, FCM, SMS, Way


async def s6(rig: Rig) -> AsyncIterator[Row]:
    yield await outlived(rig, "S6", SMS, rig.events(100), 4 * max(1.0, rig.size))


async def p6(rig: Rig) -> AsyncIterator[Row]:
    for way in (APNS, FCM):
        yield await outlived(rig, "P6", way, rig.events(100), 4 * max(1.0, rig.size))


async def outlived(rig: Rig, case: str, way: Way, events: int, life: float) -> Row:
    """Each of the events pushed meanwhile ends *expired*, none is sent when the provider is back; later ones are."""
    changes = {f"delivery.retry.{way.name}": {"first": "0.3s", "cap": "1s", "tries": 2}}
    async with rig.world(changes, way=way, orders={"receipts": {}} if way is SMS else {}) as world:
        server = await world.site.serve("all")
        async with world.callers(server) as callers:
            await callers.pushed(20)
            await world.idle()
            world.provider.refuse()
            began = time.time()
            doomed = [(await callers.push(expires=began + life)).ids for _ in range(events)]
            lasting = [(await callers.push()).ids for _ in range(20)]
            await asyncio.sleep(max(0.0, began + life - time.time()) + 2)
            await world.provider.listen()
            back = time.monotonic()
            await world.idle(30)
            back = time.monotonic() - back
            await callers.pushed(20)
            judged = await world.verdict()
        found = {one.id: one for one in await world.site.database.events()}
        statuses = [[found[one].status for ids in group for one in ids] for group in (doomed, lasting)]
    return row(
        case,
        f"{way.name}, away for {life + 2:.0f} s, a life is {life:.0f} s",
        judged,
        {
            "all of those expired": set(statuses[0]) == {"expired"} and len(statuses[0]) == events,
            "those with a longer life are sent": set(statuses[1]) == {"sent"},
            "it goes on within 10 s": back <= 10,
        },
        {"goes on after s": round(back, 1)},
        dup=0,
        h=0,
        failed=events,
        false_failed=0,
    )


CASES = (
    Case("S6", "SMS: an outage longer than the events' life", s6, ("node", "npm")),
    Case("P6", "push: an outage longer than the events' life", p6, ("node",)),
)
