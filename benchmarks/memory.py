"""How much memory the server takes on SQLite, and whether it grows with what it has done."""

from __future__ import annotations

import asyncio
import time

from .bench import Bench
from .envelopes import pushes
from .load import Load
from .processes import Failed, resident
from .report import Figure, number
from .sink import TICK
from .throughput import CALLERS, UNDER_WAY

MEGA = 1e6
LIMIT = 150.0
GROWTH = 1.03
"""What memory after all events may be of that after half of them: the allocator's noise, no slope."""


async def memory(bench: Bench) -> list[Figure]:
    events = bench.settings.memory_events
    async with bench.database("sqlite") as database, bench.server(database, 1) as server:
        taken = bench.sink.accepted

        def sent() -> int:
            return bench.sink.accepted - taken

        load = Load(
            "127.0.0.1", server.port, pushes(server.token), callers=CALLERS, bound=UNDER_WAY, sent=sent, most=events
        )
        async with load:
            load.start()
            empty = resident(server.pid)
            half = await _after(load, server.pid, events // 2)
            full = await _after(load, server.pid, events)
            await load.stop()
        await database.expect_sent(events)
    bench.say(f"RSS: {empty / MEGA:.0f} MB at first, {half / MEGA:.0f} MB at half, {full / MEGA:.0f} MB at the end")
    note = f"{number(half / MEGA)} MB after {events // 2:,}"
    return [
        Figure("memory", full / MEGA, "MB", target=LIMIT, side="<=", note=f"RSS after {events:,} events, SQLite"),
        Figure("memory_growth", full / MEGA, "MB", "memory at half", full / half, GROWTH, side="<=", note=note),
    ]


async def _after(load: Load, pid: int, events: int, patience: float = 60.0) -> int:
    """Bytes once so many events are sent. Raises `Failed` if none is for `patience` seconds."""
    seen, end = -1, 0.0
    while (sent := load.acknowledged - load.under_way) < events:
        load.check()
        if sent > seen:
            seen, end = sent, time.monotonic() + patience
        elif time.monotonic() > end:
            raise Failed(f"no mail for {patience:g} s, after {seen}")
        load.pump()
        await asyncio.sleep(TICK)
    return resident(pid)
