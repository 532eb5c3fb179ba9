"""What a case works with: a database server, folders, and worlds of one site, one sink and their callers."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import asyncpg
from postgres_server import PostgresCluster, postgres_cluster

from .callers import Callers, Shape
from .oracle import Call, Records, Strike, Verdict, judge
from .proxy import Proxy, faulty
from .sink import RunningSink
from .site import Server, Site, free_port
from .ways import MAIL, Provider, Way

LEASE = 3.0
RECOVERY = LEASE + 10.0
RECEIPT = 6.0
"""Seconds for which the receipt of what is unknown is waited for."""
Dialect = Literal["postgres", "sqlite"]
BARE: Mapping[str, float] = {
    "lost": 0, "ghosts": 0, "false_sent": 0, "same_key": 0, "partial": 0, "two_finals": 0, "early": 0, "late": 0,
    "unmatched": 0, "misreported": 0, "over_window": 0, "wrongly_suppressed": 0, "unsuppressed": 0,
}  # fmt: skip
"""What no case may exceed."""
_LOOKED_FOR = "SELECT count(*) FROM receipts WHERE look IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `verdict` is `ok`, `lacked TOOL`, or what was not as it should be."""

    case: str
    variant: str
    verdict: str
    judged: Verdict = field(default_factory=Verdict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What else the case measured."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.verdict == "ok"

    def as_json(self) -> dict[str, Any]:
        judged = asdict(self.judged)
        judged["H"] = judged.pop("h")
        examples = judged.pop("examples")
        return {
            "case": self.case, "variant": self.variant, "verdict": self.verdict, **judged, "figures": self.figures,
            "examples": examples, "seconds": round(self.seconds, 1),
        }  # fmt: skip


class World:
    """One site with its sink and callers, from the first push to the verdict."""

    def __init__(self, site: Site, way: Way, sink: RunningSink, provider: Proxy, database: Proxy | None) -> None:
        self.site = site
        self.way = way
        self.sink = sink
        self.provider = provider
        self.database_proxy = database
        self.calls: list[Call] = []
        self.strikes: list[Strike] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._keeping = True

    @property
    def database(self) -> Proxy:
        """The proxy before PostgreSQL."""
        assert self.database_proxy is not None
        return self.database_proxy

    @asynccontextmanager
    async def callers(
        self, *servers: Server, urls: Sequence[str] = (), seconds: float = 15.0, shape: Shape | None = None
    ) -> AsyncIterator[Callers]:
        prefix = f"k{uuid.uuid4().hex[:6]}-"
        urls = [*(one.url for one in servers), *urls]
        async with Callers(urls, seconds, prefix, shape or self.way.shape) as callers:
            callers.calls = self.calls
            yield callers

    async def keep(self, role: str = "worker", pause: float = 0.0, **options: Any) -> None:
        """A server that is started again whenever it ends; what the dead one had is noted as a strike."""
        first = await self.site.serve(role, **options)

        async def life() -> None:
            server = first
            while True:
                await server.process.wait()
                if not self._keeping:
                    return
                self.strikes.append(await self.site.database.strike(time.time(), server.incarnations()))
                await asyncio.sleep(pause)
                if not self._keeping:
                    return
                server = await self.site.serve(role, **{**options, "wait": False})

        self._keepers.append(asyncio.create_task(life()))

    async def struck(self, server: Server) -> None:
        """Note what a server that was killed just now had."""
        self.strikes.append(await self.site.database.strike(time.time(), server.incarnations()))

    def living(self, role: str = "worker") -> list[Server]:
        return [one for one in self.site.servers if one.alive and one.role == role]

    async def release(self) -> None:
        """Let what is kept end."""
        self._keeping = False
        await self.site.stop()
        await asyncio.gather(*self._keepers)

    async def reachable(self, seconds: float = 5.0) -> bool:
        """Whether the database answers, within that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self.site.database.number("SELECT 1")
                return True
            await asyncio.sleep(0.1)
        return False

    async def idle(self, seconds: float = 60.0, most: int = 0) -> bool:
        """Wait until the queue is empty; False if it never is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if await self.site.database.number("SELECT count(*) FROM queue") <= most:
                    return True
            await asyncio.sleep(0.1)
        return False

    @property
    def stand_in(self) -> Provider:
        """The sink of a way that is not mail."""
        assert isinstance(self.sink, Provider)
        return self.sink

    async def settled(self, seconds: float = 30.0) -> bool:
        """Wait until every receipt is acknowledged, and its message found or given up; False if that never is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.stand_in.owes and not await self.site.database.number(_LOOKED_FOR):
                return True
            await asyncio.sleep(0.1)
        return False

    async def verdict(self, seconds: float = 60.0, h: Literal["strikes", "unknown"] = "strikes") -> Verdict:
        """Wait until all is done, stop the servers, and let the oracle speak. `h` says how H is known: from what
        `strikes` found leased, or from the attempts that ended `unknown`."""
        await self.idle(seconds)
        waited = time.time()
        provider = self.sink if isinstance(self.sink, Provider) else None
        if provider:
            await self.settled()
        await self.release()
        database = self.site.database
        events, attempts = await database.events(), await database.attempts()
        open_marks = await self.site.database.number("SELECT count(*) FROM queue WHERE handed_off <> ''")
        unknown = sum(one.outcome == "unknown" for one in attempts) + open_marks
        return judge(
            Records(
                self.calls, self.sink.receipts(events), events, attempts, self.strikes,
                unknown if h == "unknown" else None, waited,
                reports=provider.reports(events) if provider else (),
                unmatched=await database.number("SELECT count(DISTINCT names) FROM receipts WHERE event IS NULL"),
                over_window=provider.count("over") if provider else 0,
                dead=provider.dead() if provider else frozenset(),
                suppressed=await database.suppressed(),
            )
        )  # fmt: skip


class Rig:
    """Makes worlds. `size` scales the numbers of events, `cluster` is a PostgreSQL of its own."""

    def __init__(self, folder: Path, cluster: PostgresCluster, size: float = 1.0) -> None:
        self.folder = folder
        self.cluster = cluster
        self.size = size
        self._made = 0
        self._templates: set[str] = set()
        self.sqlite = folder / "base.db"
        folder.mkdir(exist_ok=True)

    def events(self, number: int) -> int:
        return max(20, int(number * self.size))

    @staticmethod
    def lacks(*tools: str) -> str:
        """The first that this machine does not have."""
        return next((tool for tool in tools if shutil.which(tool) is None), "")

    async def statement(self, text: str) -> None:
        connection = await asyncpg.connect(self.cluster.server.url)
        try:
            await connection.execute(text)
        finally:
            await connection.close()

    async def prepared(self, dialect: Dialect, way: Way = MAIL) -> None:
        """A database with tables and published templates, to be copied: making one takes seconds."""
        name = f"faults_base_{way.name}"
        if dialect == "postgres" and name not in self._templates:
            await self.statement(f"CREATE DATABASE {name}")
            site = Site(self._folder(), self.cluster.server.database(name), way, 25, {})
            await site.command("templates", "publish", "--all")
            self._templates.add(name)
        if dialect == "sqlite" and not self.sqlite.exists():
            site = Site(self._folder(), f"sqlite://{self.sqlite}", way, 25, {})
            await site.command("templates", "publish", "--all")

    def _folder(self) -> Path:
        self._made += 1
        folder = self.folder / f"world-{self._made}"
        folder.mkdir()
        return folder

    @asynccontextmanager
    async def world(
        self,
        changes: Mapping[str, Any] | None = None,
        *,
        dialect: Dialect = "postgres",
        proxied: bool = False,
        database: str = "",
        way: Way = MAIL,
        orders: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[World]:
        """`changes` of the configuration, by path; `proxied` puts a proxy before PostgreSQL; `database` is the address
        of one that is there already. Messages leave by one `way`, to a stand-in with its `orders`."""
        if not database:
            await self.prepared(dialect, way)
        folder = self._folder()
        async with AsyncExitStack() as stack:
            sink = await stack.enter_async_context(way.sink(folder / "receipts", orders or {}))
            provider = await stack.enter_async_context(faulty(("127.0.0.1", sink.port)))
            proxy = None
            if database:
                url = direct = database
            elif dialect == "sqlite":
                shutil.copy(self.sqlite, folder / "test.db")
                url = direct = f"sqlite://{folder}/test.db"
            else:
                name = f"faults_{uuid.uuid4().hex[:12]}"
                await self.statement(f"CREATE DATABASE {name} TEMPLATE faults_base_{way.name}")
                url = direct = self.cluster.server.database(name)
                if proxied:
                    sockets = Path(tempfile.mkdtemp(prefix="pb-px-"))
                    stack.callback(shutil.rmtree, sockets, ignore_errors=True)
                    target = self.cluster.folder / ".s.PGSQL.5432"
                    proxy = await stack.enter_async_context(faulty(target, sockets / ".s.PGSQL.5432"))
                    url = f"postgres://postgres@/{name}?host={sockets}"
                else:
                    url = f"postgres://postgres@/{name}?host={self.cluster.folder}"
                direct = f"postgres://postgres@/{name}?host={self.cluster.folder}"
            assert isinstance(provider.address, tuple)
            site = Site(folder, url, way, provider.address[1], changes or {})
            site.database.url = direct
            world = World(site, way, sink, provider, proxy)
            try:
                yield world
            finally:
                world._keeping = False
                await site.close()
                await asyncio.gather(*world._keepers, return_exceptions=True)


@contextmanager
def rigged(size: float = 1.0, settings: Mapping[str, str] | None = None) -> Iterator[Rig]:
    """A rig whose data lies on a disk, since some cases are about that."""
    folder = Path(tempfile.mkdtemp(prefix="pb-faults-"))
    folder.chmod(0o755)
    try:
        with postgres_cluster(folder, {"max_connections": "200", **(settings or {})}) as cluster:
            yield Rig(folder, cluster, size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def row(
    case: str,
    variant: str,
    judged: Verdict,
    checks: Mapping[str, bool] | None = None,
    figures: Mapping[str, Any] | None = None,
    **most: float,
) -> Row:
    """`most` and `BARE` are what the oracle may count; `checks` are the case's own expectations, by their words."""
    broken = judged.broken(**{**BARE, **most})
    broken += [f"not so: {words}" for words, holds in (checks or {}).items() if not holds]
    if not judged.acked and "acked" not in (figures or {}):
        broken.append("nothing was acknowledged")
    return Row(case, variant, "; ".join(broken) or "ok", judged, figures or {})


Run = Callable[[Rig], AsyncIterator[Row]]


@dataclass(frozen=True, slots=True)
class Case:
    """`run` gives its rows as they are known; `tools` are the commands it needs."""

    number: str
    text: str
    run: Run
    tools: tuple[str, ...] = ()


async def rows_of(case: Case, rig: Rig) -> AsyncIterator[Row]:
    """A case that breaks off is a row too."""
    if missing := rig.lacks(*case.tools):
        yield Row(case.number, case.text, f"lacked {missing}")
        return
    began = time.monotonic()
    try:
        async for one in case.run(rig):
            yield replace(one, seconds=time.monotonic() - began)
            began = time.monotonic()
    except Exception as error:
        yield Row(
            case.number, "", f"broke off: {type(error).__name__}: {error}"[:600], seconds=time.monotonic() - began
        )


__all__ = ["LEASE", "RECOVERY", "Case", "Rig", "Row", "World", "free_port", "rigged", "row", "rows_of"]
