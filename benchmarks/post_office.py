"""Petitbleu beside django-post_office: the same mails, the same database server and sink, in turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .arithmetic import Window, median
from .bench import Bench
from .processes import Failed, end_of, output_of, running
from .report import Figure, number
from .settings import HERE, ROOT
from .sink import TICK
from .throughput import one_flow, unsteady

PEER = HERE / "peer"
VENV = ROOT / ".venv-peer"
CHUNK = 50
UNDER_WAY = 1000
"""Mails of the peer's that may be under way, four of its batches."""
NAME = "end_to_end_beside_post_office"


async def post_office(bench: Bench) -> list[Figure]:
    try:
        python = await _environment()
    except Failed as error:
        bench.say(f"django-post_office cannot be installed: {error}")
        return [Figure(NAME, None, "events/s", "django-post_office", None, 6.0, note="django-post_office is lacked")]
    rates, ratios, steady = [], [], []
    for _ in range(bench.settings.runs):
        before = await _peer(bench, python)
        ours = (await one_flow(bench, NAME, "postgres", 2)).window
        after = await _peer(bench, python)
        theirs = (before.rate + after.rate) / 2
        steady.append(ours.steady and before.steady and after.steady)
        bench.say(
            f"end to end {number(ours.rate)}/s, django-post_office {number(theirs)}/s, ratio {ours.rate / theirs:.2f}, "
            f"enqueued and sent {100 * max(before.apart, after.apart):.1f} % apart"
        )
        rates.append(ours.rate)
        ratios.append(ours.rate / theirs)
    note = unsteady(steady)
    return [Figure(NAME, median(rates), "events/s", "django-post_office", median(ratios), 6.0, note=note)]


async def _environment() -> Path:
    """The Python of the peer's own environment, made at first; raises `Failed` if that cannot be."""
    python = VENV / "bin" / "python"
    done = VENV / ".installed"
    wanted = (PEER / "requirements.txt").read_text()
    if not done.is_file() or done.read_text() != wanted:
        await output_of([sys.executable, "-m", "venv", "--clear", VENV])
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        await output_of([*pip, "--requirement", PEER / "requirements.txt"])
        done.write_text(wanted)
    return python


@dataclass
class Enqueuer:
    """Tells the peer's program how many mails to enqueue, a few at a time."""

    enqueued: int = 0
    waited: bool = False
    """So many mails were under way that it paused."""

    async def run(self, child: asyncio.subprocess.Process, bench: Bench, taken: int, stop: asyncio.Event) -> None:
        if child.stdin is None or child.stdout is None:
            raise Failed("the enqueuing program has no pipes")
        while not stop.is_set():
            if self.enqueued - (bench.sink.accepted - taken) >= UNDER_WAY:
                self.waited = True
                await asyncio.sleep(TICK)
                continue
            child.stdin.write(b"%d\n" % CHUNK)
            if not await child.stdout.readline():
                raise Failed("django-post_office does not enqueue any more")
            self.enqueued += CHUNK


async def _peer(bench: Bench, python: Path) -> Window:
    """One run of django-post_office, as long as one of ours."""
    async with bench.postgres.fresh() as name:
        program: list[str | Path] = [python, PEER / "post_office_peer.py"]
        where = ["--database", bench.postgres.database(name), "--port", str(bench.sink.port)]
        log = bench.folder / "peer.log"
        await output_of([*program, "setup", *where])
        taken = bench.sink.accepted
        async with (
            running([*program, "work", *where, "--lock", bench.folder / f"lock-{name}"], log) as worker,
            _enqueuing([*program, "enqueue", *where]) as child,
        ):
            enqueuer, stop = Enqueuer(), asyncio.Event()
            task = asyncio.create_task(enqueuer.run(child, bench, taken, stop))
            try:
                window = await _window(bench, enqueuer, task)
                stop.set()
                await task
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await _all_sent(bench, worker, taken + enqueuer.enqueued, log)
            sent, others = "", ""
            for _ in range(100):
                sent, others = (await output_of([*program, "count", *where])).split()
                if others == "0":
                    break
                await asyncio.sleep(0.2)
        if (sent, others) != (str(enqueuer.enqueued), "0"):
            raise Failed(f"django-post_office enqueued {enqueuer.enqueued}, sent {sent} and has {others} others")
    return window


async def _window(bench: Bench, enqueuer: Enqueuer, task: asyncio.Task[None]) -> Window:
    """The counted seconds, once as much goes out as comes in."""
    part = bench.settings.warm_up / 2
    await asyncio.sleep(part)
    for _ in range(12):
        if (await _counted(bench, enqueuer, task, part)).steady or enqueuer.waited:
            break
    return await _counted(bench, enqueuer, task, bench.settings.seconds)


async def _counted(bench: Bench, enqueuer: Enqueuer, task: asyncio.Task[None], seconds: float) -> Window:
    enqueued, sent, began = enqueuer.enqueued, bench.sink.accepted, time.monotonic()
    await asyncio.sleep(seconds)
    if task.done():
        await task
    return Window(time.monotonic() - began, enqueuer.enqueued - enqueued, bench.sink.accepted - sent)


async def _all_sent(bench: Bench, worker: subprocess.Popen[bytes], count: int, log: Path) -> None:
    end = time.monotonic() + 120
    while bench.sink.accepted < count:
        if worker.poll() is not None:
            raise Failed(f"the worker of django-post_office ended with {worker.returncode}:\n{end_of(log)}")
        if time.monotonic() > end:
            raise Failed(f"django-post_office never sent {count - bench.sink.accepted} of its mails")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _enqueuing(words: list[str | Path]) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        *map(str, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=dict(os.environ)
    )
    try:
        yield child
    finally:
        if child.stdin is not None:
            child.stdin.close()
        try:
            async with asyncio.timeout(20):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
