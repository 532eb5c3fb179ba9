"""The queue alone: how many rows a second four processes claim and complete, and whether two ever had the same one."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Sequence

from petitbleu.config.settings import DeliverySettings

from .arithmetic import median
from .bench import Bench
from .processes import Failed, python
from .report import Figure, number
from .settings import ROOT
from .throughput import Part, stored

PROCESSES = 4


async def claims(bench: Bench) -> list[Figure]:
    rates, overlaps = [], 0
    async with stored(bench, Part(bench.settings.claim_events)) as filled:
        for _ in range(bench.settings.runs):
            rate, twice = await _run(bench, filled)
            bench.say(f"claim and complete {number(rate)} rows/s, {twice} overlaps")
            rates.append(rate)
            overlaps += twice
    return [
        Figure("claim_and_complete", median(rates), "rows/s", target=20_000, note=f"{PROCESSES} processes"),
        Figure("claim_overlaps", overlaps, "rows", target=0, side="<=", note=f"in {len(rates)} runs"),
    ]


async def _run(bench: Bench, filled: str) -> tuple[float, int]:
    batch = DeliverySettings().concurrency
    async with bench.database(template=filled) as database:
        url = bench.postgres.database(database.name)
        files = [bench.folder / f"claimed-{number}" for number in range(PROCESSES)]
        children = [
            await asyncio.create_subprocess_exec(
                *map(str, python("benchmarks.claimer", "--database", url, "--batch", str(batch), "--ids", file)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
            for file in files
        ]
        try:
            began, ended = await _together(children)
        finally:
            for child in children:
                if child.returncode is None:
                    child.kill()
                await child.wait()
        claimed = Counter(int(line) for file in files for line in file.read_text().splitlines())
        await database.expect_sent(bench.settings.claim_events)
    if len(claimed) != bench.settings.claim_events:
        raise Failed(f"{bench.settings.claim_events} events were stored and {len(claimed)} claimed")
    return len(claimed) / (ended - began), sum(claimed.values()) - len(claimed)


async def _together(children: Sequence[asyncio.subprocess.Process]) -> tuple[float, float]:
    """Start all once all are ready; gives the time of the start and of the last one's end."""
    for child in children:
        if child.stdout is None or await child.stdout.readline() != b"ready\n":
            raise Failed("a claiming process did not start")
    began = time.monotonic()
    outputs = await asyncio.gather(*(child.communicate(b"\n") for child in children))
    if any(child.returncode for child in children):
        raise Failed("a claiming process failed; its error is above")
    return began, max(float(output) for output, _ in outputs)
