"""The stage on which every figure is measured: sink, database, instance, and the steps that the figures share."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .arithmetic import Window
from .database import Postgres, postgres, sqlite_rows
from .envelopes import pushes
from .load import Load
from .processes import Failed, busy_seconds, cpu_seconds, family, output_of, python, running
from .server import Server, make_instance, prepare, serving
from .settings import OUT, Settings
from .sink import TICK, Sink, smtp_sink


@dataclass(frozen=True, slots=True)
class Bench:
    """What the figures use. `base` is an empty database with tables and the published template."""

    settings: Settings
    folder: Path
    sink: Sink
    postgres: Postgres
    instance: Path
    base: str
    message: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the servers, beside this program's own."""

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    async def raw(self) -> float:
        """Messages per second of `raw.py`, to our sink, of one message as Petitbleu sends it."""
        words = ["--port", str(self.sink.port), "--seconds", str(self.settings.raw_seconds)]
        return float(await output_of(python("benchmarks.raw", *words, "--message", self.message)))

    @asynccontextmanager
    async def database(self, kind: str = "postgres", template: str = "") -> AsyncIterator[Database]:
        """A fresh database with tables, of the kind `postgres` or `sqlite`."""
        if kind == "postgres":
            async with self.postgres.fresh(template or self.base) as name:
                yield Database(f"database={self.postgres.database(name)}", postgres=self.postgres, name=name)
        else:
            with tempfile.TemporaryDirectory(dir=self.folder, prefix="sqlite-") as folder:
                file = Path(shutil.copy(self.folder / "base.db", Path(folder) / "bench.db"))
                yield Database(f"database=sqlite://{file}", file=file)

    @asynccontextmanager
    async def server(
        self, database: Database, processes: int, role: str = "all", assignments: Sequence[str] = (), port: int = 0
    ) -> AsyncIterator[Server]:
        """`petitbleu serve` on `database`; `port` is that of another sink than ours."""
        sets = [database.assignment, *self.settings.assignments, *assignments]
        if port:
            sets.append(f"plugins.email.providers.sink.port={port}")
        serve = serving(self.instance, processes=processes, role=role, assignments=sets, environment=self.environment)
        async with serve as server:
            yield server

    @asynccontextmanager
    async def profiled(self, server: Server, label: str) -> AsyncIterator[None]:
        """With `--profile`, py-spy watches the busiest process of the server as long as the block lasts."""
        program = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(python("x")[0]).parent))
        if not self.settings.profile:
            yield
            return
        if program is None:
            self.say("py-spy is not installed: no profile")
            yield
            return
        OUT.mkdir(exist_ok=True)
        children = family(server.pid)[1:] or [server.pid]
        busiest = max(children, key=cpu_seconds)
        file = OUT / f"{label}.profile.txt"
        words = [program, "record", "--nonblocking", "--format", "raw", "--duration", str(int(self.settings.seconds))]
        async with running([*words, "--output", file, "--pid", str(busiest)], self.folder / "py-spy.log") as child:
            yield
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30):
                    while child.poll() is None:
                        await asyncio.sleep(0.1)
        self.say(f"profile of process {busiest}: {file}")

    def processors(self, server: Server) -> dict[str, float]:
        """Seconds of processor time used so far, by who used it; `others` are programs that do not belong here."""
        used = {"load": time.process_time(), "sink": cpu_seconds(self.sink.pid), "server": cpu_seconds(server.pid)}
        if self.postgres.pid is not None:
            used["postgres"] = cpu_seconds(self.postgres.pid)
        return used | {"others": busy_seconds() - sum(used.values())}


@dataclass(frozen=True, slots=True)
class Database:
    """One run's database. `assignment` is what `--set` takes."""

    assignment: str
    postgres: Postgres | None = None
    name: str = ""
    file: Path = Path()

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        if self.postgres is not None:
            return await self.postgres.rows(self.name, query)
        return sqlite_rows(self.file, query)

    async def checkpoint(self) -> None:
        """Write out what has gathered in the log of changes."""
        if self.postgres is not None:
            await self.postgres.run("CHECKPOINT")
        else:
            await asyncio.to_thread(sqlite_rows, self.file, "PRAGMA wal_checkpoint(FULL)")

    async def relax(self) -> None:
        """Commits no longer wait for the disk (PostgreSQL)."""
        if self.postgres is not None:
            await self.postgres.run(f"ALTER DATABASE {self.name} SET synchronous_commit = off")

    async def statuses(self) -> dict[str, int]:
        """How many events have which status."""
        rows = await self.rows("SELECT status, count(*) FROM events GROUP BY status")
        return {str(status): int(str(count)) for status, count in rows}

    async def expect_sent(self, events: int, patience: float = 30.0) -> None:
        """Every acknowledged event is *sent*, once the last outcomes are written. Raises `Failed`."""
        end = time.monotonic() + patience
        while (found := await self.statuses()) != {"sent": events}:
            if time.monotonic() > end:
                raise Failed(f"{events} events were acknowledged; the database has {found}")
            await asyncio.sleep(0.2)


