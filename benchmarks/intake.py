"""What comes in: acknowledged after a durable commit, nothing delivered."""

from __future__ import annotations

import asyncio
import time

from .arithmetic import median
from .bench import Bench
from .envelopes import Requests, json_pushes, pushes
from .load import Load
from .processes import Failed, free_port, listens, python, running
from .report import Figure, number
from .throughput import CALLERS, PER_CALL


async def intake(bench: Bench) -> list[Figure]:
    rates, ratios = [], []
    for _ in range(bench.settings.runs):
        before = await _echo(bench)
        async with bench.database() as database, bench.server(database, 1, "intake") as server:
            async with bench.profiled(server, "intake"):
                rate, events = await acknowledged(bench, server.port, pushes(server.token))
            if (found := await database.statuses()) != {"pending": events}:
                raise Failed(f"{events} events were acknowledged; the database has {found}")
        echo = (before + await _echo(bench)) / 2
        bench.say(f"intake {number(rate)}/s, spyne alone {number(echo)}/s, ratio {rate / echo:.3f}")
        rates.append(rate)
        ratios.append(rate / echo)
    return [Figure("intake", median(rates), "events/s", "spyne alone", median(ratios), 0.75)]


async def push_events(bench: Bench) -> list[Figure]:
    rates, ratios = [], []
    for _ in range(bench.settings.runs):
        async with bench.database() as database, bench.server(database, 1, "intake") as server:
            single, events = await acknowledged(bench, server.port, pushes(server.token))
            many, more = await acknowledged(bench, server.port, pushes(server.token, PER_CALL))
            if (found := await database.statuses()) != {"pending": events + more}:
                raise Failed(f"{events + more} events were acknowledged; the database has {found}")
        bench.say(f"PushEvents {number(many)}/s, PushEvent {number(single)}/s, ratio {many / single:.2f}")
        rates.append(many)
        ratios.append(many / single)
    return [Figure(f"push_events_of_{PER_CALL}", median(rates), "events/s", "PushEvent", median(ratios), 6.0)]


async def rest_intake(bench: Bench) -> list[Figure]:
    rates, ratios = [], []
    for _ in range(bench.settings.runs):
        before = await _bare(bench)
        async with bench.database() as database, bench.server(database, 1, "intake") as server:
            async with bench.profiled(server, "rest_intake"):
                rate, events = await acknowledged(bench, server.port, json_pushes(server.token))
            if (found := await database.statuses()) != {"pending": events}:
                raise Failed(f"{events} events were acknowledged; the database has {found}")
        bare = (before + await _bare(bench)) / 2
        bench.say(f"rest_intake {number(rate)}/s, bare aiohttp {number(bare)}/s, ratio {rate / bare:.3f}")
        rates.append(rate)
        ratios.append(rate / bare)
    return [Figure("rest_intake", median(rates), "events/s", "bare aiohttp", median(ratios))]


async def _bare(bench: Bench) -> float:
    async with bench.database() as database:
        port = free_port()
        words = python(
            "benchmarks.json_store", "--port", str(port), "--database", database.assignment.partition("=")[2]
        )
        async with running(words, bench.folder / "bare.log") as child:
            await listens(child, port, "the bare handler")
            rate, events = await acknowledged(bench, port, json_pushes("x" * 43), bench.settings.raw_seconds)
        if (found := await database.statuses()) != {"pending": events}:
            raise Failed(f"{events} events were acknowledged; the database has {found}")
    return rate


async def _echo(bench: Bench) -> float:
    port = free_port()
    words = python("benchmarks.spyne_echo", "--port", str(port))
    async with running(words, bench.folder / "echo.log") as child:
        await listens(child, port, "the spyne service")
        rate, _ = await acknowledged(bench, port, pushes("x" * 43), bench.settings.raw_seconds)
    return rate


async def acknowledged(bench: Bench, port: int, requests: Requests, seconds: float = 0.0) -> tuple[float, int]:
    """Events per second that are acknowledged, after a warm-up, and how many there were in all."""
    async with Load("127.0.0.1", port, requests, callers=CALLERS) as load:
        load.start()
        await asyncio.sleep(bench.settings.warm_up / 2)
        load.check()
        before, began = load.acknowledged, time.monotonic()
        await asyncio.sleep(seconds or bench.settings.seconds)
        rate = (load.acknowledged - before) / (time.monotonic() - began)
        await load.stop()
        load.check()
        return rate, load.acknowledged
