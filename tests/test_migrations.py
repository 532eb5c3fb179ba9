"""Tables go forward under whatever is in them, once, and old and new versions work on them side by side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from old_tables import BODY, fill, migrate_to
from petitbleu import Operator, Queue
from petitbleu.config import SAMPLE
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.instance import open_instance
from petitbleu.lifecycle import SENT
from petitbleu.operating import Actor
from petitbleu.operations.operations import Operations
from petitbleu.queue.queue import WorkQueue
from petitbleu.steps import AttemptRecord, Claimed, Step
from petitbleu.store import Store, StoreError, check_tables, migrate, open_store, pending_migrations
from petitbleu.store.sqlite_client import statements
from petitbleu.types import Comparison, EventQuery
from tortoise.exceptions import OperationalError

DATA = Path(__file__).parent / "data"
FROZEN = json.loads((DATA / "statements_0002.json").read_text("utf-8"))
LEASE = 30.0
BESIDE = ["0016_search", "0017_device", "0018_device_index"]
"""Steps by themselves, since the first and the last one build an index while others write."""

CRASHES = """
import asyncio, os, sys
from petitbleu.store import migrate, open_store, pending_migrations
from tortoise.migrations.recorder import MigrationRecorder

record = MigrationRecorder.record_applied
url, *names = sys.argv[1:]

async def apply():
    async with open_store(url) as store:
        await migrate(store)

async def pending():
    async with open_store(url) as store:
        print(*await pending_migrations(store))

for last in names:
    child = os.fork()
    if not child:
        async def crash(self, app, name):
            await record(self, app, name)
            if name == last:
                os._exit(9)

        MigrationRecorder.record_applied = crash
        asyncio.run(apply())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, last
    asyncio.run(pending())
