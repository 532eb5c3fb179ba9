"""Databases for tests, made as copies of one that has its tables: making these takes longer than most tests."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from ..store import open_store


async def make_tables(url: str) -> None:
    """In an empty database, or a file that is not there yet."""
    async with open_store(url) as store:
        await store.migrate()


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


def _name(url: str) -> str:
    return urlsplit(url).path.strip("/")


async def _run(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
