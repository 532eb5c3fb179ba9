"""What is over is deleted, what is not stays; on a real database, with workers and operators in between."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from petitbleu.cli import main
from petitbleu.config import SAMPLE
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.instance import open_instance
from petitbleu.metrics import Metrics
from petitbleu.operating import Actor
from petitbleu.operations.operations import Operations
from petitbleu.queue.queue import WorkQueue
from petitbleu.retention import LEASE, Busy, Pace, Periods, Purge, merged
from petitbleu.serving.app import running
from petitbleu.store import Store, open_store
from petitbleu.types import Operator

DAY = 86_400 * 1_000_000
MONTH = Periods(30 * DAY, 30 * DAY, 30 * DAY)
TABLES = ("events", "payloads", "attempts")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


async def no_pause(seconds: float) -> None:
    pass


def purge(store: Store, periods: dict[str, Periods] | None = None, holder: str = "a", **changes: Any) -> Purge:
    words: dict[str, Any] = {
        "others": MONTH,
        "sessions": DAY,
        "every": 3600.0,
        "pace": Pace(7, 0.5),
        "metrics": Metrics(),
        "sleep": no_pause,
        "soft_errors": DAY,
        "audit": 365 * DAY,
        "outbox": 7 * DAY,
        "statistics": 360 * DAY,
    }
    return Purge(store, periods or {}, holder=holder, **{**words, **changes})


async def add(
    store: Store, first: int, count: int, days: float, ended: float | None, event_type: str = "order"
) -> None:
    """Events that came and ended so many days ago, each with its payload and two attempts; open ones are queued."""
    now = store.now()
    created, processed = now - int(days * DAY), "NULL" if ended is None else str(now - int(ended * DAY))
    for number in range(first, first + count):
        status = "pending" if ended is None else "sent"
        statements = [
            "INSERT INTO events (id, type, lane, channel, status, created, processed) "
            f"VALUES ({number}, '{event_type}', 0, 'email', '{status}', {created + number}, {processed})",
            f"INSERT INTO payloads (id, body) VALUES ({number}, '{{}}')",
        ]
        statements += [
            "INSERT INTO attempts (event, number, channel, started, ended, outcome) "
            f"VALUES ({number}, {attempt}, 'email', 0, 0, 'failed')"
            for attempt in (1, 2)
        ]
        if ended is None:
            statements.append(
                "INSERT INTO queue (id, lane, priority, due, type, channel) "
                f"VALUES ({number}, 0, 5, {created}, '{event_type}', 'email')"
            )
        for statement in statements:
            await store.connection.execute_query(statement)


async def ids(store: Store) -> dict[str, list[int]]:
    column = {"events": "id", "payloads": "id", "attempts": "event"}
    return {
        table: [
            row["id"] for row in await store.read(f"SELECT DISTINCT {column[table]} AS id FROM {table} ORDER BY 1", [])
        ]
        for table in TABLES
    }


# ------------------------------------------------------------------------------------------------------ what goes


async def test_ended_events_go_with_all_that_is_theirs_and_open_ones_stay(store: Store) -> None:
    await add(store, 1, 20, days=31, ended=30.5)
    await add(store, 21, 5, days=31, ended=29.5)
    await add(store, 26, 5, days=400, ended=None)
    await add(store, 31, 5, days=1, ended=1)
    one = purge(store)
    expected = Counter(events=20, payloads=20, attempts=40)
    assert +await one.rehearse() == expected
    assert (await ids(store))["events"] == list(range(1, 36))
    assert await one.now() == expected
    kept = list(range(21, 36))
    assert await ids(store) == {"events": kept, "payloads": kept, "attempts": kept}
    assert await one.now() == Counter()


async def test_each_part_has_its_time_and_each_type_its_own(store: Store) -> None:
    await add(store, 1, 3, days=10, ended=10)
    await add(store, 4, 3, days=10, ended=10, event_type="statement")
    await add(store, 7, 3, days=10, ended=10, event_type="reset")
    periods = {
        "statement": Periods(30 * DAY, 5 * DAY, 20 * DAY),
        # what an event has goes with it, however long it might be kept
        "reset": Periods(9 * DAY, 99 * DAY, 99 * DAY),
    }
    removed = await purge(store, periods, others=Periods(30 * DAY, 30 * DAY, 5 * DAY)).now()
    assert removed == Counter(events=3, payloads=6, attempts=12)
    assert await ids(store) == {"events": [1, 2, 3, 4, 5, 6], "payloads": [1, 2, 3], "attempts": [4, 5, 6]}


async def test_many_of_one_microsecond_are_all_seen(store: Store) -> None:
    await add(store, 1, 40, days=31, ended=31)
    await store.connection.execute_script("UPDATE events SET created = (SELECT min(created) FROM events)")
    assert (await purge(store).now())["events"] == 40


async def test_sessions_and_keys_go_after_their_time(store: Store) -> None:
    now = store.now()
    for number in range(20):
        expires = now - (DAY + 1_000_000 if number < 15 else DAY - 60_000_000)
        await store.connection.execute_script(
            "INSERT INTO sessions (token_hash, security_hash, login, created, expires) "
            f"VALUES ('{number}', '', 'mc', 0, {expires}); "
            "INSERT INTO idempotency (key, event, digest, until) "
            f"VALUES ('{number}', 1, '', {now + (60_000_000 if number < 4 else -1_000_000)})"
        )
    expected = Counter(sessions=15, idempotency=16)
    assert +await purge(store).rehearse() == expected
    assert await purge(store).now() == expected
    left = await store.read("SELECT token_hash FROM sessions ORDER BY token_hash", [])
    assert [row["token_hash"] for row in left] == ["15", "16", "17", "18", "19"]


# ---------------------------------------------------------------------------------------------------- when it goes


async def test_walks_between_sweeps_see_what_has_become_due(store: Store) -> None:
    read: list[tuple[Any, ...]] = []
    one = purge(store, others=Periods(30 * DAY, 10 * DAY, 20 * DAY), every=1.0)
    rows = store.rows

    async def noted(query: str, *values: Any, **words: Any) -> Any:
        if query == "old_events":
            read.append(values)
        return await rows(query, *values, **words)

    await add(store, 1, 5, days=9.9, ended=9.9)
    await add(store, 6, 5, days=29.9, ended=29.9)
    store.rows = noted  # type: ignore[method-assign]
    assert await one.turn() == Counter(payloads=5, attempts=10)
    assert read[0][0] == 0
    read.clear()
    assert await one.turn() is None
    await store.shift_clock(0.2 * 86_400)
    assert await one.turn() == Counter(events=5, payloads=5)
    # three short stretches of time, none of them from the beginning
    starts = [start for start, _, last, _, _ in read if last == -1]
    assert len(starts) == 3
    assert min(starts) > store.now() - 31 * DAY
    assert await ids(store) == {"events": [1, 2, 3, 4, 5], "payloads": [], "attempts": [1, 2, 3, 4, 5]}


async def test_what_ended_long_after_it_came_goes_with_the_next_sweep(store: Store) -> None:
    one = purge(store, every=1.0)
    await add(store, 1, 5, days=60, ended=29.9)
    assert await one.turn() == Counter()
    await store.shift_clock(0.2 * 86_400)
    assert await one.turn() == Counter()
    await store.shift_clock(1.1 * 86_400)
    assert await one.turn() == Counter(events=5, payloads=5, attempts=10)


async def test_shorter_times_hold_at_once(store: Store) -> None:
    await add(store, 1, 5, days=20, ended=20)
    assert await purge(store, every=1.0).turn() == Counter()
    await store.shift_clock(2)
    assert await purge(store, every=1.0, others=Periods(DAY, DAY, DAY)).turn() == Counter(
        events=5, payloads=5, attempts=10
    )


# --------------------------------------------------------------------------------------------------- with others


async def test_one_at_a_time_and_the_next_goes_on_where_it_died(store: Store) -> None:
    await add(store, 1, 30, days=31, ended=31)

    async def die(seconds: float) -> None:
        raise asyncio.CancelledError

    dying = purge(store, holder="dead", sleep=die)
    # as a process that is killed: nobody gives the chore back
    dying._store.rows = _without(store, "leave_chore")  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await dying.now()
    assert len((await ids(store))["events"]) == 23
    del dying._store.rows
    other = purge(store, holder="other")
    assert await other.turn() is None
    with pytest.raises(Busy, match="dead is at it already"):
        await other.now()
    await store.shift_clock(LEASE + 1)
    assert await other.turn() == Counter(events=23, payloads=23, attempts=46)


def _without(store: Store, left_out: str) -> Callable[..., Any]:
    rows = store.rows

    async def most(query: str, *values: Any, **words: Any) -> Sequence[Mapping[str, Any]]:
        return [] if query == left_out else await rows(query, *values, **words)

    return most


async def test_who_lost_its_turn_stops(store: Store) -> None:
    await add(store, 1, 30, days=31, ended=31)
    seconds = 0.0

    async def stand_still(_: float) -> None:
        nonlocal seconds
        seconds += LEASE + 1
        await store.shift_clock(LEASE + 1)

    slow = purge(store, sleep=stand_still, clock=lambda: seconds)
    with pytest.raises(Busy, match="taken over"):
        await slow.now()
    assert len((await ids(store))["events"]) == 23


async def test_it_takes_its_share_of_the_time(store: Store) -> None:
    await add(store, 1, 21, days=31, ended=31)
    now = 0.0
    pauses: list[float] = []

    def clock() -> float:
        nonlocal now
        now += 0.5
        return now

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    await purge(store, pace=Pace(7, 0.1), clock=clock, sleep=sleep).now()
    assert pauses[0] == pytest.approx(4.5)
    assert len(pauses) >= 4
    pauses.clear()
    await purge(store, pace=Pace(7, 0.1), clock=clock, sleep=sleep).now(pauses=False)
    assert set(pauses) == {0.0}


async def test_what_is_put_back_while_it_walks_stays_whole(store: Store) -> None:
    await add(store, 1, 5, days=31, ended=31)
    await store.connection.execute_script("UPDATE events SET status = 'failed'")
    body = (
        '{"type":"order","queue":"realtime","channel":"email","data":{},"created":0,"addresses":{},"language":"",'
        '"country":"","externalId":"","origin":"","priority":5,"scheduled":null,"expiration":null}'
    )
    await store.connection.execute_query(f"UPDATE payloads SET body = '{body}'")
    calls, lifetime = Calls(load([], []), 1.0), timedelta(hours=48)
    operations = Operations(store, WorkQueue(store, 1, 30.0), calls, 0, {}, lifetime, 100, store.now, time.monotonic)
    one = purge(store)
    delete = one._delete

    async def after_a_retry(*words: Any) -> Any:
        (done,) = await operations.retry([3], Actor(Operator("ann", frozenset({"admin"})), "cli"))
        assert done.ok
        return await delete(*words)

    one._delete = after_a_retry  # type: ignore[method-assign,assignment]
    assert (await one.now())["events"] == 4
    assert await ids(store) == {"events": [3], "payloads": [3], "attempts": [3]}


async def test_nothing_without_its_payload_is_put_back(store: Store) -> None:
    """The other way round: the payload goes between an operator's look and the change."""
    await add(store, 1, 2, days=31, ended=31)
    reopen = [{"id": one, "status": "sent", "channel": "email", "due": 0} for one in (1, 2)]
    await store.connection.execute_script("DELETE FROM payloads WHERE id = 1")
    async with store.transaction() as transaction:
        assert [row["id"] for row in await store.rows("reopen", "x", reopen, on=transaction)] == [2]


