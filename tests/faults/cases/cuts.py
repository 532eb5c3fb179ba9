"""F6, F7, F8, F24: connections that are cut, slowed down or go silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from ..proxy import CutAfter, Delay, Hang, Mute, Pass, Reset, faulty
from ..rig import Case, Rig, Row, World, row
from ..site import Server, get

COMMIT = rb"COMMIT"
ANY_KEY = rb"k[0-9a-f]{6}-\d+@"
KEPT = rb"250 2\.0\.0 kept"
"""Travels with a statement that is its own transaction: callers' keys at intake, the relay's words at the result."""
FINAL_DOT = rb"\r\n\.\r\n"


async def f6(rig: Rig) -> AsyncIterator[Row]:
    yield await commit_unanswered_at_intake(rig, rig.events(60), "keyed", COMMIT, 3)
    yield await commit_unanswered_at_intake(rig, rig.events(60), "note", ANY_KEY, 3)
    yield await commit_unanswered_at_result(rig, rig.events(100), 4)
    yield await relay_unanswered(rig, rig.events(60), 5)


async def commit_unanswered_at_intake(rig: Rig, events: int, type: str, pattern: bytes, every: int) -> Row:
    """The database commits, its answer is cut off: the server finds out what became of the events, or their caller
    hears that nobody knows, and repeats itself."""
    async with rig.world(proxied=True) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            world.database.does(CutAfter(pattern, every=every))
            for _ in range(events):
                await (callers.insist(callers.key()) if type == "keyed" else callers.push(type=type))
            world.database.does(Pass())
            cuts = world.database.cuts
            await world.site.serve("worker")
            judged = await world.verdict()
    return row(
        "F6",
        f"answer to the commit cut at intake, {type}",
        judged,
        {"answers were cut": cuts > events // every // 2},
        {"cuts": cuts, "indeterminate": judged.indeterminate},
        dup=0,
        failed=0,
        false_failed=0,
    )


async def commit_unanswered_at_result(rig: Rig, events: int, every: int) -> Row:
    """The same where a worker writes down what became of events: it looks, and sends nothing again."""
    async with rig.world(proxied=True) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            world.database.does(CutAfter(KEPT, every=every))
            # few at a time: results that come together are written together, and there would be too few writes to cut
            await world.site.serve("worker", settings=["delivery.concurrency=2", "delivery.reserved=1"])
            await world.idle()
            cuts = world.database.cuts
            world.database.does(Pass())
            judged = await world.verdict(h="unknown")
    return row(
        "F6",
        "answer to the commit cut at the result",
        judged,
        {"answers were cut": cuts > 0},
        {"cuts": cuts},
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )


async def relay_unanswered(rig: Rig, events: int, every: int) -> Row:
    """The relay takes the message, its answer is cut off: that is unknown, and costs one double at most."""
    async with rig.world() as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            world.provider.does(CutAfter(FINAL_DOT, every=every, most=events // every))
            await world.site.serve("worker")
            await world.idle()
            cuts = world.provider.cuts
            judged = await world.verdict(h="unknown")
    return row(
        "F6",
        f"relay's answer cut, every {every}.",
        judged,
        {"answers were cut": cuts > 0, "each cut is an unknown": judged.h == cuts},
        {"cuts": cuts},
        dup=judged.h,
        failed=0,
        false_failed=0,
    )


async def f7(rig: Rig) -> AsyncIterator[Row]:
    yield await answer_unread(rig, (1, 5, 50))


async def answer_unread(rig: Rig, repeats: tuple[int, ...]) -> Row:
    """A caller's connection ends before it has read its id; it pushes the same again, so many times at once."""
    async with rig.world({"delivery.concurrency": 5}) as world:
        servers = [await world.site.serve("intake") for _ in range(2)]
        different = 0
        async with world.callers(*servers) as callers, faulty(("127.0.0.1", servers[0].port)) as proxy:
            proxy.does(CutAfter(rb"Envelope>"))
            assert isinstance(proxy.address, tuple)
            bad = f"http://127.0.0.1:{proxy.address[1]}"
            for number in repeats:
                key = callers.key()
                first = await callers.push(key, url=bad, type="keyed")
                again = await asyncio.gather(*(callers.push(key, type="keyed") for _ in range(number)))
                different += len({call.ids for call in again}) - 1 + (first.said != "indeterminate")
            # twins from the start, none of which waits for another
            key = callers.key()
            twins = await asyncio.gather(*(callers.push(key, type="keyed") for _ in range(50)))
            different += len({call.ids for call in twins}) - 1
            await world.site.serve("worker")
            judged = await world.verdict()
    return row(
        "F7",
        "answer cut, repeated 1, 5 and 50 times",
        judged,
        {"one id for one key": different == 0, "one event for one key": judged.acked == len(repeats) + 1},
        {"cuts": proxy.cuts},
        dup=0,
        refused=0,
        failed=0,
        false_failed=0,
    )


