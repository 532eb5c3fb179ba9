"""F13, F14, F18, F19: processes that stand still, hang, die of one event, or are asked to go."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

from petitbleu.failpoints import VARIABLE

from ..oracle import Verdict
from ..rig import LEASE, RECOVERY, Case, Rig, Row, World, row
from ..site import Server
from .failpoints import DOUBLES

BEFORE = ("after_claim", "after_render", "before_handoff", "after_result")


async def f13(rig: Rig) -> AsyncIterator[Row]:
    yield await zombies(rig, BEFORE, rig.events(300))
    yield await zombies(rig, DOUBLES, rig.events(300))


async def zombies(rig: Rig, places: tuple[str, ...], events: int) -> Row:
    """A worker for each place stops there with one event for three leases, and then goes on as if nothing were."""
    changes = {"delivery.concurrency": 1, "delivery.reserved": 0}
    async with rig.world(changes) as world:
        intake = await world.site.serve("intake")
        workers = [
            await world.site.serve("worker", environment={VARIABLE: f"{place}:{events // 10}:stop"}) for place in places
        ]
        healthy = await world.site.serve("worker", settings=["delivery.concurrency=4"])
        woken: list[int] = []
        watching = asyncio.create_task(_wake(world, workers, woken))
        async with world.callers(intake) as callers:
            await callers.pushed(events)
            await world.idle(60)
            # they wake into a world in which their work is done
            while any(_state(worker) == "T" for worker in workers):
                await asyncio.sleep(0.1)
            await asyncio.sleep(1.0)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            judged = await world.verdict(60)
        refused = sum("is not recorded" in str(line) or "another worker has it" in str(line) for line in _said(workers))
    checks = {
        "workers stood still": len(woken) >= len(places),
        "the healthy one stayed": healthy.saying("stopping") != [],
    }
    if places != BEFORE:
        checks["stale leases were refused"] = refused > 0
    return row(
        "F13",
        f"stopped for {3 * LEASE:.0f} s at {len(places)} places",
        judged,
        checks,
        {"stops": len(woken), "refused when woken": refused},
        dup=judged.h if places == DOUBLES else 0,
        failed=0,
        false_failed=0,
    )


def _said(servers: list[Server]) -> list[object]:
    return [line.get("text", "") for server in servers for line in server.lines()]


async def _wake(world: World, workers: list[Server], woken: list[int]) -> None:
    async def wake(server: Server) -> None:
        while server.alive:
            await asyncio.sleep(0.05)
            if _state(server) == "T":
                await world.struck(server)
                await asyncio.sleep(3 * LEASE)
                woken.append(server.pid)
                server.send(signal.SIGCONT)
                await asyncio.sleep(0.2)

    await asyncio.gather(*(wake(server) for server in workers))


def _state(server: Server) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


async def f14(rig: Rig) -> AsyncIterator[Row]:
    yield await blocked(rig, rig.events(60))


async def blocked(rig: Rig, events: int) -> Row:
    """A plugin holds the worker's loop for two leases: another thread keeps them. One that hangs is cut off."""
    async with rig.world({"delivery.hook_deadline": "2s"}) as world:
        intake = await world.site.serve("intake")
        workers = [await world.site.serve("worker") for _ in range(2)]
        async with world.callers(intake) as callers:
            for number in range(events):
                await callers.push(ctx=f"<do>block {2 * LEASE}</do>" if number in (events // 3, events // 2) else "")
            hanging = await callers.push(ctx="<do>hang 60</do>", expires=time.time() + 12)
            await world.idle(60)
            judged = await world.verdict(60, h="unknown")
            (status,) = [one for one in await world.site.database.events() if one.id == hanging.ids[0]]
        rescued = [line for line in _said(workers) if "took back" in str(line)]
    return row(
        "F14",
        f"a plugin blocks for {2 * LEASE:.0f} s, another hangs",
        judged,
        {
            "no lease was lost": not rescued,
            "the hanging one ended with its reason": status.status == "expired" and "faultplugin" in status.reason,
        },
        {"the hanging one": f"{status.status}: {status.reason[:80]}"},
        dup=0,
        h=0,
        failed=1,
        false_failed=0,
    )


DEEDS = ("exit", "segfault", "overflow", "kill", "raise")


async def f18(rig: Rig) -> AsyncIterator[Row]:
    yield await poisoned(rig, rig.events(120))


async def poisoned(rig: Rig, events: int) -> Row:
    """Events that kill whoever works on them, and a template that recurses without end, among good ones."""
    changes = {"delivery.retry.email": {"first": "0.2s", "cap": "0.2s", "tries": 3}}
    async with rig.world(changes) as world:
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            poison = {}
            for number in range(events):
                if number % (events // len(DEEDS)) == 5:
                    deed = DEEDS[number * len(DEEDS) // events]
                    poison[deed] = (await callers.push(ctx=f"<do>{deed}</do>")).ids[0]
                if number == events // 2:
                    poison["deep"] = (await callers.push(type="poison", ctx="<deep>yes</deep>")).ids[0]
                await callers.push()
            for _ in range(2):
                await world.keep("worker")
            judged = await world.verdict(180)
            found = {one.id: one for one in await world.site.database.events()}
        deadly = [found[poison[deed]] for deed in DEEDS[:4]]
        parked = [one for one in deadly if one.status == "failed" and "crashed the worker" in one.reason]
        innocent = [one for one in found.values() if one.status != "sent" and one.id not in poison.values()]
        # whoever was with the relay at two deaths is not given to it a third time: what it has nobody knows
        twice = [one for one in innocent if one.status == "failed" and one.reason.startswith("unknown: ")]
    return row(
        "F18",
        f"{len(poison)} poisonous events among {events} good ones",
        judged,
        {
            "those that kill are parked": len(parked) == len(deadly),
            "crashes are three for each": len(world.strikes) <= 3 * len(deadly),
            "the template's error is its own": found[poison["deep"]].status == "failed",
            "the raising plugin costs tries": found[poison["raise"]].status in ("failed", "expired"),
            "the others are sent, or were cut off twice": innocent == twice and len(twice) * 2 <= judged.h,
        },
        {"deaths": len(world.strikes), "cut off twice": len(twice)},
        dup=judged.h,
        false_failed=0,
    )


async def f19(rig: Rig) -> AsyncIterator[Row]:
    yield await rolling(rig, 6, 3.0)
    yield await second_signal(rig)
    yield await odd_moments(rig)


async def rolling(rig: Rig, rounds: int, delay: float) -> Row:
    """SIGTERM to one server after the other while the relay takes its time to answer."""
    async with rig.world() as world:
        servers = [await world.site.serve("all") for _ in range(2)]
        ports = [one.port for one in servers]
        await world.sink.tell(f"delay {delay}")
        codes: list[int] = []
        drains: list[float] = []
        async with world.callers(urls=[one.url for one in servers]) as callers:
            done = False
            load = asyncio.create_task(callers.load(lambda: done, 4, 8))
            await asyncio.sleep(1)
            for number in range(rounds):
                began = time.monotonic()
                codes.append(await servers[number % 2].stop())
                drains.append(time.monotonic() - began)
                servers[number % 2] = await world.site.serve("all", port=ports[number % 2])
            done = True
            await load
            await world.sink.tell("delay 0")
            judged = await world.verdict(60, h="unknown")
    return row(
        "F19",
        f"rolling restart, {rounds} rounds, relay takes {delay:.0f} s",
        judged,
        {"exit code 0": set(codes) == {0}, "drained in time": max(drains) <= 15, "it waited": max(drains) > delay / 2},
        {"slowest drain s": round(max(drains), 1)},
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )


async def second_signal(rig: Rig) -> Row:
    """It ends at once, as a crash does."""
    async with rig.world() as world:
        server = await world.site.serve("all")
        await world.sink.tell("delay 5")
        async with world.callers(server) as callers:
            await callers.pushed(10)
            await asyncio.sleep(0.5)
            server.send(signal.SIGTERM)
            await asyncio.sleep(0.5)
            began = time.monotonic()
            code = await server.stop()
            took = time.monotonic() - began
            await world.struck(server)
            await world.sink.tell("delay 0")
            await world.site.serve("worker")
            judged = await world.verdict(40)
    return row(
        "F19",
        "a second SIGTERM",
        judged,
        {"at once": took < 1, "exit code 1": code == 1, "there was work": bool(world.strikes[0].handed_off)},
        {"took s": round(took, 2)},
        dup=judged.h,
        failed=0,
        false_failed=0,
        recovery=RECOVERY,
    )


async def odd_moments(rig: Rig) -> Row:
    """SIGTERM while idle, during the start, and while the events of a dead worker are taken back."""
    async with rig.world() as world:
        idle = await world.site.serve("all")
        codes = [await idle.stop()]
        for wait in (0.1, 0.3, 0.6, 0.9, 1.2):
            starting = await world.site.serve("all", wait=False)
            await asyncio.sleep(wait)
            codes.append(await starting.stop())
        intake = await world.site.serve("intake")
        await world.sink.tell("delay 5")
        async with world.callers(intake) as callers:
            await callers.pushed(40)
            victim = await world.site.serve("worker")
            await asyncio.sleep(1)
            await victim.kill()
            await world.struck(victim)
            await world.sink.tell("delay 0")
            for wait in (LEASE - 1, 0.2, 0.2):
                rescuer = await world.site.serve("worker")
                await asyncio.sleep(wait)
                codes.append(await rescuer.stop())
            await world.site.serve("worker")
            judged: Verdict = await world.verdict(40)
    # before the handler is there SIGTERM ends a process that has nothing to drain
    return row(
        "F19",
        "SIGTERM when idle, starting, rescuing",
        judged,
        {"ends in order": set(codes) <= {0, -signal.SIGTERM}, "there was work": bool(world.strikes[0].leased)},
        {"exit codes": " ".join(map(str, codes))},
        dup=judged.h,
        failed=0,
        false_failed=0,
    )


CASES = (
    Case("F13", "processes that stand still", f13),
    Case("F14", "a plugin that blocks", f14),
    Case("F18", "poison", f18),
    Case("F19", "SIGTERM", f19),
)
