"""F1, F2, F12, F17: whoever is at work is killed, and others go on."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg

from ..callers import Callers
from ..oracle import Verdict
from ..rig import LEASE, RECOVERY, Case, Dialect, Rig, Row, World, free_port, row
from ..site import Server, get

KILLS = 10
SLOW = "delay 0.1"
"""To the sink, so that a kill finds messages that are handed off."""


async def f1(rig: Rig) -> AsyncIterator[Row]:
    yield await servers_killed(rig, KILLS)
    yield await servers_killed(rig, KILLS // 2, dialect="sqlite")


async def servers_killed(rig: Rig, kills: int, dialect: Dialect = "postgres") -> Row:
    """A supervisor with two processes: in turn one of them, the supervisor alone, and all are killed."""
    async with rig.world(dialect=dialect) as world:
        port = free_port()
        words = ("--processes", "2")
        await world.sink.tell(SLOW)
        began = time.monotonic()
        server = await world.site.serve("all", *words, port=port, ready=2)
        # a machine that has other things to do takes its time even when nothing is wrong
        usual = time.monotonic() - began
        ready: list[float] = []
        done = False
        async with world.callers(server) as callers:
            load = asyncio.create_task(callers.load(lambda: done, 6, 60))
            for number in range(kills):
                await asyncio.sleep(1.5)
                if number % 3 == 0:
                    os.kill(server.children()[number % 2], signal.SIGKILL)
                    await server.serving(len(server.saying("serving")) + 1)
                    continue
                children = server.children()
                if number % 3 == 1:
                    os.kill(server.pid, signal.SIGKILL)
                    await server.process.wait()
                    await _gone(children)
                else:
                    await server.kill()
                began = time.monotonic()
                server = await world.site.serve("all", *words, port=port, wait=False)
                while (await get(f"{server.url}/healthz"))[0] != 200:
                    await asyncio.sleep(0.02)
                ready.append(time.monotonic() - began)
            done = True
            await load
            judged = await world.verdict(60, h="unknown")
    return row(
        "F1",
        f"kill -9 of servers, {kills} times, {dialect}",
        judged,
        {"ready within 5 s, or thrice the usual": max(ready) <= max(5, 3 * usual)},
        {"ready in s": round(max(ready), 1), "usually": round(usual, 1)},
        dup=judged.h,
        failed=0,
        false_failed=0,
    )


async def _gone(pids: list[int]) -> None:
    """Until processes whose parent was killed have drained and left."""
    end = time.monotonic() + 30
    for pid in pids:
        while time.monotonic() < end:
            with suppress(OSError):
                os.kill(pid, 0)
                await asyncio.sleep(0.05)
                continue
            break


async def f2(rig: Rig) -> AsyncIterator[Row]:
    yield await database_killed(rig, 5, 8)


async def database_killed(rig: Rig, postmasters: int, backends: int, patience: float = 5) -> Row:
    """The postmaster, which is down for a second each time, and single backends, after which all are reset; then it
    should go on within `patience` seconds."""
    async with rig.world() as world:
        servers = [await world.site.serve("all") for _ in range(2)]
        await world.sink.tell(SLOW)
        resumed: list[float] = []
        async with world.callers(*servers) as callers:
            done = False
            load = asyncio.create_task(callers.load(lambda: done, 6, 60))
            for _ in range(postmasters):
                await asyncio.sleep(1.5)
                await asyncio.to_thread(rig.cluster.kill)
                await asyncio.sleep(1.0)
                await asyncio.to_thread(rig.cluster.start)
                resumed.append(await _resumed(world, callers))
            for _ in range(backends):
                await asyncio.sleep(1.0)
                with suppress(OSError, asyncpg.PostgresError):
                    rows = await world.site.database.rows(
                        "SELECT pid FROM pg_stat_activity WHERE application_name = 'petitbleu'"
                        " ORDER BY random() LIMIT 1"
                    )
                    os.kill(rows[0]["pid"], signal.SIGKILL)
                resumed.append(await _resumed(world, callers))
            done = True
            await load
            judged = await world.verdict(60, h="unknown")
        slowest = max(call.ended - call.began for call in callers.calls)
    return row(
        "F2",
        f"kill -9 of {postmasters} postmasters, {backends} backends",
        judged,
        {f"goes on within {patience:g} s": max(resumed) <= patience, "no call hangs": slowest <= 7},
        {"goes on after s": round(max(resumed), 1), "slowest call s": round(slowest, 1)},
        dup=judged.h,
        failed=0,
        false_failed=0,
    )


async def _resumed(world: World, callers: Callers) -> float:
    """Seconds until an event that is pushed now was acknowledged and received."""
    began = time.monotonic()
    while True:
        call = await callers.push()
        if call.said == "acked":
            break
        await asyncio.sleep(0.05)
    while call.ids[0] not in {one.id for one in world.sink.receipts()}:
        if time.monotonic() - began > 60:
            break
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def f12(rig: Rig) -> AsyncIterator[Row]:
    yield await workers_killed(rig, rig.events(3000), 4, 60)


async def workers_killed(rig: Rig, events: int, workers: int, rate: float) -> Row:
    """One of the workers is killed every 1 to 5 s for as long as events come."""
    chance = random.Random(12)
    async with rig.world() as world:
        intake = await world.site.serve("intake")
        for _ in range(workers):
            await world.keep("worker")
        await world.sink.tell(SLOW)
        async with world.callers(intake) as callers:
            load = asyncio.create_task(callers.pushed(events, 6, rate))
            while not load.done():
                await asyncio.sleep(chance.uniform(1, 5))
                if living := world.living():
                    await chance.choice(living).kill()
            await load
            judged = await world.verdict(90)
    return row(
        "F12",
        f"kill -9 of {workers} workers at random",
        judged,
        {"workers died": bool(world.strikes)},
        {"deaths": len(world.strikes)},
        dup=judged.h,
        false_failed=0,
        recovery=RECOVERY,
    )


async def f17(rig: Rig) -> AsyncIterator[Row]:
    yield await ghosts_of_one_host(rig, 12)
    yield await rescuer_killed(rig)


async def ghosts_of_one_host(rig: Rig, lives: int) -> Row:
    """A worker on one host is killed as soon as it holds something, again and again."""
    async with rig.world() as world:
        intake = await world.site.serve("intake")
        await world.sink.tell("delay 0.2")
        async with world.callers(intake) as callers:
            done = False
            load = asyncio.create_task(callers.load(lambda: done, 4, 30))
            for _ in range(lives):
                worker = await world.site.serve("worker")
                await asyncio.sleep(0.7)
                await worker.kill()
                await world.struck(worker)
            done = True
            await load
            await world.sink.tell("delay 0")
            await world.site.serve("worker")
            await asyncio.sleep(RECOVERY)
            stuck = await _leased_to(world, world.living())
            judged = await world.verdict(60)
    return row(
        "F17",
        f"{lives} lives of a worker on one host",
        judged,
        {"nothing is leased to a ghost": stuck == 0},
        {"stuck": stuck},
        dup=judged.h,
        false_failed=0,
    )


async def _leased_to(world: World, living: list[Server]) -> int:
    """Events that are leased to nobody who lives."""
    own = " AND ".join(f"lease NOT LIKE '{one}-%'" for server in living for one in server.incarnations()) or "1 = 1"
    return await world.site.database.number(f"SELECT count(*) FROM queue WHERE state = 2 AND {own}")


async def rescuer_killed(rig: Rig) -> Row:
    """Whoever takes back the events of a dead worker dies too, in its transaction, which holds their rows meanwhile."""
    async with rig.world() as world:
        intake = await world.site.serve("intake")
        await world.sink.tell("delay 5")
        async with world.callers(intake) as callers:
            await callers.pushed(rig.events(30))
            worker = await world.site.serve("worker")
            await asyncio.sleep(1.0)
            await worker.kill()
            await world.struck(worker)
            rescuer = await asyncpg.connect(world.site.database.url)
            await rescuer.execute("BEGIN")
            await rescuer.execute("UPDATE queue SET state = 1, lease = NULL WHERE state = 2")
            await world.sink.tell("delay 0")
            await world.site.serve("worker")
            await asyncio.sleep(LEASE + 1)
            os.kill(rescuer.get_server_pid(), signal.SIGTERM)
            await asyncio.sleep(RECOVERY)
            stuck = await _leased_to(world, world.living())
            judged: Verdict = await world.verdict(30)
    return row(
        "F17",
        "a rescuer killed in its transaction",
        judged,
        {"the worker had events": bool(world.strikes[0].leased), "nothing is leased to a ghost": stuck == 0},
        {"stuck": stuck},
        dup=judged.h,
        false_failed=0,
        failed=0,
    )


CASES = (
    Case("F1", "kill -9 of servers", f1),
    Case("F2", "kill -9 of PostgreSQL", f2),
    Case("F12", "kill -9 of workers at random", f12),
    Case("F17", "ghosts", f17),
)