async def f8(rig: Rig) -> AsyncIterator[Row]:
    yield await database_away(rig, "refuses", 12 * max(1.0, rig.size))
    yield await database_away(rig, "is silent", 15 * max(1.0, rig.size))
    yield await database_away(rig, "is slow", 12 * max(1.0, rig.size))
    yield await database_away(rig, "is locked", 12 * max(1.0, rig.size))


async def database_away(rig: Rig, how: str, seconds: float) -> Row:
    """Callers are told within 5 s, nothing runs away, and all goes on by itself."""
    async with rig.world(proxied=True) as world:
        server = await world.site.serve("all")
        async with world.callers(server, seconds=20) as callers:
            await callers.pushed(rig.events(40))
            await world.idle()
            memory, cpu = _memory(server), _cpu(server)
            began, before = time.monotonic(), len(callers.calls)
            locker = await asyncpg.connect(world.site.database.url)
            match how:
                case "refuses":
                    world.database.does(Reset())
                case "is silent":
                    world.database.does(Hang())
                case "is slow":
                    world.database.does(Delay(0.5, "s2c"))
                case _:
                    await locker.execute("BEGIN; LOCK TABLE queue IN ACCESS EXCLUSIVE MODE")
            end = began + seconds
            load = asyncio.create_task(callers.load(lambda: time.monotonic() > end, 4, 8))
            await asyncio.sleep(seconds - 6)
            ready, _ = await get(f"{server.url}/readyz", 8)
            await load
            took = time.monotonic() - began
            share = (_cpu(server) - cpu) / took
            grown = _memory(server) / memory
            world.database.does(Pass())
            if how == "is silent":
                world.database.reset()  # as a peer does that has come back and knows nothing of these connections
            await locker.close()
            slowest = max(call.ended - call.began for call in callers.calls[before:])
            back = time.monotonic()
            while (await callers.push()).said != "acked" and time.monotonic() - back < 60:
                await asyncio.sleep(0.1)
            back = time.monotonic() - back
            judged = await world.verdict(60, h="unknown")
    checks = {
        "told within 5 s": slowest <= 6,
        "CPU below 20 %": share < 0.2 or how == "is slow",
        "memory flat": grown < 1.2,
        "goes on within 10 s": back <= 10,
    }
    if how != "is slow":
        checks["not ready"] = ready != 200
    return row(
        "F8",
        f"the database {how} for {seconds:.0f} s",
        judged,
        checks,
        {
            "slowest call s": round(slowest, 1),
            "CPU": f"{share:.0%}",
            "memory": f"x{grown:.2f}",
            "goes on after s": round(back, 1),
            "readyz": ready,
        },
        dup=judged.h,
        failed=0,
        false_failed=0,
    )


def _memory(server: Server) -> int:
    """Resident pages."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])


def _cpu(server: Server) -> float:
    """Seconds, user and system."""
    stat = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / 100


async def f24(rig: Rig) -> AsyncIterator[Row]:
    yield await listener_gone(rig, "ended")
    yield await listener_gone(rig, "silent")


async def listener_gone(rig: Rig, how: str) -> Row:
    """A worker that no announcement reaches finds work by looking: within its poll interval, or its reconnection."""
    poll = 1.0
    async with rig.world({"delivery.poll": poll}, proxied=True) as world:
        # the intake has a way of its own to the database: only the worker's connections are harmed
        direct = f"database={world.site.database.url}"
        intake = await world.site.serve("intake", settings=[direct])
        if how == "silent":
            world.database.does(Mute(rb"LISTEN"))
        await world.site.serve("worker")
        async with world.callers(intake) as callers:
            await callers.push()
            await world.idle()
            listening = await world.site.database.rows(
                "SELECT pid FROM pg_stat_activity WHERE query ILIKE 'listen %' AND pid <> pg_backend_pid()"
            )
            waits: list[float] = []
            for _ in range(8):
                if how == "ended":
                    await world.site.database.rows(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen %'"
                        " AND pid <> pg_backend_pid()"
                    )
                call = await callers.push()
                waits.append(await _received(world, call.ids[0], call.ended))
                await asyncio.sleep(0.3)
            judged = await world.verdict(h="unknown")
    slowest = max(waits)
    return row(
        "F24",
        f"the listening connection is {how}",
        judged,
        {"somebody listened": len(listening) > 0, "found within the poll interval": slowest <= poll + 0.5},
        {"slowest s": round(slowest, 2), "listeners": len(listening)},
        dup=0,
        failed=0,
        false_failed=0,
    )


async def _received(world: World, event_id: int, since: float, seconds: float = 40) -> float:
    while time.time() - since < seconds:
        for receipt in world.sink.receipts():
            if receipt.id == event_id:
                return receipt.at - since
        await asyncio.sleep(0.02)
    return seconds


CASES = (
    Case("F6", "the answer to COMMIT is cut off", f6),
    Case("F7", "the caller's answer is cut off", f7),
    Case("F8", "the database is away, slow or locked", f8),
    Case("F24", "the listening connection is gone", f24),
)
