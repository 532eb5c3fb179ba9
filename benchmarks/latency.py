"""From the moment the caller has read its answer to the moment the sink has accepted the mail, at a steady rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .arithmetic import percentile
from .bench import Bench, Database
from .envelopes import pushes
from .load import Load
from .processes import Failed
from .report import Figure, number
from .sink import Sink, smtp_sink
from .throughput import CALLERS

RATE = 278
"""Events per second: a million in an hour."""
PARTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TARGETS = {"postgres": (2, 25.0), "sqlite": (1, 60.0)}
"""Processes, and what the 99th percentile may be in ms."""


async def latency(bench: Bench) -> list[Figure]:
    return [figure for kind in TARGETS for figure in await _of(bench, kind)]


async def _of(bench: Bench, kind: str) -> list[Figure]:
    processes, target = TARGETS[kind]
    record = bench.folder / f"{kind}.taken"
    async with (
        smtp_sink(bench.folder, record=record) as sink,
        bench.database(kind) as database,
        bench.server(database, processes, port=sink.port) as server,
        Load("127.0.0.1", server.port, pushes(server.token), callers=CALLERS, record=True) as load,
    ):
        began = time.monotonic_ns() + int(bench.settings.warm_up * 1e9)
        await _paced(bench, load, database)
        await load.stop()
        load.check()
        await _taken(sink, load.acknowledged)
        await database.expect_sent(load.acknowledged)
    waits = delays(load.answers, read_record(record), began)
    told = {name: percentile(waits, part) for name, part in PARTS.items()}
    bench.say(
        f"{kind}: " + ", ".join(f"{name} {number(ms)} ms" for name, ms in told.items()) + f", worst {waits[-1]:.1f}"
    )
    note = f"{len(waits):,} events at {RATE}/s, a checkpoint in the middle"
    return [
        Figure(f"latency_{kind}_{name}", ms, "ms", target=target if name == "p99" else None, side="<=", note=note)
        for name, ms in told.items()
    ]


async def _paced(bench: Bench, load: Load, database: Database) -> None:
    """`RATE` calls a second, evenly, whatever the answers; the checkpoint does not hold them up."""
    total = int((bench.settings.warm_up + bench.settings.latency_seconds) * RATE)
    middle = int((bench.settings.warm_up + bench.settings.latency_seconds / 2) * RATE)
    began = time.monotonic()
    checkpoint: asyncio.Task[None] | None = None
    asked = 0
    while asked < total:
        due = min(total, int((time.monotonic() - began) * RATE) + 1)
        while asked < due and load.send_one():
            asked += 1
        if asked >= middle and checkpoint is None:
            checkpoint = asyncio.create_task(database.checkpoint())
        load.check()
        await asyncio.sleep(0.001)
    if checkpoint is not None:
        await checkpoint


async def _taken(sink: Sink, events: int, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while sink.accepted < events:
        if time.monotonic() > end:
            raise Failed(f"{events} events were acknowledged and the sink took {sink.accepted} mails")
        await asyncio.sleep(0.05)


def read_record(record: Path) -> list[tuple[int, int]]:
    """What the sink wrote: an event and when its mail was accepted."""
    return [(int(event), int(moment)) for event, moment in map(str.split, record.read_text().splitlines())]


def delays(answers: Sequence[tuple[int, int]], taken: Sequence[tuple[int, int]], since: int = 0) -> list[float]:
    """Milliseconds from answer to mail, ascending, of events answered after `since`. Raises `Failed` unless every event
    has exactly one mail. A mail may be quicker than the answer: then its delay is below 0."""
    accepted: Mapping[int, int] = dict(taken)
    if len(accepted) != len(taken):
        raise Failed(f"{len(taken) - len(accepted)} events were mailed more than once")
    missing = sum(event not in accepted for event, _ in answers)
    if missing or len(answers) != len(accepted):
        raise Failed(
            f"{len(answers)} events were acknowledged, {len(accepted)} mailed, {missing} of the former missing"
        )
    return sorted((accepted[event] - moment) / 1e6 for event, moment in answers if moment >= since)
