"""P2 to P5: push services that reset, go away, call tokens dead, expire credentials, and ask to come back later."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..rig import Case, Rig, Row, World, row
from ..ways import APNS, DEVICES, FCM, GRAVEYARD, STREAMS, Way, fate, one_of_few, push_xml
from .failpoints import one_id_each
from .full import kept_full

REFUSED_STREAM, CANCEL = 7, 8
"""RFC 9113, section 7: the one says that nothing was done with the request, the other says nothing."""


async def p2(rig: Rig) -> AsyncIterator[Row]:
    yield await kept_full(rig, "P2", "ios, every stream taken", APNS, STREAMS, rig.events(400))
    yield await harmed(rig, APNS, "GOAWAY", {"goaway": True}, rig.events(300), 10)
    yield await harmed(rig, APNS, "RST_STREAM, refused", {"reset": REFUSED_STREAM}, rig.events(300), 10)
    yield await harmed(rig, APNS, "RST_STREAM, not taken", {"reset": CANCEL}, rig.events(150), 15)
    yield await harmed(rig, APNS, "RST_STREAM, taken", {"lose": True}, rig.events(150), 15)
    yield await harmed(rig, APNS, "silence", {"silent": True}, rig.events(60), 15)
    yield await harmed(rig, FCM, "connection cut, not taken", {"reset": 0}, rig.events(150), 15)
    yield await harmed(rig, FCM, "connection cut, taken", {"lose": True}, rig.events(150), 15)


async def harmed(rig: Rig, way: Way, name: str, deed: Mapping[str, Any], events: int, every: int) -> Row:
    """Of so many requests one meets with that; what is certainly not done is done again at no cost, what nobody knows
    is repeated once, under the same id."""
    orders = {"latency": 10, "every": every, "do": deed}
    async with rig.world(way=way, orders=orders) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            await world.site.serve("worker")
            judged = await world.verdict(60, h="unknown")
        harm = world.stand_in.count("harmed")
        certain = deed in ({"goaway": True}, {"reset": REFUSED_STREAM})
        checks = {"requests were harmed": harm > 0, "in doubt, or not": judged.h == 0 if certain else judged.h > 0}
        if way is APNS:
            checks["a repeat has the first one's apns-id"] = one_id_each(world)
    return row(
        "P2",
        f"{way.name}, {name}",
        judged,
        checks,
        {"harmed": harm, "unknown": judged.unknown},
        dup=judged.h if "lose" in deed or "silent" in deed else 0,
        failed=0,
        false_failed=0,
    )


async def p3(rig: Rig) -> AsyncIterator[Row]:
    yield await tokens(rig, APNS, rig.events(200))
    yield await tokens(rig, FCM, rig.events(200))


async def tokens(rig: Rig, way: Way, events: int) -> Row:
    """Some devices are gone, some are called gone by news older than their registration, some are another app's: the
    first kind alone is put on the list, and not asked for again."""
    shape = push_xml("41" if way is APNS else "42", one_of_few)
    async with rig.world(way=way) as world:
        intake = await world.site.serve("intake")
        for _ in range(2):
            await world.site.serve("worker")
        async with world.callers(intake, shape=shape) as callers:
            await callers.pushed(DEVICES)
            await world.idle()
            first = world.stand_in.count("dead")
            await callers.pushed(events)
            judged = await world.verdict(60, h="unknown")
        again = world.stand_in.count("dead") - first
        kinds = Counter((fate(one.key), one.status) for one in await world.site.database.events())
    return row(
        "P3",
        f"{way.name}, dead and stale tokens",
        judged,
        {
            "each kind was there": {kind for kind, _ in kinds} == {"", *GRAVEYARD.values()},
            "the dead are refused, then ignored": {status for kind, status in kinds if kind == "dead"}
            == {"failed", "ignored"},
            "nobody asks for them again": again == 0,
            "the stale are sent": {status for kind, status in kinds if kind == "5a1e"} == {"sent"},
            "another app's only fail": {status for kind, status in kinds if kind == "bad0"} == {"failed"},
            "the others are sent": {status for kind, status in kinds if not kind} == {"sent"},
        },
        {
            "dead": f"{kinds['dead', 'failed']} refused, {kinds['dead', 'ignored']} ignored",
            "stale": kinds["5a1e", "sent"],
            "of another app": kinds["bad0", "failed"],
        },
        dup=0,
        h=0,
        failed=kinds["dead", "failed"] + kinds["dead", "ignored"] + kinds["bad0", "failed"],
        false_failed=0,
    )


async def p4(rig: Rig) -> AsyncIterator[Row]:
    for way in (APNS, FCM):
        yield await expired(rig, way, rig.events(200))


async def expired(rig: Rig, way: Way, events: int) -> Row:
    """The credentials expire in the middle: new ones are had at once, and no event pays for it with a try."""
    async with rig.world(way=way, orders={"latency": 20, "expires": events // 2}) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            await world.site.serve("worker")
            judged = await world.verdict(60, h="unknown")
        tries = len(await world.site.database.attempts())
        had = world.stand_in.count("token")
    return row(
        "P4",
        f"{way.name}, expired credentials",
        judged,
        {
            "they expired": world.stand_in.count("expired") == 1,
            "new ones were had once": had == 2,
            "one attempt for each event": tries == judged.acked,
            "all is sent": judged.received == judged.acked,
        },
        {"tokens": had, "attempts": tries},
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )


async def p5(rig: Rig) -> AsyncIterator[Row]:
    yield await later(rig, APNS, 503, "ServiceUnavailable", rig.events(60))
    yield await later(rig, APNS, 429, "TooManyProviderTokenUpdates", rig.events(60))
    yield await later(rig, FCM, 503, "UNAVAILABLE", rig.events(60))
    yield await later(rig, FCM, 429, "QUOTA_EXCEEDED", rig.events(60))


async def later(rig: Rig, way: Way, status: int, reason: str, events: int, wait: int = 2) -> Row:
    """The service refuses everything for a while and says when to come back: nothing comes before that, and it costs no
    try, of which there are two."""
    changes = {f"delivery.retry.{way.name}": {"first": "0.1s", "cap": "0.2s", "tries": 2}}
    async with rig.world(changes, way=way) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(20)
            await world.site.serve("worker")
            await world.idle()
            await world.stand_in.orders(refuse={"status": status, "reason": reason, "wait": wait})
            await asyncio.sleep(0.2)
            await callers.pushed(events)
            await asyncio.sleep(2.5 * wait)
            await world.stand_in.orders(refuse=None)
            judged = await world.verdict(60, h="unknown")
        refused = world.stand_in.count("refused")
        soonest = _soonest(world)
    return row(
        "P5",
        f"{way.name}, {status} {reason}"[:41],
        judged,
        {
            "it refused": refused > 0,
            "nothing came back too soon": soonest >= wait - 0.1,
            "all is sent": judged.received == judged.acked,
        },
        {"refused": refused, "came back after s": round(soonest, 2)},
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )


def _soonest(world: World) -> float:
    """Seconds between a refusal and the next request for the same event, at least."""
    last: dict[str, float] = {}
    gaps = []
    for line in world.stand_in.lines():
        key = str(line.get("refused") or line.get("key"))
        if key in last:
            gaps.append(line["at"] - last.pop(key))
        if "refused" in line:
            last[key] = line["at"]
    return min(gaps, default=0.0)


CASES = (
    Case("P2", "push: GOAWAY and resets under load", p2, ("node",)),
    Case("P3", "push: dead and stale tokens", p3, ("node",)),
    Case("P4", "push: expired credentials", p4, ("node",)),
    Case("P5", "push: refused with Retry-After", p5, ("node",)),
)
