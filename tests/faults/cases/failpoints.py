"""F11: workers that kill themselves, or stumble, at a place on an event's way."""

from __future__ import annotations

from collections.abc import AsyncIterator

from petitbleu.failpoints import PLACES, VARIABLE

from ..rig import RECOVERY, Case, Dialect, Rig, Row, row

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
) -> Row:
    """`workers` die at every `every`-th passage of `place`. With one event at a time in each, nothing but the event at
    that place is struck, and before the hand-off nothing may come twice."""
    changes = {"delivery.concurrency": concurrency, "delivery.reserved": 0}
    async with rig.world(changes, dialect=dialect) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            for _ in range(workers):
                await world.keep("worker", environment={VARIABLE: f"{place}:{every}:kill"})
            await callers.pushed(events)
            judged = await world.verdict(120)
        strict = concurrency == 1 and place not in DOUBLES
        variant = f"{place}, {concurrency} at once" + (", SQLite" if dialect == "sqlite" else "")
        return row(
            "F11", variant, judged, {"a worker died": bool(world.strikes)}, {"deaths": len(world.strikes)},
            dup=0 if strict else judged.h, false_failed=0, failed=0, recovery=RECOVERY,
        )  # fmt: skip


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


CASES = (Case("F11", "kill -9 at each failpoint", f11),)
