"""Databases for tests: empty ones with their tables, made from a model, since making tables takes longer than most
tests."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from ..store import open_store


async def make_sqlite(file: Path) -> None:
    """A file with the tables and nothing in them."""
    async with open_store(f"sqlite://{file}") as store:
        await store.migrate()


def copy_sqlite(model: Path, file: Path) -> str:
    """The address of a copy."""
    shutil.copy(model, file)
    return f"sqlite://{file}"


@asynccontextmanager
async def postgres_database(server: str, model: str = "") -> AsyncIterator[str]:
    """The address of a new database on a PostgreSQL server, `postgres://USER:PASSWORD@HOST/postgres`, whose login may
    make databases; it goes away at the end. It is a copy of the database named `model`, or has tables of its own."""
    name = f"petitbleu_test_{uuid.uuid4().hex[:20]}"
    url = database_on(server, name)
    await _run(server, f"CREATE DATABASE {name}" + (f" TEMPLATE {model}" if model else ""))
    try:
        if not model:
            async with open_store(url) as store:
                await store.migrate()
        yield url
    finally:
        await _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def database_on(server: str, name: str) -> str:
    """The address of another database of the same server."""
    address, mark, options = server.partition("?")
    return f"{address.rpartition('/')[0]}/{name}{mark}{options}"


async def _run(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
