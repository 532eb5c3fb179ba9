"""What only PostgreSQL has: many connections at once, connections that break, settings of the server."""

from __future__ import annotations

import asyncio
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from petitbleu import Event, Queue, Unavailable
from petitbleu.batching import Batcher
from petitbleu.cli.local import LOCAL
from petitbleu.config import SAMPLE
from petitbleu.instance import open_instance
from petitbleu.lifecycle import SENT
from petitbleu.operating import Actor
from petitbleu.queue.queue import WorkQueue
from petitbleu.serving.app import running
from petitbleu.steps import AttemptRecord, Claimed, Step
from petitbleu.store import CommitUnknown, Store, StoreError, is_empty, open_store, pending_migrations
from petitbleu.store.payload import moment
from petitbleu.store.postgres import broken_off, credentials, keep_as_it_is
from postgres_server import postgres_cluster, quick_directory
from tortoise.exceptions import OperationalError

LEASE = 30.0
SLOW_COMMIT = """
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION dawdle()"""


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    async with open_store(postgres_url) as store:
        yield store


@pytest.fixture
def queue(store: Store) -> WorkQueue:
    return WorkQueue(store, cell=3, lease=LEASE)


@pytest.fixture
async def bystander(postgres_url: str) -> AsyncIterator[Any]:
    """A connection that has nothing to do with the store's."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def events(store: Store, count: int) -> list[Event]:
    event = Event(
        id=0,
        type="order_confirmation",
        queue=Queue.REALTIME,
        channel="email",
        data={"ctx": {"name": "Zoé"}},
        created=moment(store.now()),
        addresses={"email": "zoe@example.com"},
    )
    return [event] * count


def sent(claimed: Claimed, store: Store) -> Step:
    attempt = AttemptRecord(1, "email", "main", "t", store.now(), store.now(), "delivered", text="250 ok")
    return Step(claimed, SENT, "250 ok", "email", attempts=1, attempt=attempt, at=store.now())


async def count(connection: Any, table: str) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def cut(connection: Any, where: str = "true") -> int:
    """End the store's connections, as an administrator or a failing server does; gives how many."""
    return len(
        await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = current_database() AND pid <> pg_backend_pid() AND {where}"
        )
    )


@asynccontextmanager
async def dawdling(connection: Any, table: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Commits of rows of `table` last; gives what cuts off the next one in its midst and lets later ones pass."""
    await connection.execute(SLOW_COMMIT.format(table=table))

    async def interrupt() -> None:
        while not await cut(connection, "wait_event = 'PgSleep'"):
            await asyncio.sleep(0.01)
        await connection.execute("DROP FUNCTION dawdle CASCADE")

    yield interrupt


# ----------------------------------------------------------------------------------------------------- many at once


async def test_concurrent_claimers_never_overlap(postgres_url: str, store: Store, queue: WorkQueue) -> None:
    ids = await queue.put(events(store, 2000))
    owners: Counter[int] = Counter()
    busy = 0

    async def claim(queue: WorkQueue, most: int) -> None:
        nonlocal busy
        took = 0
        while claimed := await queue.claim(Queue.REALTIME, most):
            assert len(claimed) <= most
            owners.update(one.id for one in claimed)
            took += len(claimed)
        busy += took > 0

    async with open_store(postgres_url) as second:
        other = WorkQueue(second, cell=3, lease=LEASE)
        await asyncio.gather(*(claim((queue, other)[n % 2], 5 + n) for n in range(8)))
    assert owners == Counter(ids)
    assert busy > 1


async def test_a_store_opens_no_more_connections_than_its_address_allows(postgres_url: str, bystander: Any) -> None:
    async with open_store(f"{postgres_url}&maxsize=3&application_name=pool") as store:
        await asyncio.gather(*(store.read("SELECT pg_sleep(0.05)", []) for _ in range(12)))
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool'"
        assert await bystander.fetchval(query) == 3


# ---------------------------------------------------------------------------------------------- connections that break


async def test_reads_and_claims_survive_their_connections(store: Store, queue: WorkQueue, bystander: Any) -> None:
    ids = await queue.put(events(store, 3))
    await asyncio.gather(*(store.read("SELECT pg_sleep(0.05)", []) for _ in range(5)))
    assert await cut(bystander) >= 5
    assert await store.read("SELECT count(*) AS found FROM events", []) == [{"found": 3}]
    await cut(bystander)
    assert [one.id for one in await queue.claim(Queue.REALTIME, 9)] == ids
    await cut(bystander)
    assert len(await queue.put(events(store, 2))) == 2
    assert await count(bystander, "queue") == 5


async def test_a_statement_that_is_cut_off_is_repeated(store: Store, bystander: Any) -> None:
    reading = asyncio.create_task(store.read("SELECT 7 AS found FROM pg_sleep(1)", []))
    while not await cut(bystander, "wait_event = 'PgSleep'"):
        await asyncio.sleep(0.01)
    assert await reading == [{"found": 7}]


async def test_what_was_cut_off_before_its_commit_did_not_happen(store: Store, bystander: Any) -> None:
    tries = 0

    async def write() -> None:
        nonlocal tries
        tries += 1
        async with store.transaction() as transaction:
            await store.rows("insert_payloads", [{"id": tries, "body": "x"}], on=transaction)
            if tries == 1:
                await cut(bystander)
            await store.rows("insert_payloads", [{"id": 10 + tries, "body": "x"}], on=transaction)

    await store.again(write, twice=False)
    assert [row["id"] for row in await bystander.fetch("SELECT id FROM payloads ORDER BY id")] == [2, 12]


async def test_events_whose_commit_is_in_doubt_are_stored_once(store: Store, queue: WorkQueue, bystander: Any) -> None:
    async with dawdling(bystander, "payloads") as interrupt:
        calls = [asyncio.create_task(queue.put(events(store, 1))) for _ in range(3)]
        await interrupt()
        stored = [one for call in await asyncio.gather(*calls) for one in call]
    assert [row["id"] for row in await bystander.fetch("SELECT id FROM events ORDER BY id")] == stored
    assert [row["id"] for row in await bystander.fetch("SELECT id FROM queue ORDER BY id")] == stored


async def test_events_that_were_stored_though_nobody_heard_of_it_come_once(
    store: Store, queue: WorkQueue, bystander: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write
    lost: list[int] = []

    async def deaf(self: Store, *values: Any) -> Any:
        answer = await write(self, *values)
        if not lost:
            lost.append(1)
            raise CommitUnknown
        return answer

    monkeypatch.setattr(Store, "write", deaf)
    stored = await queue.put(events(store, 2))
    for table in ("events", "queue", "payloads"):
        assert [row["id"] for row in await bystander.fetch(f"SELECT id FROM {table} ORDER BY id")] == stored
    # and an outcome that was stored counts as stored
    (one, _) = await queue.claim(Queue.REALTIME, 2)
    lost.clear()
    assert await queue.record(sent(one, store))
    assert await count(bystander, "attempts") == 1


async def test_keyed_events_whose_commit_is_in_doubt_are_left_to_the_caller(store: Store, bystander: Any) -> None:
    queue = WorkQueue(store, 3, LEASE, {"order_confirmation": 60})
    keyed = [replace(events(store, 1)[0], external_id="A")]
    async with dawdling(bystander, "payloads") as interrupt:
        call = asyncio.create_task(queue.put(keyed))
        await interrupt()
        with pytest.raises(CommitUnknown):
            await call
    assert await count(bystander, "events") == 0
    assert len(await queue.put(keyed)) == 1


async def test_an_outcome_whose_commit_is_in_doubt_is_recorded_again(
    store: Store, queue: WorkQueue, bystander: Any
) -> None:
    await queue.put(events(store, 1))
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    async with dawdling(bystander, "attempts") as interrupt:
        recording = queue.record(sent(claimed, store))
        await interrupt()
        assert await recording
    assert (await count(bystander, "attempts"), await count(bystander, "queue")) == (1, 0)


async def test_a_database_that_stays_away_is_told_to_the_caller(store: Store) -> None:
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionRefusedError("Connect call failed")

    with pytest.raises(Unavailable, match="cannot be reached: ConnectionRefusedError: Connect call failed"):
        await store.again(fail)
    assert tries == 2
    with pytest.raises(Unavailable):
        await store.again(fail, patience=0.2)
    assert tries > 4


async def test_a_doubt_is_not_forgotten_when_the_next_try_does_not_even_begin(store: Store) -> None:
    """The first try may have stored it: that the database is down now does not undo it."""
    errors: list[Exception] = [CommitUnknown(), ConnectionRefusedError(), ConnectionRefusedError()]

    async def fail() -> None:
        raise errors.pop(0)

    with pytest.raises(CommitUnknown):
        await store.again(fail)
    errors += [ConnectionRefusedError(), ConnectionRefusedError()]
    with pytest.raises(Unavailable, match="cannot be reached"):
        await store.again(fail)


async def test_what_finds_no_room_is_tried_again_and_did_not_happen(store: Store) -> None:
    errors: list[Exception] = [
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.OutOfMemoryError("out of memory"),
    ]

    async def write() -> str:
        if errors:
            raise errors.pop(0)
        return "stored"

    assert await store.again(write, patience=5.0) == "stored"
    assert not any(broken_off(error) for error in (asyncpg.DiskFullError(""), asyncpg.OutOfMemoryError("")))


async def test_a_machines_clock_that_is_set_moves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.now()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert 0 <= store.now() - before < 60_000_000


async def test_an_error_that_is_no_lost_connection_is_not_retried(store: Store) -> None:
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await store.again(fail)
    assert tries == 1


async def test_unavailable_is_told_to_everyone_of_a_batch() -> None:
    writes = []

    async def write(items: list[int]) -> list[int]:
        writes.append(items)
        raise CommitUnknown

    batcher: Batcher[int, int] = Batcher(write)
    answers = await asyncio.gather(*(batcher.add(n) for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [CommitUnknown] * 3
    assert writes == [[0, 1, 2]]


# -------------------------------------------------------------------------------------------- durability, migrations


@pytest.mark.parametrize("value", ["off", "on"])
async def test_a_database_that_may_forget_is_refused(postgres_url: str, bystander: Any, value: str) -> None:
    name = await bystander.fetchval("SELECT current_database()")
    await bystander.execute(f"ALTER DATABASE {name} SET synchronous_commit = {value}")
    async with open_store(postgres_url) as store:
        if value == "on":
            await store.check_durability(relaxed=False)
            return
        with pytest.raises(StoreError, match=r"synchronous_commit=off.*durability: relaxed"):
            await store.check_durability(relaxed=False)
        await store.check_durability(relaxed=True)


@pytest.fixture
def forgetful() -> Iterator[str]:
    """The address of a server that confirms what it has not written down."""
    settings = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    with postgres_cluster(quick_directory(), settings) as cluster:
        yield cluster.server.url


async def test_nothing_is_served_on_a_server_that_may_forget_unless_it_says_so(forgetful: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "petitbleu", "serve", "--set", f"database={forgetful}", "--set", "http.port=0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode() == (
        "the database may lose acknowledged events (fsync=off, full_page_writes=off, synchronous_commit=off); "
        "correct it, or write `durability: relaxed` in the configuration to accept the loss\n"
    )
    async with open_store(forgetful) as store:
        assert await is_empty(store)
    async with running(SAMPLE, [f"database={forgetful}", "http.port=0", "durability=relaxed"]) as server:
        assert len(await server.instance.queue.put(events(server.instance.store, 1))) == 1


async def test_of_several_processes_one_migrates(empty_postgres_url: str) -> None:
    words = ["-m", "petitbleu", "migrate", "--set", f"database={empty_postgres_url}"]
    started = [
        await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE) for _ in range(2)
    ]
    told = sorted([(await one.communicate())[0].decode().strip() for one in started])
    assert [one.returncode for one in started] == [0, 0]
    assert told[0].startswith("applied 0001_initial")
    assert told[1] == "the tables are up to date"
    async with open_store(empty_postgres_url) as store:
        assert await pending_migrations(store) == []


async def test_a_server_does_with_a_login_that_may_only_read_and_write(postgres_url: str, bystander: Any) -> None:
    """The tables belong to another, who migrates; as docs/operators.md sets it up."""
    page = (Path(__file__).parent.parent / "docs" / "operators.md").read_text("utf-8")
    (granted,) = re.findall(r"^```sql\n(GRANT .*?)^```$", page, re.M | re.S)
    role = f"modest_{uuid.uuid4().hex[:8]}"
    await bystander.execute(f"CREATE ROLE {role} LOGIN")
    try:
        await bystander.execute(granted.replace("petitbleu_server", role).replace("petitbleu_owner", "postgres"))
        url = postgres_url.replace("postgres://postgres@", f"postgres://{role}@")
        async with open_instance(SAMPLE, [f"database={url}"]) as instance:
            await instance.queue.put(events(instance.store, 2))
            first, second = await instance.queue.claim(Queue.REALTIME, 2)
            await instance.queue.hand_off(first, "main")
            assert await instance.queue.record(sent(first, instance.store))
            await instance.queue.release([second])
            assert (await instance.operations.hold([second.id], Actor(LOCAL, "cli")))[0].ok
            assert await instance.purge.now() is not None
            assert await instance.horizon.checks() != []
            assert (await instance.auth.logon("mc", "demo", "127.0.0.1")).token
        with pytest.raises(OperationalError, match="permission denied"):
            async with open_store(url) as store:
                await store.connection.execute_script("CREATE TABLE more ()")
    finally:
        await bystander.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# ------------------------------------------------------------------------------------------------------- addresses


def test_an_address_says_how_to_connect() -> None:
    found = credentials("postgresql://u:p%40ss@db.example.com:6432/mail?maxsize=4&timeout=2.5&sslmode=verify-full")
    settings = found.pop("server_settings")
    assert found == {
        "host": "db.example.com",
        "port": 6432,
        "user": "u",
        "password": "p@ss",
        "database": "mail",
        "minsize": 1,
        "maxsize": 4,
        "timeout": 2.5,
        "command_timeout": 30.0,
        "application_name": "petitbleu",
        "reset": keep_as_it_is,
        "ssl": "verify-full",
    }
    assert settings == {"idle_in_transaction_session_timeout": "60000"}


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("u:secret@h/d?max_size=4", "unknown parameter max_size; there are: application_name, command_timeout"),
        ("u:secret@h/d?maxsize=many", "maxsize=many should be a number of connections"),
        ("u:secret@h/d?timeout=0", "timeout=0 should be seconds"),
        ("u:secret@h/d?sslmode=yes", "sslmode=yes should be disable, allow"),
        ("u:secret@h/d?minsize=5&maxsize=2", "contradict"),
        ("u:x?secret@h/d", "a [?] in the password is written %3F"),
        ("u:x?secret&y@h/d?timeout=5", "a [?] in the password is written %3F"),
        ("u:x?timeout=secret@h/d", "a [?] in the password is written %3F"),
        ("u:x@y?secret@h/d", "a [?] in the password is written %3F"),
        ("u:secret@h:99999/d", "should be postgres://"),
        ("u:secret@db..example.com/d", "db..example.com is no host"),
        ("u:secret@two words/d", "two words is no host"),
    ],
)
def test_what_is_wrong_with_an_address_is_told_without_its_password(address: str, text: str) -> None:
    with pytest.raises(StoreError, match=text) as refused:
        credentials(f"postgres://{address}")
    assert "secret" not in str(refused.value)


def test_a_parameter_may_hold_an_at_sign() -> None:
    assert credentials("postgres://u:p@h/d?application_name=mail@web1")["application_name"] == "mail@web1"


@pytest.mark.parametrize("address", ["u:p@/d?host=/run/postgresql", "u:p@h1,h2/d", "/d", "u@[::1]:5432/d", "h_1/d"])
def test_hosts_may_be_folders_and_several(address: str) -> None:
    assert credentials(f"postgres://{address}")["database"] == "d"


async def test_an_address_that_leads_nowhere_is_told_without_its_password(
    postgres_url: str, unused_tcp_port: int
) -> None:
    nowhere = f"postgres://u:secret@127.0.0.1:{unused_tcp_port}/d?timeout=2"
    base, _, query = postgres_url.rpartition("/")
    missing = f"{base}/no_such_database?{query.partition('?')[2]}"
    for url in (nowhere, missing):
        with pytest.raises(StoreError, match="cannot be opened") as refused:
            async with open_store(url):
                raise AssertionError("opened")
        assert "secret" not in str(refused.value)


# ------------------------------------------------------------------------------------------------------ all together


async def test_the_demo_runs_on_an_empty_database(empty_postgres_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "petitbleu", "demo", "--once", "--set", f"database={empty_postgres_url}"],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    for words in ("9 of 9 messages arrived and are right", "schemawsdl.jsp?schema=nms:rtEvent", "Votre commande"):
        assert words in told.decode()
    async with open_store(empty_postgres_url) as store:
        (row,) = await store.read("SELECT count(*) AS sent FROM events WHERE status = ?", ["sent"])
    assert row["sent"] > 0
