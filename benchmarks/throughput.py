"""Mails per second: the whole way, and the way out alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .arithmetic import median
from .bench import Bench, Database, Flow, flow, per_event
from .envelopes import Requests, pushes
from .load import Load
from .processes import Failed
from .report import Figure, number
from .sink import TICK

CALLERS = 50
UNDER_WAY = 2000
"""Events that callers let be under way before they pause, so that as much comes in as goes out."""


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


async def end_to_end_relaxed(bench: Bench) -> list[Figure]:
    assignments = ["durability=relaxed"]
    return [await _whole_way(bench, "end_to_end_relaxed", "postgres", 2, target=None, assignments=assignments)]


async def sqlite(bench: Bench) -> list[Figure]:
    return [await _whole_way(bench, "sqlite_end_to_end", "sqlite", 1, target=0.45)]


async def _whole_way(
    bench: Bench, name: str, kind: str, processes: int, *, target: float | None, assignments: Sequence[str] = ()
) -> Figure:
    runs = []
    for _ in range(bench.settings.runs):
        before = await bench.raw()
        run = await one_flow(bench, name, kind, processes, assignments)
        pair = Paired(run.window.rate, (before + await bench.raw()) / 2, run.used, run.window.steady)
        bench.say(
            f"{name} {number(pair.rate)}/s, raw {number(pair.raw)}/s, ratio {pair.ratio:.3f}, acknowledged and sent "
            f"{100 * run.window.apart:.1f} % apart; {costs(run.used)}"
        )
        runs.append(pair)
    return against_raw(name, runs, target)


def against_raw(name: str, runs: Sequence[Paired], target: float | None) -> Figure:
    ratio, rate = median([run.ratio for run in runs]), median([run.rate for run in runs])
    unsteady = sum(not run.steady for run in runs)
    note = f"NOT STEADY in {unsteady} of {len(runs)} runs" if unsteady else ""
    return Figure(name, rate, "events/s", "raw", ratio, target, note=note)


async def one_flow(bench: Bench, name: str, kind: str, processes: int, assignments: Sequence[str] = ()) -> Flow:
    """One run of the whole way on a new database."""
    async with (
        bench.database(kind) as database,
        bench.server(database, processes, assignments=assignments) as server,
    ):
        taken = bench.sink.accepted
        requests = pushes(server.token)
        async with Load(
            "127.0.0.1",
            server.port,
            requests,
            callers=CALLERS,
            bound=UNDER_WAY,
            sent=lambda: bench.sink.accepted - taken,
        ) as load:
            return await flow(bench, server, load, database, name)


# ----------------------------------------------------------------------------------------------------------- draining


@asynccontextmanager
async def stored(bench: Bench, *parts: tuple[int, dict[str, bool | str]]) -> AsyncIterator[str]:
    """The name of a database that holds so many events of each part, as `pushes` makes them, pushed to an intake."""
    async with bench.postgres.fresh(bench.base) as name:
        database = Database(f"database={bench.postgres.database(name)}", postgres=bench.postgres, name=name)
        async with bench.server(database, 1, "intake") as server:
            for events, how in parts:
                await push_all(server.port, pushes(server.token, 100, **how), events)  # type: ignore[arg-type]
        # as autovacuum would have left it, so that it does not start in the middle of a run
        await bench.postgres.run("VACUUM ANALYZE", name)
        await bench.postgres.run("CHECKPOINT")
        yield name


async def push_all(port: int, requests: Requests, events: int) -> None:
    async with Load("127.0.0.1", port, requests, callers=8, most=events) as load:
        load.start()
        await load.finish(7200)


async def drain(bench: Bench) -> list[Figure]:
    events = bench.settings.drain_events
    runs = []
    async with stored(bench, (events, {})) as filled:
        for _ in range(bench.settings.runs):
            before = await bench.raw()
            rate, used = await one_drain(bench, filled, events, "drain")
            pair = Paired(rate, (before + await bench.raw()) / 2, used)
            bench.say(f"drain {number(rate)}/s, raw {number(pair.raw)}/s, ratio {pair.ratio:.3f}; {costs(used)}")
            runs.append(pair)
    return [against_raw("drain", runs, 2.0)]


async def one_drain(bench: Bench, filled: str, events: int, label: str) -> tuple[float, Mapping[str, float]]:
    """Two worker processes on a copy of the database `filled`, from the first mail to the last of `events`."""
    sink = bench.sink
    async with bench.database(template=filled) as database:
        before_any, used = sink.accepted, bench.processors()
        async with bench.server(database, 2, "worker") as server:
            await _taken(bench, before_any + 1)
            began, first = time.monotonic(), sink.accepted
            used = bench.processors(server)
            async with bench.profiled(server, label):
                await _taken(bench, before_any + events)
                seconds, count = time.monotonic() - began, sink.accepted - first
                spent = per_event(used, bench.processors(server), count)
            await database.expect_sent(events)
        if sink.accepted != before_any + events:
            raise Failed(f"{events} events were stored and the sink took {sink.accepted - before_any} mails")
    return count / seconds, spent


async def _taken(bench: Bench, count: int, patience: float = 600.0) -> None:
    end = time.monotonic() + patience
    while bench.sink.accepted < count:
        if time.monotonic() > end:
            raise Failed(f"the sink still waits for {count - bench.sink.accepted} mails")
        await asyncio.sleep(TICK)