async def test_putting_back_waits_for_a_purge_and_then_finds_nothing(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        await add(store, 1, 1, days=31, ended=31)
        (row,) = await store.read("SELECT id, processed FROM events", [])

        async def put_back() -> Sequence[Mapping[str, Any]]:
            async with store.transaction() as transaction:
                await store.rows("lock_events", [{"id": 1}], on=transaction)
                rows = [{"id": 1, "status": "sent", "channel": "email", "due": 0}]
                return await store.rows("reopen", "x", rows, on=transaction)

        purging = await asyncpg.connect(postgres_url)
        async with purging.transaction():
            assert await purging.fetch(store.queries["lock_ended"], row["processed"], [1])
            putting_back = asyncio.create_task(put_back())
            while not await purging.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            await purging.execute(store.queries["purge_payloads"], [1])
        await purging.close()
        assert await putting_back == []


# ------------------------------------------------------------------------------------------------- how it finds it


async def test_everything_is_found_by_an_index(store: Store) -> None:
    if store.dialect == "postgres":
        await store.connection.execute_script(
            "INSERT INTO events (id, type, lane, channel, status, created, processed) "
            "SELECT n, 't', 0, 'email', 'sent', n, n FROM generate_series(1, 30000) AS n; "
            "INSERT INTO payloads (id, body) SELECT n, '{}' FROM generate_series(1, 30000) AS n; "
            "INSERT INTO attempts (event, number, channel, started, ended, outcome) "
            "SELECT n, 1, 'email', 0, 0, 'sent' FROM generate_series(1, 30000) AS n; "
            "INSERT INTO sessions (token_hash, security_hash, login, created, expires) "
            "SELECT n, '', 'mc', 0, extract(epoch FROM now()) * 1e6 + n * 1e6 FROM generate_series(1, 30000) AS n; "
            "INSERT INTO idempotency (key, event, digest, until) "
            "SELECT n, n, '', extract(epoch FROM now()) * 1e6 + n * 1e6 FROM generate_series(1, 30000) AS n; ANALYZE"
        )
    rows = [{"id": 1}]
    statements: dict[str, list[Any]] = {
        "old_events": [100, 100, 5, 20000, 500],
        "lock_ended": [1, rows],
        "purge_events": [rows],
        "purge_payloads": [rows],
        "purge_attempts": [rows],
        "purge_sessions": [DAY, 500],
        "purge_keys": [500],
    }
    for name, values in statements.items():
        explain = "EXPLAIN QUERY PLAN " if store.dialect == "sqlite" else "EXPLAIN "
        statement, parameters = store.queries.bind(name, values)
        plan = await store.connection.execute_query_dict(explain + statement, parameters)
        text = "\n".join(str(row.get("detail") or row.get("QUERY PLAN")) for row in plan)
        # the order alone is no search: it would read on through all that is not over
        assert not re.search(r"Filter: \((expires|until)", text), text
        for table in (*TABLES, "sessions", "idempotency"):
            assert f"Seq Scan on {table}" not in text, f"{name}:\n{text}"
            assert f"SCAN {table}" not in text, f"{name}:\n{text}"


def test_times_are_joined_where_they_meet() -> None:
    assert merged([(5, 9), (0, 2), (1, 3), (9, 10)]) == [(0, 3), (5, 10)]


# ---------------------------------------------------------------------------------------------------- as configured


def test_an_operator_purges_at_a_word(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def fill() -> None:
        async with open_store(sqlite_url) as store:
            await add(store, 1, 3, days=8, ended=8, event_type="password_reset")
            await add(store, 4, 3, days=8, ended=8, event_type="account_statement")

    asyncio.run(fill())
    settings = ["--set", f"database={sqlite_url}", "--set", "event_types.password_reset.retention.events=7d"]
    assert main(["purge", "--dry-run", *settings]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["TABLE         WOULD GO", "events        3"]
    assert main(["purge", "--at-once", "--json", *settings]) == 0
    removed = {"events": 3, "payloads": 3, "attempts": 6, "sessions": 0, "idempotency": 0}
    removed |= {"suppressions": 0, "soft_errors": 0, "audit": 0, "outbox": 0, "statistics": 0}
    removed |= {"rendered": 0, "archive": 0}
    assert json.loads(capsys.readouterr().out) == {"removed": removed, "dry_run": False}


async def test_a_server_purges_by_itself(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        await add(store, 1, 3, days=40, ended=40)
    settings = [f"database={sqlite_url}", "http.port=0", "retention.every=0.05s"]
    async with running(SAMPLE, settings) as server:
        for _ in range(100):
            if await server.instance.purge.age() < 60:
                break
            await asyncio.sleep(0.05)
        assert (await ids(server.instance.store))["events"] == []
    async with open_instance(SAMPLE, settings) as instance:
        assert await instance.purge.age() < 60
