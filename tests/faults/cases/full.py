"""A provider with as much under way as it takes, and workers with many more messages at hand: for any channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rig import Rig, Row, row
from ..ways import Way


async def kept_full(rig: Rig, case: str, name: str, way: Way, places: int, events: int, **orders: Any) -> Row:
    """The provider takes its time, has `places`, and counts what goes beyond them; `orders` are more of its own."""
    changes: Mapping[str, Any] = {"delivery.concurrency": 5 * places, "delivery.reserved": 0}
    async with rig.world(changes, way=way, orders={"latency": 100, **orders}) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            await world.site.serve("worker")
            judged = await world.verdict(60, h="unknown")
        full = world.stand_in.count("full")
    return row(
        case,
        name,
        judged,
        {"every place was taken": full > 0, "all is sent": judged.received == judged.acked},
        {"times full": full},
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )
