"""F4, F5, F15: the disk and the clock."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from postgres_server import postgres_cluster

from ..oracle import Verdict
from ..rig import Case, Dialect, Rig, Row, World, row

SYSCALLS = "trace=fdatasync,fsync,sendto,sendmsg,write,writev"
ANSWER = re.compile(r"\b(sendto|sendmsg|write|writev)\(.*plId|\b(sendto|sendmsg|write|writev)\(.*pdomEvents")


async def f4(rig: Rig) -> AsyncIterator[Row]:
    yield await synced_before_answered(rig, "postgres", rig.events(40))
    yield await synced_before_answered(rig, "sqlite", rig.events(40))


async def synced_before_answered(rig: Rig, dialect: Dialect, calls: int) -> Row:
    """Every process that takes part is traced, on one time line: between two ids there is a log that was synced.

    One call at a time, by each way in: one event, a collection, and one with an idempotency key.
    """
    log = "/pg_wal/" if dialect == "postgres" else "test.db"
    async with rig.world(dialect=dialect) as world:
        server = await world.site.serve("intake")
        async with world.callers(server) as callers:
            await callers.push()
            pids = [server.pid, *(_postgres(rig) if dialect == "postgres" else [])]
            trace = world.site.folder / "trace"
            attach = [word for pid in pids for word in ("-p", str(pid))]
            strace = await asyncio.create_subprocess_exec(
                "strace", "-f", "-y", "-s", "3000", "-e", SYSCALLS, "-o", str(trace), *attach, stderr=subprocess.DEVNULL
            )
            try:
                while not trace.exists() or (await callers.push(type="note")).said != "acked" or not _answers(trace):
                    await asyncio.sleep(0.1)
                start = _answers(trace)
                for number in range(calls):
                    match number % 3:
                        case 0:
                            await callers.push()
                        case 1:
                            await callers.push(callers.key(), callers.key())
                        case _:
                            await callers.push(type="keyed")
            finally:
                strace.terminate()
                await strace.wait()
            unsynced, seen = _unsynced(trace, log, start)
            await world.site.serve("worker")
            judged = await world.verdict()
    return row(
        "F4",
        f"synced before the id is told, {dialect}",
        judged,
        {"every answer was seen": seen >= calls, "no id before its sync": unsynced == 0},
        {"answers": seen, "before a sync": unsynced},
        dup=0,
        failed=0,
    )


def _postgres(rig: Rig) -> list[int]:
    """The postmaster and all its processes that live now."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(rig.cluster.pid)], capture_output=True, text=True, check=True
    )
    return [rig.cluster.pid, *map(int, found.stdout.split())]


def _answers(trace: Path) -> int:
    return sum(bool(ANSWER.search(line)) for line in trace.read_text("utf-8", "replace").splitlines())


def _unsynced(trace: Path, log: str, skip: int) -> tuple[int, int]:
    """Answers with an id that no completed sync of the log precedes since the last one, and how many answers in all."""
    synced = unsynced = answers = 0
    under_way: dict[str, bool] = {}
    for line in trace.read_text("utf-8", "replace").splitlines():
        pid = line.split(maxsplit=1)[0]
        if re.search(r"\bf(data)?sync\(", line):
            ours = log in line
            if "<unfinished" in line:
                under_way[pid] = ours
            elif ours and line.endswith("= 0"):
                synced += 1
        elif re.search(r"<\.\.\. f(data)?sync resumed", line):
            synced += under_way.pop(pid, False) and line.endswith("= 0")
        elif ANSWER.search(line):
            answers += 1
            unsynced += answers > skip and not synced
            synced = 0
    return unsynced, answers - skip


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of its own; needs root."""
    folder = Path(tempfile.mkdtemp(prefix="pb-disk-"))
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    try:
        with small_disk(1):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


async def f5(rig: Rig) -> AsyncIterator[Row]:
    if not may_mount():
        yield Row("F5", "the disk is full", "lacked tmpfs (mounting one needs root)")
        return
    yield await disk_full_sqlite(rig)
    yield await disk_full_postgres(rig)


async def disk_full_sqlite(rig: Rig) -> Row:
    with small_disk(8) as disk:
        await rig.prepared("sqlite")
        shutil.copy(rig.sqlite, disk / "test.db")
        async with rig.world(database=f"sqlite://{disk}/test.db") as world:
            await world.site.serve("all")
            return await _filled(world, disk, "sqlite", rig)


async def disk_full_postgres(rig: Rig) -> Row:
    """PostgreSQL may end when it cannot write its log; whoever operates it starts it again once there is space."""
    small = {"min_wal_size": "32MB", "max_wal_size": "48MB"}
    with small_disk(160) as disk, postgres_cluster(disk, small) as cluster:
        own = Rig(Path(tempfile.mkdtemp(dir=rig.folder)), cluster, rig.size)
        async with own.world() as world:
            await world.site.serve("all")
            return await _filled(world, disk, "postgres", own)


async def _filled(world: World, disk: Path, dialect: Dialect, rig: Rig) -> Row:
    ballast = disk / "ballast"
    async with world.callers(*world.living("all"), seconds=20) as callers:
        await callers.pushed(rig.events(40))
        _fill(ballast)
        until = time.monotonic() + 12
        await callers.load(lambda: time.monotonic() > until, 4, 60, ctx="<pad>" + "x" * 4000 + "</pad>")
        full = [one for one in callers.calls if one.said != "acked"]
        ballast.unlink()
        if dialect == "postgres" and not await world.reachable():
            await asyncio.to_thread(rig.cluster.kill)
            await asyncio.to_thread(rig.cluster.start)
        began = time.monotonic()
        while (await callers.push()).said != "acked" and time.monotonic() - began < 30:
            await asyncio.sleep(0.1)
        back = time.monotonic() - began
        judged = await world.verdict(60, h="unknown")
    slowest = max(one.ended - one.began for one in callers.calls)
    return row(
        "F5",
        f"the disk is full, {dialect}",
        judged,
        {
            "callers were refused": len(full) > 0,
            "within 5 s": slowest <= 7,
            "goes on after space returns": back <= 10,
            "as the server's fault": all("Client" not in one.text for one in full),
        },
        {"refused": len(full), "slowest call s": round(slowest, 1), "goes on after s": round(back, 1)},
        dup=judged.h,
        failed=0,
        false_failed=0,
    )


def _fill(file: Path) -> None:
    """To the last block."""
    with file.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 4096):
            try:
                while True:
                    ballast.write(b"\0" * size)
            except OSError:
                continue


def faketime_library() -> str:
    """The library that moves clocks, as the command `faketime` finds it."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(found[0]) if found else ""


async def f15(rig: Rig) -> AsyncIterator[Row]:
    library = faketime_library()
    if not library:
        yield Row("F15", "clocks", "lacked libfaketime")
        return
    for name, first, then in (
        ("an hour ahead", "+3600", "+3600"),
        ("an hour behind", "-3600", "-3600"),
        ("ten minutes forward on the way", "+0", "+600"),
        ("ten minutes back on the way", "+0", "-600"),
    ):
        yield await clock_moved(rig, library, name, first, then)


async def clock_moved(rig: Rig, library: str, name: str, first: str, then: str) -> Row:
    """The worker's clock is wrong, or is put right on the way; what is due or expired is for the database to say."""
    async with rig.world() as world:
        clock = world.site.folder / "clock"
        clock.write_text(first + "\n")
        intake = await world.site.serve("intake")
        environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        worker = await world.site.serve("worker", environment=environment)
        drift = _stamp(worker.lines()[-1]["time"]) - time.time()
        async with world.callers(intake) as callers:
            start = time.time()
            for number in range(rig.events(60)):
                await callers.push(scheduled=start + 2 + number % 8, expires=start + 60)
            await asyncio.sleep(3.0)
            clock.write_text(then + "\n")
            for _ in range(rig.events(40)):
                await callers.push(expires=time.time() + 60)
                await asyncio.sleep(0.05)
            judged: Verdict = await world.verdict(30, h="unknown")
            due = {one: call.scheduled or call.ended for call in callers.calls for one in call.ids}
            waits = [one.at - due[one.id] for one in world.sink.receipts() if one.id in due]
    slowest = max(waits, default=0.0)
    return row(
        "F15",
        f"the worker's clock: {name}",
        judged,
        {"the clock was moved": abs(drift - float(first)) < 60, "late by 2 s at most": slowest <= 2.0},
        {"latest s": round(slowest, 2), "earliest s": round(min(waits, default=0.0), 2)},
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )


def _stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


CASES = (
    Case("F4", "synced before answered", f4, ("strace",)),
    Case("F5", "the disk is full", f5),
    Case("F15", "clocks", f15),
)
