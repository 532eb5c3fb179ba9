"""The databases of a measurement: a PostgreSQL of the tests' kind, its data on a disk, a new database for each run."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
from postgres_server import postgres_server


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server. `pid` is its first process, None when the server is somebody else's."""

    url: str
    origin: str
    pid: int | None

    def database(self, name: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    async def run(self, statement: str, database: str = "") -> None:
        connection = await asyncpg.connect(self.database(database) if database else self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(self.database(database))
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    @asynccontextmanager
    async def fresh(self, template: str = "template1") -> AsyncIterator[str]:
        """The name of a new database, a copy of `template`, that goes away with the block."""
        name = f"petitbleu_bench_{uuid.uuid4().hex[:12]}"
        # files are copied as such, not row by row through the log of changes
        await self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield name
        finally:
            await self.run(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    with postgres_server(directory=folder) as server:
        hosts = parse_qs(urlsplit(server.url).query).get("host", [])
        status = Path(hosts[0]) / "data" / "postmaster.pid" if hosts else None
        pid = int(status.read_text().split()[0]) if status is not None and status.is_file() else None
        yield Postgres(server.url, server.origin, pid)


def sqlite_rows(file: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection:
        return list(connection.execute(query))
