"""Who holds back vacuum is found and named, on a real PostgreSQL; a warning, not a failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg
import pytest
from hand_clock import Clock
from petitbleu.config import SAMPLE
from petitbleu.horizon import FRESH, HorizonWatch, _span
from petitbleu.serving.app import running
from petitbleu.store import Store, open_store
from petitbleu.types import Check


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    async with open_store(postgres_url) as store:
        yield store


@pytest.fixture
async def bystander(postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_url, server_settings={"application_name": "report"})
    yield connection
    await connection.close()


async def begin(connection: Any) -> int:
    """A transaction that sees what was there when it began, as a report or a dump has."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def test_an_open_transaction_is_named(store: Store, bystander: Any) -> None:
    watch = HorizonWatch(store, 300.0)
    found = await watch.read()
    assert found is not None
    assert (found.seconds, found.by) == (0.0, "")
    pid = await begin(bystander)
    found = await watch.read()
    assert found is not None
    assert 0 < found.seconds < 60
    assert found.by == (
        f"a transaction of application report (pid {pid}, user postgres, idle in transaction) has been open"
    )
    await bystander.execute("COMMIT")
    found = await watch.read()
    assert found is not None
    assert found.seconds == 0.0


async def test_a_transaction_that_wrote_counts_one_that_only_looks_does_not(store: Store, bystander: Any) -> None:
    watch = HorizonWatch(store, 300.0)
    await bystander.execute("BEGIN")
    await bystander.execute("SELECT 1")
    found = await watch.read()
    assert found is not None
    assert found.seconds == 0.0
    await bystander.execute("CREATE TABLE mine ()")
    found = await watch.read()
    assert found is not None
    assert found.seconds > 0
    await bystander.execute("ROLLBACK")


async def test_a_prepared_transaction_is_named(store: Store, bystander: Any) -> None:
    await bystander.execute("BEGIN; CREATE TABLE mine (); PREPARE TRANSACTION 'left behind'")
    found = await HorizonWatch(store, 300.0).read()
    await bystander.execute("ROLLBACK PREPARED 'left behind'")
    assert found is not None
    assert found.seconds > 0
    assert found.by == "the prepared transaction 'left behind' of user postgres has been waiting"


async def test_past_the_threshold_the_check_warns(store: Store, bystander: Any) -> None:
    clock = Clock()
    watch = HorizonWatch(store, 0.05, clock)
    good = Check("horizon", True, "dead rows can be cleared away")
    assert await watch.checks() == [good]
    await begin(bystander)
    await bystander.execute("SELECT pg_sleep(0.06)")
    # what was read lately is good enough
    assert await watch.checks() == [good]
    clock.now += FRESH + 1
    (check,) = await watch.checks()
    assert (check.ok, check.warning) == (True, True)
    assert "application report (pid " in check.text
    assert check.text.endswith(" has been open for 0 s and keeps dead rows from being cleared away")


async def test_what_the_login_may_not_see_is_timed_from_here(postgres_url: str, bystander: Any) -> None:
    role = "modest_" + (await bystander.fetchval("SELECT md5(random()::text)"))[:8]
    await bystander.execute(f"CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}")
    base, _, rest = postgres_url.partition("://postgres@")
    clock = Clock()
    try:
        async with open_store(f"{base}://{quote(role)}@{rest}") as store:
            watch = HorizonWatch(store, 300.0, clock)
            pid = await begin(bystander)
            found = await watch.read()
            assert found is not None
            assert found.seconds == 0.0
            clock.now += 400
            found = await watch.read()
            assert found is not None
            assert found.seconds == 400.0
            assert f"(pid {pid}, user postgres) has been open" in found.by
            await bystander.execute("COMMIT")
            # whoever goes on sees what was written meanwhile
            await bystander.execute("CREATE TABLE mine (); DROP TABLE mine")
            await begin(bystander)
            clock.now += 400
            found = await watch.read()
            assert found is not None
            assert found.seconds == 0.0
    finally:
        await bystander.execute("COMMIT")
        await bystander.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_slot_is_timed_by_its_standing_still() -> None:
    row = {"kind": "slot", "name": "standby_1", "xmin": "700", "state": "nobody uses it", "seconds": None}

    async def rows(query: str, on: Any = None) -> list[dict[str, Any]]:
        return [row] if query == "horizon" else []

    clock = Clock()
    watch = HorizonWatch(SimpleNamespace(dialect="postgres", rows=rows), 300.0, clock)  # type: ignore[arg-type]
    await watch.read()
    clock.now += 7200
    (check,) = await watch.checks()
    assert check.text.startswith("the replication slot standby_1 (nobody uses it) has stood still for 2 h")
    row["xmin"] = "701"
    clock.now += 60
    (check,) = await watch.checks()
    assert not check.warning


@pytest.mark.parametrize(
    ("seconds", "text"), [(59, "59 s"), (119, "119 s"), (720, "12 min"), (7300, "2 h"), (300_000, "3 d")]
)
def test_spans(seconds: float, text: str) -> None:
    assert _span(seconds) == text


async def test_ready_though_warned_and_measured(postgres_url: str, bystander: Any) -> None:
    settings = [f"database={postgres_url}", "http.port=0", "monitoring.horizon=0.001s"]
    pid = await begin(bystander)
    async with running(SAMPLE, settings) as server, aiohttp.ClientSession() as client:
        async with client.get(f"{server.url}/readyz") as response:
            assert response.status == 200
            body = json.loads(await response.text())
        assert body["status"] == "warning"
        (check,) = [one for one in body["checks"] if one["name"] == "horizon"]
        assert check["ok"] is True
        assert check["warning"] is True
        assert f"pid {pid}" in check["text"]
        # a connection that ends tells the server's statistics what it did
        other = await asyncpg.connect(postgres_url)
        await other.execute(
            "INSERT INTO queue (id, lane, priority, due, type, channel) "
            "SELECT n, 1, 5, 9e15::bigint, 't', 'email' FROM generate_series(1, 500) AS n; DELETE FROM queue"
        )
        await other.close()
        for _ in range(100):
            async with client.get(f"{server.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            assert float(values["petitbleu_database_horizon_seconds"]) > 0
            if float(values["petitbleu_queue_dead_rows"]) >= 500:
                break
            await asyncio.sleep(0.1)
        assert float(values["petitbleu_queue_dead_rows"]) >= 500
        assert float(values["petitbleu_purge_age_seconds"]) > 0


async def test_sqlite_has_no_horizon(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        watch = HorizonWatch(store, 300.0)
        assert await watch.read() is None
        assert await watch.checks() == []


async def test_busy_tables_keep_room_and_are_vacuumed_early(store: Store) -> None:
    rows = await store.read("SELECT relname, reloptions FROM pg_class WHERE relname IN ('queue', 'events')", [])
    options = {row["relname"]: dict(one.split("=") for one in row["reloptions"]) for row in rows}
    assert options["queue"]["fillfactor"] == "70"
    assert options["queue"]["autovacuum_vacuum_scale_factor"] == "0"
    assert options["events"]["fillfactor"] == "80"
