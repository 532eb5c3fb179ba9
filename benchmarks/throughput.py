"""Mails per second: the whole way, and the way out alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from .arithmetic import median
from .bench import Bench, Database, Flow, flow, per_event
from .envelopes import BY_MAIL, Wish, pushes
from .load import Load
from .processes import Failed
from .report import Figure, number
from .sink import TICK

CALLERS = 50
UNDER_WAY = 2000
"""Events that callers let be under way before they pause, so that as much comes in as goes out."""
PER_CALL = 100
"""Events of one PushEvents."""


async def raw(bench: Bench) -> list[Figure]:
    rates = []
    for _ in range(bench.settings.runs):
        rates.append(await bench.raw())
        bench.say(f"raw {number(rates[-1])}/s")
    return [Figure("raw", median(rates), "mails/s", note=f"{bench.message.stat().st_size} bytes; {bench.sink.name}")]


@dataclass(frozen=True, slots=True)
class Paired:
    """A rate and that of `raw` right before and after it, averaged."""

    rate: float
    raw: float
    used: Mapping[str, float]
    steady: bool = True

    @property
    def ratio(self) -> float:
        return self.rate / self.raw


def costs(used: Mapping[str, float]) -> str:
    return "CPU us/event: " + ", ".join(f"{who} {micros:.0f}" for who, micros in sorted(used.items()))


async def end_to_end(bench: Bench) -> list[Figure]:
    return [await _whole_way(bench, "end_to_end", "postgres", 2, target=0.6)]


async def relaxed(bench: Bench) -> list[Figure]:
    return [await _whole_way(bench, "end_to_end_relaxed", "postgres", 2, relaxed=True)]


async def sqlite(bench: Bench) -> list[Figure]:
    return [await _whole_way(bench, "sqlite_end_to_end", "sqlite", 1, target=0.45)]


async def _whole_way(
    bench: Bench, name: str, kind: str, processes: int, *, target: float | None = None, relaxed: bool = False
) -> Figure:
    runs = []
    for _ in range(bench.settings.runs):
        before = await bench.raw()
        run = await one_flow(bench, name, kind, processes, relaxed=relaxed)
        pair = Paired(run.window.rate, (before + await bench.raw()) / 2, run.used, run.window.steady)
        bench.say(
            f"{name} {number(pair.rate)}/s, raw {number(pair.raw)}/s, ratio {pair.ratio:.3f}, acknowledged and sent "
            f"{100 * run.window.apart:.1f} % apart; {costs(run.used)}"
        )
        runs.append(pair)
    return against_raw(name, runs, target)


def against_raw(name: str, runs: Sequence[Paired], target: float | None) -> Figure:
    return against("raw", name, runs, target)


def against(what: str, name: str, runs: Sequence[Paired], target: float | None) -> Figure:
    ratio, rate = median([run.ratio for run in runs]), median([run.rate for run in runs])
    return Figure(name, rate, "events/s", what, ratio, target, note=unsteady([run.steady for run in runs]))


def unsteady(steady: Sequence[bool]) -> str:
    """Says so of the runs that were not."""
    number_of = steady.count(False)
    return f"NOT STEADY in {number_of} of {len(steady)} runs" if number_of else ""


async def one_flow(bench: Bench, name: str, kind: str, processes: int, *, relaxed: bool = False) -> Flow:
    """One run of the whole way on a new database. `relaxed` lets the database lose what it has acknowledged."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(bench.database(kind))
        if relaxed:
            await database.relax()
        assignments = ["durability=relaxed"] if relaxed else []
        server = await stack.enter_async_context(bench.server(database, processes, assignments=assignments))
        taken = bench.sink.accepted
        load = Load(
            "127.0.0.1",
            server.port,
            pushes(server.token),
            callers=CALLERS,
            bound=UNDER_WAY,
            sent=lambda: bench.sink.accepted - taken,
        )
        return await flow(bench, server, await stack.enter_async_context(load), database, name)


# ----------------------------------------------------------------------------------------------------------- draining


@dataclass(frozen=True, slots=True)
class Part:
    """So many events to store, as `pushes` makes them."""

    events: int
    batch: bool = False
    scheduled: str = ""
    wish: Wish = BY_MAIL


@asynccontextmanager
async def stored(bench: Bench, *parts: Part) -> AsyncIterator[str]:
    """The name of a database that holds the events of all parts, pushed to an intake."""
    async with bench.postgres.fresh(bench.base) as name:
        database = Database(f"database={bench.postgres.database(name)}", postgres=bench.postgres, name=name)
        async with bench.server(database, 1, "intake") as server:
            for part in parts:
                requests = pushes(server.token, PER_CALL, batch=part.batch, scheduled=part.scheduled, wish=part.wish)
                async with Load("127.0.0.1", server.port, requests, callers=8, most=part.events) as load:
                    load.start()
                    await load.finish()
        # as autovacuum would have left it, so that it does not start in the middle of a run
        await bench.postgres.run("VACUUM ANALYZE", name)
        await bench.postgres.run("CHECKPOINT")
        yield name


async def drain(bench: Bench) -> list[Figure]:
    events = bench.settings.drain_events
    runs = []
    async with stored(bench, Part(events)) as filled:
        for _ in range(bench.settings.runs):
            before = await bench.raw()
            rate, used = await one_drain(bench, filled, events, "drain")
            pair = Paired(rate, (before + await bench.raw()) / 2, used)
            bench.say(f"drain {number(rate)}/s, raw {number(pair.raw)}/s, ratio {pair.ratio:.3f}; {costs(used)}")
            runs.append(pair)
    return [against_raw("drain", runs, 2.0)]


async def one_drain(
    bench: Bench, filled: str, events: int, label: str, processes: int = 2
) -> tuple[float, Mapping[str, float]]:
    """Worker processes on a copy of the database `filled`, from the first message to the last of `events`, or a little
    further where there are more. Gives messages per second and what they cost."""
    sink = bench.sink
    async with bench.database(template=filled) as database:
        start = sink.accepted
        # a copied database is told from the one it was, and would wait for an operator
        async with bench.server(database, processes, "worker", ["delivery.hold_after_restore=false"]) as server:
            await _taken(bench, start + 1)
            began, first, used = time.monotonic(), sink.accepted, bench.processors(server)
            async with bench.profiled(server, label):
                await _taken(bench, start + events)
                seconds, count = time.monotonic() - began, sink.accepted - first
                spent = per_event(used, bench.processors(server), count)
        # the workers have finished what they had handed off
        sent, taken = (await database.statuses()).get("sent", 0), sink.accepted - start
        if sent != taken:
            raise Failed(f"the sink took {taken} messages; the database has {sent} events sent")
    return count / seconds, spent


async def _taken(bench: Bench, count: int, patience: float = 30.0) -> None:
    """Raises `Failed` if the sink takes nothing for `patience` seconds."""
    seen, end = bench.sink.accepted, time.monotonic() + patience
    while seen < count:
        await asyncio.sleep(TICK)
        if bench.sink.accepted > seen:
            seen, end = bench.sink.accepted, time.monotonic() + patience
        elif time.monotonic() > end:
            raise Failed(f"no message for {patience:g} s, and {count - seen} are still to come")
