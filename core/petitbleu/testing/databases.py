"""Databases for tests, made as copies of one that has its tables: making these takes longer than most tests."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from ..store import migrate, open_store

# asyncpg has no types
Connection: TypeAlias = Any


async def make_tables(url: str) -> None:
    """In an empty database, or a file that is not there yet."""
    async with open_store(url) as store:
        await migrate(store)


def copy_sqlite(model: Path, file: Path) -> str:
    """The address of a copy of an SQLite file."""
    shutil.copy(model, file)
    return f"sqlite://{file}"


async def make_postgres(server: str, model: str = "") -> str:
    """The address of a new database, empty or a copy of the one at `model`.

    `server` is the address of a database on the same PostgreSQL server, with a login that may make others.
    """
    name = f"petitbleu_test_{uuid.uuid4().hex[:20]}"
    copied = f" TEMPLATE {_name(model)}" if model else ""
    await _run(server, f"CREATE DATABASE {name}{copied}")
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


async def drop_postgres(server: str, url: str) -> None:
    """Whoever is still connected to it."""
    await _run(server, f"DROP DATABASE {_name(url)} WITH (FORCE)")


_CATALOGS = ("attribute", "attrdef", "constraint", "depend", "index", "proc", "trigger")
"""Where a change of a schema leaves its mark; whatever is new is in `depend`. A copy of a database has the rows of its
model, with the transactions that wrote them."""
_SHAPE = "SELECT concat_ws('; ', {})".format(
    ", ".join(
        [
            *(f"(SELECT concat(count(*), ' ', max(xmin::text::bigint)) FROM pg_{name})" for name in _CATALOGS),  # noqa: S608
            # not all of them: emptying and analyzing a table changes its row
            "(SELECT md5(string_agg(concat_ws(' ', oid, relnamespace, relname, relkind, relowner, relacl, reloptions, "
            "relpersistence, relrowsecurity, relreplident), ',' ORDER BY oid)) FROM pg_class WHERE oid >= 16384)",
            "(SELECT string_agg(concat_ws(' ', oid, nspname, nspowner, nspacl), ',' ORDER BY oid) FROM pg_namespace "
            "WHERE nspname !~ '^pg_(toast_)?temp_')",
            "(SELECT string_agg(concat_ws(' ', setrole, setconfig), ',' ORDER BY setrole) FROM pg_db_role_setting "
            "WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))",
            "(SELECT concat(datallowconn, datconnlimit, datacl) FROM pg_database WHERE datname = current_database())",
        ]
    )
)
_USED = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND oid >= 16384 AND pg_relation_size(oid) > 0 ORDER BY oid"""
_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename) AS name, start_value, last_value FROM pg_sequences"""
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a model has: its schema and settings as one text, its rows by table as JSON, where its sequences are."""

    shape: str
    rows: Mapping[str, str]
    sequences: Mapping[str, tuple[int, int | None]]

    @classmethod
    async def of(cls, connection: Connection) -> _Contents:
        tables = [row[0] for row in await connection.fetch(_USED)]
        rows = {table: await _rows(connection, table) for table in tables}
        return cls(
            await connection.fetchval(_SHAPE),
            {table: found for table, found in rows.items() if found},
            {row["name"]: (row["start_value"], row["last_value"]) for row in await connection.fetch(_SEQUENCES)},
        )

    async def restore(self, connection: Connection) -> bool:
        """Leave this and nothing else in the database. False where more than rows has changed."""
        if await connection.fetchval(_SHAPE) != self.shape:
            return False
        tables = [row[0] for row in await connection.fetch(_USED)]
        used = [one for one in tables if one not in self.rows or await _rows(connection, one) != self.rows[one]]
        if used:
            await connection.execute(f"TRUNCATE {', '.join(used)}")
        for table in self.rows:
            if table in used or table not in tables:
                await connection.execute(
                    f"INSERT INTO {table} OVERRIDING SYSTEM VALUE "  # noqa: S608 - its name is from the catalogue
                    f"SELECT * FROM json_populate_recordset(NULL::{table}, $1)",
                    self.rows[table],
                )
        for row in await connection.fetch(_SEQUENCES):
            start, last = self.sequences[row["name"]]
            if row["last_value"] != last:
                await connection.execute(
                    "SELECT setval($1::text::regclass, $2, $3)",
                    row["name"],
                    start if last is None else last,
                    last is not None,
                )
        await connection.execute("DELETE FROM pg_statistic WHERE starelid >= 16384")
        return True


async def _rows(connection: Connection, table: str) -> str:
    """All of them; empty where there is none."""
    query = f"SELECT json_agg(one ORDER BY one::text) FROM {table} AS one"  # noqa: S608 - its name is from the catalogue
    return await connection.fetchval(query) or ""


class PostgresDatabases:
    """Databases with tables and nothing in them, one after the other for tests that each want one of their own.

    Making one takes longer than most tests, so whoever is done gives it back, and it is emptied: its rows, sequences
    and statistics are those of the model again. Where anything else was changed, or somebody is still connected, it
    is dropped, as are all of them in the end.
    """

    def __init__(self, server: str, model: str) -> None:
        """`server` as for `make_postgres`; `model` is the address of a database that nobody uses."""
        self._server = server
        self._model = model
        self._contents: _Contents | None = None
        self._free: list[str] = []

    async def take(self) -> str:
        """The address of one that nobody else has."""
        return self._free.pop() if self._free else await make_postgres(self._server, self._model)

    async def give_back(self, url: str) -> None:
        if await self._emptied(url):
            self._free.append(url)
        else:
            await drop_postgres(self._server, url)

    async def close(self) -> None:
        while self._free:
            await drop_postgres(self._server, self._free.pop())

    async def _emptied(self, url: str) -> bool:
        try:
            if self._contents is None:
                self._contents = await self._look()
            connection = await asyncpg.connect(url, command_timeout=10)
        except (asyncpg.PostgresError, OSError):
            return False
        try:
            return await _alone(connection) and await self._contents.restore(connection)
        except (asyncpg.PostgresError, OSError):
            return False
        finally:
            await connection.close()

    async def _look(self) -> _Contents:
        connection = await asyncpg.connect(self._model)
        try:
            return await _Contents.of(connection)
        finally:
            await connection.close()


async def _alone(connection: Connection) -> bool:
    """Whether nobody else is connected, once those that are about to leave have left."""
    for _ in range(50):
        if not await connection.fetchval(_OTHERS):
            return True
        await asyncio.sleep(0.01)
    return False


def _name(url: str) -> str:
    return urlsplit(url).path.strip("/")


async def _run(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
