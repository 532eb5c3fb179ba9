"""F11, S1, P1: workers that kill themselves, or stumble, at a place on an event's way."""

from __future__ import annotations

from collections.abc import AsyncIterator

from petitbleu.failpoints import PLACES, VARIABLE

from ..rig import RECEIPT, RECOVERY, Case, Dialect, Rig, Row, World, row
from ..ways import APNS, FCM, MAIL, SMS, Way

DOUBLES = ("after_handoff", "after_reply", "before_result")
"""Where a provider may have what the database does not know to be done."""


async def at(
    rig: Rig,
    place: str,
    events: int,
    every: int,
    *,
    concurrency: int = 1,
    workers: int = 2,
    dialect: Dialect = "postgres",
    case: str = "F11",
    way: Way = MAIL,
) -> Row:
    """`workers` die at every `every`-th passage of `place`. With one event at a time in each, nothing but the event at
    that place is struck, and before the hand-off nothing may come twice; where what is unknown is held, nothing may."""
    changes = {"delivery.concurrency": concurrency, "delivery.reserved": 0}
    async with rig.world(changes, dialect=dialect, way=way, orders={"receipts": {}} if way is SMS else {}) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            for _ in range(workers):
                await world.keep("worker", environment={VARIABLE: f"{place}:{every}:kill"})
            await callers.pushed(events)
            judged = await world.verdict(120)
        strict = way.holds or (concurrency == 1 and place not in DOUBLES)
        variant = "" if way is MAIL else f"{way.name}, "
        variant += f"{place}, {concurrency} at once" + (", SQLite" if dialect == "sqlite" else "")
        checks = {"a worker died": bool(world.strikes)}
        most: dict[str, float] = {"dup": 0 if strict else judged.h, "recovery": RECOVERY}
        if way.holds:
            # what was never sent has no receipt; all else is known by it, although its worker is dead
            unsent = concurrency > 1 or place == "after_handoff"
            most |= {"recovery": RECOVERY + RECEIPT, "unknown": judged.h if unsent else 0}
        if way is APNS:
            checks["a repeat has the first one's apns-id"] = one_id_each(world)
        return row(
            case, variant, judged, checks, {"deaths": len(world.strikes), "unknown": judged.unknown},
            false_failed=0, failed=0, **most,
        )  # fmt: skip


def one_id_each(world: World) -> bool:
    taken = {(line["key"], line["id"]) for line in world.stand_in.lines() if "key" in line}
    return len(taken) == len({key for key, _ in taken}) == len({one for _, one in taken})


async def stumbling(rig: Rig, place: str, events: int, every: int) -> Row:
    """An error of the server's own instead of a death: after the hand-over it is an unknown, before it costs a try."""
    async with rig.world() as world:
        intake = await world.site.serve("intake")
        worker = await world.site.serve("worker", environment={VARIABLE: f"{place}:{every}:raise"})
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            judged = await world.verdict(60, h="unknown")
        raised = sum("could not be worked on" in line["text"] for line in worker.lines())
    return row(
        "F11", f"{place}, raises", judged,
        {"it raised": raised > 0, "unknown after the reply only": judged.h == (place != "after_render") * raised},
        {"raised": raised},
        dup=judged.h, false_failed=0, failed=0,
    )  # fmt: skip


async def f11(rig: Rig) -> AsyncIterator[Row]:
    for place in PLACES:
        yield await at(rig, place, rig.events(240), 40)
    for place in DOUBLES:
        yield await at(rig, place, rig.events(600), 150, concurrency=20)
    for place in ("before_handoff", "after_handoff", "before_result"):
        yield await at(rig, place, rig.events(120), 40, workers=1, dialect="sqlite")
    for place in ("after_render", "after_reply"):
        yield await stumbling(rig, place, rig.events(120), 25)


async def s1(rig: Rig) -> AsyncIterator[Row]:
    for place in PLACES:
        yield await at(rig, place, rig.events(60), 20, case="S1", way=SMS)
    yield await at(rig, "after_reply", rig.events(300), 80, concurrency=20, case="S1", way=SMS)


async def p1(rig: Rig) -> AsyncIterator[Row]:
    for place in PLACES:
        yield await at(rig, place, rig.events(60), 20, case="P1", way=APNS)
    yield await at(rig, "after_reply", rig.events(300), 80, concurrency=20, case="P1", way=APNS)
    for place in ("before_handoff", "after_reply"):
        yield await at(rig, place, rig.events(60), 20, case="P1", way=FCM)


CASES = (
    Case("F11", "kill -9 at each failpoint", f11),
    Case("S1", "SMS: kill -9 at each failpoint", s1, ("node", "npm")),
    Case("P1", "push: kill -9 at each failpoint", p1, ("node",)),
)