@asynccontextmanager
async def stage(settings: Settings) -> AsyncIterator[Bench]:
    """Start what every figure needs, in a new folder of `settings.folder`."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="petitbleu-bench-", dir=settings.folder)))
        server = stack.enter_context(postgres(settings.folder))
        sink = await stack.enter_async_context(smtp_sink(folder))
        base = await stack.enter_async_context(server.fresh())
        instance = make_instance(folder / "instance", f"sqlite://{folder / 'base.db'}", sink.port)
        await prepare(instance)
        await prepare(instance, [f"database={server.database(base)}"])
        bench = Bench(settings, folder, sink, server, instance, base, folder / "message.eml")
        bench.message.write_bytes(await _one_message(bench))
        yield bench


async def _one_message(bench: Bench) -> bytes:
    """A mail as our server sends it, as it goes over the wire after DATA."""
    caught = bench.folder / "caught.eml"
    async with (
        smtp_sink(bench.folder, keep=caught) as sink,
        bench.database("sqlite") as database,
        bench.server(database, 1, port=sink.port) as server,
        Load("127.0.0.1", server.port, pushes(server.token), callers=1, most=1) as load,
    ):
        load.start()
        await load.finish(20)
        for _ in range(500):
            if sink.accepted:
                break
            await asyncio.sleep(0.02)
    if not caught.is_file():
        raise Failed("the first mail of the server never arrived")
    return caught.read_bytes()


@dataclass(frozen=True, slots=True)
class Flow:
    """One run of a steady flow: what came and went, and microseconds of processor time per mail, by who used it."""

    window: Window
    used: Mapping[str, float]


async def flow(bench: Bench, server: Server, load: Load, database: Database, label: str) -> Flow:
    """Push as fast as events leave, count for a window, then let everything leave and compare with the database."""
    settings, sink = bench.settings, bench.sink
    pumping = asyncio.create_task(_pump(load))
    try:
        load.start()
        await _warm(bench, load)
        async with bench.profiled(server, label):
            before = bench.processors(server)
            acknowledged, sent, began = load.acknowledged, sink.accepted, time.monotonic()
            await asyncio.sleep(settings.seconds)
            seconds = time.monotonic() - began
            window = Window(seconds, load.acknowledged - acknowledged, sink.accepted - sent)
            after = bench.processors(server)
        await load.stop()
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
    await _all_left(load)
    await database.expect_sent(load.acknowledged)
    return Flow(window, per_event(before, after, window.sent))


async def _warm(bench: Bench, load: Load) -> None:
    """At least the warm-up; up to six times that for as much to go out as comes in."""
    part = bench.settings.warm_up / 2
    await asyncio.sleep(part)
    for _ in range(12):
        acknowledged, sent = load.acknowledged, bench.sink.accepted
        await asyncio.sleep(part)
        load.check()
        window = Window(part, load.acknowledged - acknowledged, bench.sink.accepted - sent)
        if window.steady:
            return


def per_event(before: Mapping[str, float], after: Mapping[str, float], events: int) -> dict[str, float]:
    """Microseconds for each event."""
    return {who: max(0.0, 1e6 * (after[who] - before[who]) / max(1, events)) for who in after}


async def _pump(load: Load) -> None:
    while True:
        load.pump()
        await asyncio.sleep(TICK)


async def _all_left(load: Load, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while load.under_way > 0:
        if time.monotonic() > end:
            raise Failed(f"{load.under_way} acknowledged events never reached the sink")
        await asyncio.sleep(0.05)
    if load.under_way < 0:
        raise Failed(f"the sink took {-load.under_way} mails more than events were acknowledged")