"""
"""A process for each crash; forked, since each would need a second to get as far as that."""


async def old(url: str) -> None:
    """Tables of 0002 with something in every one of them."""
    async with open_store(url) as store:
        await migrate_to(store, "0002_idempotency")
        await fill(store)


async def run(*words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    return process.returncode, told.decode().strip()


def sent(claimed: Claimed, store: Store) -> Step:
    number = claimed.attempts + 1
    attempt = AttemptRecord(number, "email", "main", "t", store.now(), store.now(), "delivered", text="250 ok")
    return Step(claimed, SENT, "250 ok", "email", attempts=number, attempt=attempt, at=store.now())


async def test_no_operation_looks_at_the_tables_before_it(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petitbleu.store.migrations._uncopied._Shared.clone", lambda self: object())
    async with open_store(empty_database_url) as store:
        names = await pending_migrations(store)
        assert await migrate(store) == names
        await check_tables(store)


# ------------------------------------------------------------------------------------------------- a filled database


async def test_what_is_in_old_tables_is_delivered_and_read_from_new_ones(empty_database_url: str) -> None:
    await old(empty_database_url)
    async with open_store(empty_database_url) as store:
        names = await pending_migrations(store)
        assert names[0] == "0003_flows"
        assert await migrate(store) == names
        await check_tables(store)
        queue = WorkQueue(store, 0, LEASE, {"order": 3600.0})
        assert await queue.promote() is not None
        # the one whose worker is gone comes back, with what is known of its hand-off
        assert await queue.rescue() == 2
        claimed = {one.id: one for one in await queue.claim(Queue.REALTIME, 9)}
        assert sorted(claimed) == [1, 2, 3, 4]
        assert (claimed[2].tries, claimed[2].attempts) == (1, 1)
        assert (claimed[3].crashes, claimed[3].handed_off) == (1, "")
        assert (claimed[4].crashes, claimed[4].handed_off) == (1, "main")
        for one in claimed.values():
            await queue.hand_off(one, "main")
            assert await queue.record(sent(one, store))
        await store.shift_clock(7200)
        await queue.promote()
        (later,) = await queue.claim(Queue.BATCH, 9)
        assert later.id == 5
        # a key that was taken still stands for its event
        (row,) = await store.read("SELECT event, digest FROM idempotency WHERE until > ?", [store.now()])
        assert row["event"] == 6
    async with open_instance(SAMPLE, [f"database={empty_database_url}", "instance.cell=1"]) as instance:
        query = EventQuery(Comparison("email", "=", ("zoe@example.com",)), order_by=(("id", False),))
        found = await instance.status.find(query, Operator("ann", frozenset({"read"})))
        assert [(one.id, one.status) for one in found] == [
            *((number, "sent") for number in (1, 2, 3, 4)),
            (5, "processing"),
            (6, "sent"),
            (7, "failed"),
        ]
        assert [one["number"] for one in await instance.status.attempts(2)] == [1, 2]
        calls = Calls(load([], []), 1.0)
        operations = Operations(
            instance.store, instance.queue, calls, 0, {}, timedelta(hours=1), 100, instance.store.now, time.monotonic
        )
        (answer,) = await operations.retry([7], Actor(Operator("ann", frozenset({"admin"})), "cli"))
        assert answer.ok
        assert await instance.purge.rehearse() is not None


async def test_a_crash_on_the_way_leaves_everything_as_it_was_before_the_step(empty_database_url: str) -> None:
    await old(empty_database_url)
    async with open_store(empty_database_url) as store:
        names = await pending_migrations(store)
        # an index that is built while others write is a step by itself
        steps = [names] if store.dialect == "sqlite" else [names[:-3], names[-3:-2], names[-2:-1], names[-1:]]
    assert [step[0] for step in steps[1:]] in ([], BESIDE)
    # whatever was done on its own before the last one of a step would be seen after it
    ends = [name for step in steps for name in (step[0], step[-1])]
    left = [" ".join(names[names.index(step[0]) :]) for step in steps for _ in range(2)]
    code, told = await run("-c", CRASHES, empty_database_url, *ends)
    assert (code, told.splitlines()) == (0, left)
    async with open_store(empty_database_url) as store:
        assert await migrate(store) == steps[-1]
        assert len(await WorkQueue(store, 0, LEASE).claim(Queue.REALTIME, 9)) > 0


async def test_of_several_processes_one_migrates_a_file(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/petitbleu.db"
    await old(url)
    words = ["-m", "petitbleu", "migrate", "--set", f"database={url}"]
    ended = await asyncio.gather(*(run(*words) for _ in range(3)))
    assert [code for code, _ in ended] == [0, 0, 0]
    told = sorted(text for _, text in ended)
    assert told[0].startswith("applied 0003_flows")
    assert told[1:] == ["the tables are up to date"] * 2


async def test_a_table_that_somebody_holds_is_not_waited_for_forever(empty_postgres_url: str) -> None:
    await old(empty_postgres_url)
    bystander = await asyncpg.connect(empty_postgres_url)
    async with open_store(empty_postgres_url) as store:
        names = await pending_migrations(store)
        async with bystander.transaction():
            await bystander.execute("LOCK TABLE queue")
            with pytest.raises(StoreError, match=r"nothing was changed: a transaction has held a table for 0\.2 s"):
                await migrate(store, patience=0.2)
        assert await migrate(store) == names
    await bystander.close()


async def in_use(url: str) -> None:
    """Tables of 0015 with something in them."""
    await old(url)
    async with open_store(url) as store:
        await migrate_to(store, "0015_rendered")


async def indexes(url: str) -> dict[str, bool]:
    """Those that are built while others write, and whether they are of use."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT indexrelid::regclass::text AS name, indisvalid FROM pg_index "
        "WHERE indexrelid IN (to_regclass('events_phone'), to_regclass('events_device'))"
    )
    await connection.close()
    return {row["name"]: row["indisvalid"] for row in rows}


@contextlib.asynccontextmanager
async def held_up(url: str, name: str) -> AsyncIterator[asyncio.Task[list[str]]]:
    """A migration that is building the index `name`, until the end of a transaction that has written to its table."""
    bystander = await asyncpg.connect(url)
    async with open_store(url) as store:
        try:
            async with bystander.transaction():
                await bystander.execute("UPDATE events SET reason = 'x' WHERE id = 1")
                migrating = asyncio.create_task(migrate(store))
                while (await indexes(url)).get(name) is not False:
                    assert not migrating.done()
                    await asyncio.sleep(0.02)
                yield migrating
            await asyncio.wait([migrating])
        finally:
            await bystander.close()


async def test_whoever_writes_is_not_held_up_while_an_index_is_built(empty_postgres_url: str) -> None:
    await in_use(empty_postgres_url)
    writer = await asyncpg.connect(empty_postgres_url)
    async with held_up(empty_postgres_url, "events_phone") as migrating:
        for number in range(20, 25):
            await writer.execute(
                "INSERT INTO events (id, type, lane, channel, status, created, external_id, email) "
                f"VALUES ({number}, 'order', 0, 'email', 'pending', 0, 'A', 'zoe@example.com')",
                timeout=5,
            )
        assert not migrating.done()
    assert await migrating == BESIDE
    await writer.close()
    assert await indexes(empty_postgres_url) == {"events_phone": True, "events_device": True}


async def test_an_index_whose_building_was_interrupted_is_built_anew(empty_postgres_url: str) -> None:
    await in_use(empty_postgres_url)
    async with held_up(empty_postgres_url, "events_phone") as migrating:
        killer = await asyncpg.connect(empty_postgres_url)
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND datname = current_database()"
        )
        await killer.close()
        with pytest.raises(
            StoreError,
            match=r"nothing was changed: the index events_phone could not be built: .*; run `pet",
        ):
            await migrating
    assert await indexes(empty_postgres_url) == {"events_phone": False}
    async with open_store(empty_postgres_url) as store:
        # it is done when it is of use
        assert await pending_migrations(store) == BESIDE
        assert await migrate(store) == BESIDE
        await check_tables(store)
    assert await indexes(empty_postgres_url) == {"events_phone": True, "events_device": True}


async def test_whoever_comes_second_waits_without_holding_up_the_first(empty_postgres_url: str) -> None:
    await in_use(empty_postgres_url)
    async with asyncio.timeout(30), open_store(empty_postgres_url) as store:
        async with held_up(empty_postgres_url, "events_phone") as first:
            second = asyncio.create_task(migrate(store))
            await asyncio.sleep(0.5)
            assert not second.done()
        # between two steps the other one may have its turn
        assert sorted(await first + await second) == BESIDE


# ------------------------------------------------------------------------------------------------ versions side by side


