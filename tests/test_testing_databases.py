"""A database that a test is done with is the next one's, if it can be told from a new one by nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from petitbleu.audit import ITSELF
from petitbleu.config import SAMPLE
from petitbleu.instance import open_instance
from petitbleu.testing.databases import PostgresDatabases, drop_postgres, make_postgres
from postgres_server import PostgresServer

TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
CHANGES = (
    "CREATE TABLE left_over (id int)",
    "ALTER TABLE queue ADD COLUMN left_over int",
    "ALTER TABLE queue ALTER COLUMN due SET DEFAULT 7",
    "ALTER TABLE queue RESET (fillfactor)",
    "GRANT SELECT ON queue TO public",
    "DROP INDEX {index}",
    "CREATE FUNCTION left_over() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA left_over",
    "ALTER DATABASE {name} SET synchronous_commit = off",
    "ALTER DATABASE {name} CONNECTION LIMIT 5",
)


@pytest.fixture
async def databases(postgres: PostgresServer, postgres_url: str) -> AsyncIterator[PostgresDatabases]:
    found = PostgresDatabases(postgres.url, postgres_url)
    yield found
    await found.close()


async def contents(url: str) -> dict[str, Any]:
    connection = await asyncpg.connect(url)
    try:
        tables = [row[0] for row in await connection.fetch(TABLES)]
        found = {one: sorted(map(str, await connection.fetch(f"SELECT * FROM {one}"))) for one in tables}
        return found | {"sequences": [tuple(row) for row in await connection.fetch(SEQUENCES)]}
    finally:
        await connection.close()


async def test_rows_and_sequences_are_those_of_a_new_one(databases: PostgresDatabases) -> None:
    url = await databases.take()
    new = await contents(url)
    async with open_instance(SAMPLE, [f"database={url}"]) as instance:
        for key in instance.drafts.list():
            await instance.templates.freeze(instance.drafts.load(*key).snapshot, ITSELF)
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE chores SET name = 'other' WHERE name = 'statistics'; DELETE FROM installation")
    await connection.execute("ANALYZE")
    await connection.close()
    used = await contents(url)
    assert {name for name in new if new[name] != used[name]} >= {"chores", "installation", "sequences"}
    await databases.give_back(url)
    assert await databases.take() == url
    assert await contents(url) == new
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM pg_stats WHERE schemaname = 'public'") == 0
    await connection.close()
    await databases.give_back(url)


@pytest.mark.parametrize("change", CHANGES)
async def test_one_whose_schema_or_settings_were_changed_is_dropped(databases: PostgresDatabases, change: str) -> None:
    url = await databases.take()
    connection = await asyncpg.connect(url)
    index = await connection.fetchval(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'queue'::regclass AND NOT indisunique LIMIT 1"
    )
    await connection.execute(change.format(name=urlsplit(url).path.strip("/"), index=index))
    await connection.close()
    await databases.give_back(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


async def test_one_that_somebody_still_uses_is_dropped(databases: PostgresDatabases) -> None:
    url = await databases.take()
    connection = await asyncpg.connect(url)
    await databases.give_back(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)
    await connection.close()


async def test_two_at_a_time_are_two(databases: PostgresDatabases) -> None:
    one, other = await databases.take(), await databases.take()
    assert one != other
    await databases.give_back(one)
    await databases.give_back(other)
    assert {await databases.take(), await databases.take()} == {one, other}
    await databases.give_back(one)
    await databases.give_back(other)


async def test_the_one_without_tables_is_a_model_too(postgres: PostgresServer) -> None:
    model = await make_postgres(postgres.url)
    databases = PostgresDatabases(postgres.url, model)
    url = await databases.take()
    await databases.give_back(url)
    assert await databases.take() == url
    await databases.give_back(url)
    await databases.close()
    await drop_postgres(postgres.url, model)
