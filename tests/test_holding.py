"""Events are held and released, by operators and when a database comes back from the past; on real databases."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from petitbleu import AccessDenied, Event, Operator, Queue
from petitbleu.cli import main
from petitbleu.config import SAMPLE
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.instance import open_instance
from petitbleu.lifecycle import EXPIRED, IGNORED, PAUSED, PENDING, SENT
from petitbleu.operating import Actor, Done
from petitbleu.operations.operations import MEANWHILE, Operations
from petitbleu.queue.queue import WorkQueue
from petitbleu.steps import Step
from petitbleu.store import Store, is_empty, open_store
from petitbleu.store.epoch import HELD, guard
from petitbleu.store.payload import moment
from postgres_server import PostgresServer

ANN = Actor(Operator("ann", frozenset({"admin"})), "cli")
LEASE = 30.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def queue(store: Store) -> WorkQueue:
    return WorkQueue(store, 3, LEASE)


@pytest.fixture
def operations(store: Store) -> Operations:
    calls = Calls(load([], []), 1.0)
    return Operations(
        store, WorkQueue(store, 3, LEASE), calls, 3, {}, timedelta(hours=48), 100, store.now, time.monotonic
    )


def event(store: Store, **changes: Any) -> Event:
    made = Event(
        id=0,
        type="order",
        queue=Queue.BATCH,
        channel="email",
        data={"ctx": {}},
        created=moment(store.now()),
        addresses={"email": "zoe@example.com"},
    )
    return replace(made, **changes)


async def states(store: Store) -> dict[int, int]:
    return {row["id"]: row["state"] for row in await store.read("SELECT id, state FROM queue", [])}


async def reason(store: Store, event_id: int) -> str:
    return str((await store.read("SELECT reason FROM events WHERE id = ?", [event_id]))[0]["reason"])


# ----------------------------------------------------------------------------------------------------- by operators


async def test_what_is_held_is_not_claimed_until_it_is_released(
    store: Store, queue: WorkQueue, operations: Operations
) -> None:
    soon = moment(store.now()) + timedelta(minutes=1)
    now, later = await queue.put([event(store), event(store, scheduled=soon)])
    held = await operations.hold([now, later], ANN, reason="the shop is down")
    assert held == [Done(now, True, "is held"), Done(later, True, "is held")]
    assert await reason(store, now) == "held by ann: the shop is down"
    assert await operations.hold([now], ANN) == [Done(now, False, "is paused already")]
    assert await operations.retry([now], ANN) == [Done(now, False, "is paused; release it")]
    await store.shift_clock(30)
    assert await queue.promote() is None
    assert await queue.claim(Queue.BATCH, 9) == []
    first, second = await operations.release([now, later], ANN)
    assert first == Done(now, True, "is released")
    assert second.text.startswith("is released, and sent at ")
    assert await reason(store, now) == "released by ann"
    assert [one.id for one in await queue.claim(Queue.BATCH, 9)] == [now]
    await store.shift_clock(61)
    await queue.promote()
    assert [one.id for one in await queue.claim(Queue.BATCH, 9)] == [later]


async def test_what_is_over_while_it_is_held_is_told(store: Store, queue: WorkQueue, operations: Operations) -> None:
    (event_id,) = await queue.put([event(store, expiration=moment(store.now()) + timedelta(hours=1))])
    await operations.hold([event_id], ANN)
    await store.shift_clock(3601)
    (answer,) = await operations.release([event_id], ANN)
    assert answer.ok
    assert answer.text.startswith("is released, and ends expired, since ")
    (claimed,) = await queue.claim(Queue.BATCH, 1)
    assert await queue.record(Step(claimed, EXPIRED, "late", "email", at=store.now()))


async def test_what_a_worker_has_and_what_has_ended_is_left_alone(
    store: Store, queue: WorkQueue, operations: Operations
) -> None:
    (event_id,) = await queue.put([event(store)])
    (claimed,) = await queue.claim(Queue.BATCH, 1)
    assert await operations.hold([event_id], ANN) == [Done(event_id, False, "is being sent")]
    assert await operations.release([event_id], ANN) == [Done(event_id, False, "is being sent, not paused")]
    assert await queue.record(Step(claimed, SENT, "250", "email", at=store.now()))
    assert await operations.hold([event_id], ANN) == [Done(event_id, False, "is sent already")]
    assert await operations.release([event_id], ANN) == [Done(event_id, False, "is sent, not paused")]
    with pytest.raises(AccessDenied):
        await operations.hold([event_id], Actor(Operator("bob", frozenset({"push", "read", "publish"})), "cli"))


async def test_a_held_event_can_be_cancelled(store: Store, queue: WorkQueue, operations: Operations) -> None:
    (event_id,) = await queue.put([event(store)])
    await operations.hold([event_id], ANN)
    assert await operations.cancel([event_id], ANN) == [Done(event_id, True, "is cancelled")]
    rows = await store.read("SELECT status FROM events", [])
    assert rows == [{"status": IGNORED}]


async def test_hold_against_claim_one_of_them_has_it(store: Store, queue: WorkQueue, operations: Operations) -> None:
    ids = await queue.put([event(store) for _ in range(60)])
    claiming = asyncio.gather(*(queue.claim(Queue.BATCH, 5) for _ in range(6)))
    answers, claims = await asyncio.gather(operations.hold(ids, ANN), claiming)
    held = {one.id for one in answers if one.ok}
    claimed = {one.id for batch in claims for one in batch}
    assert not held & claimed
    found = await states(store)
    assert {one for one, state in found.items() if state == 3} == held
    assert {one for one, state in found.items() if state == 2} == claimed
    assert {one.text for one in answers if not one.ok} <= {"is being sent", MEANWHILE}


async def test_two_operators_release_it_once(store: Store, queue: WorkQueue, operations: Operations) -> None:
    ids = await queue.put([event(store) for _ in range(5)])
    await operations.hold(ids, ANN)
    both = await asyncio.gather(*(operations.release(ids, ANN) for _ in range(3)))
    for place in range(5):
        assert sum(answer[place].ok for answer in both) == 1


async def test_a_rehearsal_changes_nothing(store: Store, queue: WorkQueue, operations: Operations) -> None:
    ids = await queue.put([event(store)])
    assert await operations.hold(ids, ANN, rehearsal=True) == [Done(ids[0], True, "is held")]
    assert set((await states(store)).values()) == {1}
    await operations.hold(ids, ANN)
    assert await operations.release(ids, ANN, rehearsal=True) == [Done(ids[0], True, "is released")]
    assert set((await states(store)).values()) == {3}


def test_after_a_restore_everything_open_is_held_at_a_word(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def put() -> list[int]:
        async with open_store(sqlite_url) as store:
            return await WorkQueue(store, 1, LEASE).put([event(store, type="password_reset") for _ in range(3)])

    ids = asyncio.run(put())
    settings = ["--set", f"database={sqlite_url}"]

    def run(*words: str) -> list[str]:
        assert main([*words, *settings]) == 0
        return capsys.readouterr().out.splitlines()

    assert run("events", "hold", "--all-open", "--dry-run")[-1] == "hold: 3 of 3; nothing is changed (--dry-run)"
    assert run("events", "hold", "--all-open", "--created-before", "2020-01-01T00:00Z", "--yes") == ["hold: 0 of 0"]
    words = ("--all-open", "--created-before", "2999-01-01T00:00Z", "--yes", "--by", "ann", "--reason", "restored")
    assert run("events", "hold", *words)[-1] == "hold: 3 of 3"
    listed = json.loads("\n".join(run("events", "list", "--status", PAUSED, "--json")))
    assert {(one["id"], one["status"], one["reason"]) for one in listed} == {
        (one, PAUSED, "held by ann: restored") for one in ids
    }
    assert run("events", "release", str(ids[0]))[-1] == "release: 1 of 1"
    assert run("events", "release", "--status", PAUSED, "--yes")[-1] == "release: 2 of 2"
    assert len(json.loads("\n".join(run("events", "list", "--status", PENDING, "--json")))) == 3


# ------------------------------------------------------------------------------------------ databases from the past


async def filled(url: str) -> tuple[int, int, int, int]:
    """A ready event, a waiting one, one whose worker is gone and one whose worker works; the epoch is known."""
    async with open_store(url, guard=guard(hold=True)) as store:
        queue = WorkQueue(store, 1, LEASE)
        dead, alive = await queue.put([event(store), event(store)])
        await queue.claim(Queue.BATCH, 2)
        await store.connection.execute_script(f"UPDATE queue SET leased_until = 5 WHERE id = {dead}")
        later = moment(store.now()) + timedelta(hours=1)
        ready, waiting = await queue.put([event(store), event(store, scheduled=later)])
        return ready, waiting, dead, alive


async def forget(url: str) -> None:
    """As after a restore or a fail-over: what the row says is not what is so."""
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE installation SET value = '1/00000001/1/1' WHERE name = 'epoch'")
    await connection.close()


async def test_what_was_open_in_a_database_from_the_past_is_held(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ready, waiting, dead, alive = await filled(postgres_url)
    async with open_store(postgres_url, guard=guard(hold=True)) as store:
        assert await states(store) == {ready: 1, waiting: 0, dead: 2, alive: 2}
    await forget(postgres_url)
    async with open_store(postgres_url, guard=guard(hold=True)) as store:
        queue = WorkQueue(store, 1, LEASE)
        assert await states(store) == {ready: 3, waiting: 3, dead: 3, alive: 2}
        assert await queue.rescue() == 0
        assert await queue.claim(Queue.BATCH, 9) == []
        assert await reason(store, dead) == HELD
        # what comes from now on goes its way
        (new,) = await queue.put([event(store)])
        assert [one.id for one in await queue.claim(Queue.BATCH, 9)] == [new]
        # and has no id that was given out between the backup and the restore
        assert new - ready > 1_000_000_000
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "was restored, copied or failed over (was 1/00000001/1/1, is " in warning
    assert "holding 3 open events" in warning
    async with open_store(postgres_url, guard=guard(hold=True)) as store:
        assert (await states(store))[ready] == 3
        assert len(caplog.records) == 1


async def test_a_copy_of_a_database_sends_nothing_by_itself(
    postgres: PostgresServer, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Copied by the server itself, so with everything that is in it."""
    ready, *_ = await filled(postgres_url)
    copy = f"petitbleu_copy_{uuid.uuid4().hex[:8]}"
    original = postgres_url.partition("?")[0].rpartition("/")[2]
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute(f"CREATE DATABASE {copy} TEMPLATE {original}")
        async with open_instance(SAMPLE, [f"database={postgres.database(copy)}"]) as instance:
            assert (await states(instance.store))[ready] == 3
    finally:
        await connection.execute(f"DROP DATABASE {copy} WITH (FORCE)")
        await connection.close()
    async with open_instance(SAMPLE, [f"database={postgres_url}"]) as instance:
        assert (await states(instance.store))[ready] == 1
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_whoever_loses_nothing_by_a_fail_over_goes_on(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ready, *_ = await filled(postgres_url)
    await forget(postgres_url)
    settings = [f"database={postgres_url}", "delivery.hold_after_restore=false"]
    async with open_instance(SAMPLE, settings) as instance:
        assert (await states(instance.store))[ready] == 1
    assert "its open events are sent (delivery.hold_after_restore is off)" in caplog.text
    # it is known now, also to those who would hold
    async with open_store(postgres_url, guard=guard(hold=True)) as store:
        assert (await states(store))[ready] == 1


async def test_processes_that_live_on_hold_before_they_claim(postgres_url: str) -> None:
    """A fail-over takes their connections; the first new one, of whichever process, sees another database."""
    async with open_store(postgres_url, guard=guard(hold=True)) as store:
        queue = WorkQueue(store, 1, LEASE)
        ids = await queue.put([event(store) for _ in range(500)])
        await forget(postgres_url)
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await connection.close()
        claims = await asyncio.gather(*(queue.claim(Queue.BATCH, 50) for _ in range(10)))
        assert claims == [[]] * 10
        assert await states(store) == dict.fromkeys(ids, 3)


async def test_an_older_database_is_left_alone(empty_postgres_url: str) -> None:
    async with open_store(empty_postgres_url, guard=guard(hold=True)) as store:
        assert await is_empty(store)


async def test_a_login_that_may_not_ask_works_all_the_same(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    connection = await asyncpg.connect(postgres_url)
    role = f"modest_{uuid.uuid4().hex[:8]}"
    await connection.execute(
        f"CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; "
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}; "
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
    )
    base, _, rest = postgres_url.partition("://postgres@")
    try:
        async with open_store(f"{base}://{role}@{rest}", guard=guard(hold=True)) as store:
            assert len(await WorkQueue(store, 1, LEASE).put([event(store)])) == 1
        assert "cannot be told" in caplog.text
        await connection.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
        caplog.clear()
        async with open_store(f"{base}://{role}@{rest}", guard=guard(hold=True)) as store:
            assert (await store.read("SELECT value FROM installation WHERE name = 'epoch'", []))[0]["value"]
        assert caplog.text == ""
    finally:
        await connection.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()