async def test_later_tables_are_taken_where_they_say_so(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.connection.execute_script(
            "INSERT INTO tortoise_migrations (app, name, applied_at) "
            "VALUES ('petitbleu', '0998_more', '2026-11-25 00:00:00+00:00')"
        )
    async with open_instance(SAMPLE, [f"database={database_url}"]) as instance:
        assert await migrate(instance.store) == []
        await instance.store.connection.execute_script(
            "UPDATE installation SET value = '0998_more' WHERE name = 'needs'"
        )
    with pytest.raises(StoreError, match=r"has been brought to 0998_more, for versions that know 0998_more; this one"):
        async with open_instance(SAMPLE, [f"database={database_url}"]):
            raise AssertionError("opened")


async def test_earlier_tables_are_refused(empty_database_url: str) -> None:
    await old(empty_database_url)
    with pytest.raises(StoreError, match=r"lacks 0003_flows, .*; run `petitbleu migrate` first"):
        async with open_instance(SAMPLE, [f"database={empty_database_url}"]):
            raise AssertionError("opened")


class Earlier:
    """A process of the version before, as far as the database sees it: its own statements, word for word."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts: dict[str, str] = FROZEN[store.dialect]

    async def __call__(self, name: str, *values: Any) -> list[dict[str, Any]]:
        parameters = [json.dumps(value) if isinstance(value, list) else value for value in values]
        return await self._store.connection.execute_query_dict(self._texts[name], parameters)

    async def put(self, number: int, key: str, due: int) -> None:
        now = self._store.now()
        row = {
            "id": number, "lane": 0, "priority": 5, "due": due, "expires": None, "type": "order", "channel": "email",
            "created": now, "external_id": key, "origin": "shop", "email": "zoe@example.com", "mobile_phone": "",
            "body": BODY,
        }  # fmt: skip
        known = await self("lock_keys", [{"key": key}])
        assert known[0]["holds"] == 0
        for query in ("insert_queue", "insert_events", "insert_payloads"):
            await self(query, [row])
        await self("take_keys", [{"key": key, "event": number, "digest": "d", "until": now + 3_600_000_000}])
        await self("purge_keys", 2)

    async def record(self, row: dict[str, Any], lease: str, status: str) -> bool:
        step = {"id": row["id"], "lease": lease}
        now = self._store.now()
        if not await self("finish", [step]):
            return False
        final = {
            "id": row["id"], "status": status, "channel": "email", "errors": 0, "processing": now, "processed": now,
            "process_requested": None, "template": "t", "reason": "250 ok",
        }  # fmt: skip
        await self("record_steps", [final])
        attempt = {
            "event": row["id"], "number": row["attempts"] + 1, "channel": "email", "provider": "main", "template": "t",
            "started": now, "ended": now, "outcome": "delivered", "scope": "", "code": "250", "text": "ok",
            "reference": "",
        }  # fmt: skip
        await self("insert_attempts", [attempt])
        return True


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


async def test_the_version_before_does_all_its_work_on_these_tables(store: Store) -> None:
    before = Earlier(store)
    (taken,) = await before("take_ids", 1000, "events")
    assert taken["value"] >= 1000
    now = store.now()
    for number in range(1, 8):
        await before.put(number, f"key {number}", now if number < 7 else now + 60_000_000)
    assert (await before("depth"))[0]["depth"] == 7
    assert {(row["state"], row["events"]) for row in await before("backlog")} == {(1, 6), (0, 1)}
    claimed = await before("claim", "old-1", 30_000_000, 0, 3)
    assert sorted(row["id"] for row in claimed) == [1, 2, 3]
    assert all(row["body"] == BODY for row in claimed)
    await before("renew", 30_000_000, [{"lease": "old-1"}])
    marked = await before("hand_off", [{"id": 1, "lease": "old-1", "provider": "main"}])
    assert [row["id"] for row in marked] == [1]
    assert await before.record(claimed[0], "old-1", SENT)
    retry = {"id": 2, "lease": "old-1", "due": now, "tries": 1, "attempts": 1, "unknowns": 0}
    assert [row["id"] for row in await before("requeue", [retry])] == [2]
    assert [row["id"] for row in await before("release", [{"id": 3, "lease": "old-1"}])] == [3]
    assert await before("overdue", 500) == []
    assert await before("rescue", 500) == []
    assert (await before("next_due"))[0]["due"] == now + 60_000_000
    await before("promote")
    assert [row["id"] for row in await before("hasten", 1, [{"id": 7}])] == [7]
    await before("record_hastened", [{"id": 7}])
    assert [row["id"] for row in await before("cancel", [{"id": 7}])] == [7]
    await before("record_cancelled", "cancelled by ann", [{"id": 7}])
    (looked,) = await before("look", [{"id": 7}])
    assert (looked["status"], looked["state"]) == ("ignored", None)
    back = {"id": 7, "status": "ignored", "channel": "email", "due": 0, "priority": 5, "expires": None}
    assert [row["id"] for row in await before("reopen", "put back", [back])] == [7]
    await before("insert_reopened", 1, [back])
    assert (await before("depth"))[0]["depth"] == 6
    assert (await before("now"))[0]["now"] > 0


async def test_what_one_version_stores_the_other_sends(store: Store) -> None:
    before, queue = Earlier(store), WorkQueue(store, 0, LEASE)
    (row,) = await store.rows("take_ids", 10, "events")
    number = int(row["value"])
    await before.put(number, "a key", store.now())
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    assert claimed.id == number
    await queue.hand_off(claimed, "main")
    assert await queue.record(sent(claimed, store))
    (mine,) = await queue.put([claimed.event])
    (theirs,) = await before("claim", "old-1", 30_000_000, 0, 5)
    assert (theirs["id"], json.loads(theirs["body"])["type"]) == (mine, "order")
    assert await before("hand_off", [{"id": mine, "lease": "old-1", "provider": "main"}])
    assert await before.record(theirs, "old-1", SENT)
    statuses = await store.read("SELECT id, status FROM events ORDER BY id", [])
    assert [(row["id"], row["status"]) for row in statuses] == sorted([(number, SENT), (mine, SENT)])


async def test_neither_takes_what_the_other_has(store: Store) -> None:
    before, queue = Earlier(store), WorkQueue(store, 0, LEASE)
    for number in range(1, 41):
        await before.put(number, f"key {number}", store.now())
    mine: list[int] = []
    theirs: list[int] = []
    for turn in range(8):
        if turn % 2:
            theirs += [row["id"] for row in await before("claim", f"old-{turn}", 30_000_000, 0, 5)]
        else:
            mine += [one.id for one in await queue.claim(Queue.REALTIME, 5)]
    assert len(mine) == len(theirs) == 20
    assert not set(mine) & set(theirs)
    await store.shift_clock(LEASE + 1)
    # of a lease that ran out either makes work again
    assert await queue.rescue() == 40
    assert len(await before("claim", "old-9", 30_000_000, 0, 50)) == 40


async def test_what_must_be_tried_alone_is_lost_by_neither(store: Store) -> None:
    before, queue = Earlier(store), WorkQueue(store, 0, LEASE)
    await before.put(1, "key 1", store.now())
    assert len(await queue.claim(Queue.REALTIME, 5)) == 1
    await store.shift_clock(LEASE + 1)
    await queue.rescue()
    assert len(await queue.claim(Queue.REALTIME, 5)) == 1
    await store.shift_clock(LEASE + 1)
    await queue.rescue()
    assert await queue.claim(Queue.REALTIME, 5) == []
    # the version before makes it ready again, and whoever meets it may give it back
    await before("promote")
    (met,) = await queue.claim(Queue.REALTIME, 5)
    await queue.release([met])
    assert len(await queue.suspects()) == 1
    await before("promote")
    (theirs,) = await before("claim", "old-1", 30_000_000, 0, 5)
    assert (theirs["id"], theirs["crashes"]) == (1, 2)
    assert [row["id"] for row in await before("release", [{"id": 1, "lease": "old-1"}])] == [1]
    (theirs,) = await before("claim", "old-2", 30_000_000, 0, 5)
    assert await before.record(theirs, "old-2", SENT)


# ------------------------------------------------------------------------------------------------------ SQLite's own


async def test_a_transaction_begins_with_the_right_to_write(sqlite_url: str) -> None:
    """Reading first and writing then does not fail because another process wrote between."""
    async with open_store(sqlite_url + "?busy_timeout=50") as store:
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite://"), timeout=0.05, isolation_level=None)
        async with store.transaction() as transaction:
            await store.rows("depth", on=transaction)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("INSERT INTO payloads (id, body) VALUES (1, '')")
            await store.rows("insert_payloads", [{"id": 2, "body": ""}], on=transaction)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            async with store.transaction():
                raise AssertionError("begun")
        other.rollback()
        other.close()
        # and it has let go of everything
        async with asyncio.timeout(2), store.transaction() as transaction:
            (row,) = await store.rows("depth", on=transaction)
            assert row["depth"] == 0
        assert await store.read("SELECT id FROM payloads", []) == [{"id": 2}]


async def test_a_script_is_part_of_its_transaction(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:

        async def make() -> None:
            async with store.transaction() as transaction:
                await transaction.execute_script("CREATE TABLE more (id int); INSERT INTO more VALUES (1);")
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await make()
        assert await store.read("SELECT name FROM sqlite_master WHERE name = 'more'", []) == []


def test_a_script_is_cut_where_statements_end() -> None:
    script = "CREATE TABLE a (x text DEFAULT ';'); ;\n INSERT INTO a VALUES ('y;z') ; "
    assert list(statements(script)) == ["CREATE TABLE a (x text DEFAULT ';');", "INSERT INTO a VALUES ('y;z') ;"]
