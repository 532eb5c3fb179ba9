"""Processes wake each other over a real PostgreSQL, and find their work without it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from petitbleu import Event, Queue
from petitbleu.config import SAMPLE
from petitbleu.metrics import Metrics
from petitbleu.queue.wakeup import CHANNEL, Rhythm, Wakeup
from petitbleu.serving.app import Server, running
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment

QUICK = Rhythm(ping=0.2, patience=0.3, first=0.05, longest=0.1)


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    async with open_store(postgres_url) as store:
        yield store


@pytest.fixture
async def bystander(postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@asynccontextmanager
async def live(wakeup: Wakeup, heard: Callable[[], None] | None = None) -> AsyncIterator[None]:
    task = asyncio.create_task(wakeup.run(heard))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


async def cut(connection: Any) -> int:
    """End the connections that listen."""
    return len(
        await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            f"AND pid <> pg_backend_pid() AND query IN ('LISTEN {CHANNEL}', 'LISTEN \"{CHANNEL}\"', 'SELECT 1', "
            f"'NOTIFY {CHANNEL}')"
        )
    )


# ----------------------------------------------------------------------------------------------------- announcements


async def test_one_is_heard_by_others_at_once_and_not_by_oneself(store: Store) -> None:
    here: list[float] = []
    there: list[float] = []
    mine, theirs = Wakeup(store.listener, Metrics(), QUICK), Wakeup(store.listener, Metrics(), QUICK)
    async with live(mine, lambda: here.append(time.monotonic())), live(theirs, lambda: there.append(time.monotonic())):
        # the first is for what was missed before it listened
        await until(lambda: len(here) == len(there) == 1)
        await asyncio.sleep(0.3)
        said = time.monotonic()
        mine.announce()
        await until(lambda: len(there) == 2)
        assert there[1] - said < 0.5
        await asyncio.sleep(0.2)
        assert len(here) == 1


async def test_many_are_few(store: Store, bystander: Any) -> None:
    heard: list[float] = []
    await bystander.add_listener(CHANNEL, lambda *_: heard.append(time.monotonic()))
    wakeup = Wakeup(store.listener, Metrics())
    async with live(wakeup):
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            wakeup.announce()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)
    # ten a second at most, and the last one after the last announcement
    assert 3 <= len(heard) <= 12
    assert heard[-1] >= began + 0.9
    await bystander.remove_listener(CHANNEL, lambda *_: None)


async def test_it_takes_no_place_in_the_pool(postgres_url: str) -> None:
    async with open_store(f"{postgres_url}&maxsize=1") as store:
        heard: list[int] = []
        async with live(Wakeup(store.listener, Metrics(), QUICK), lambda: heard.append(1)):
            await until(lambda: len(heard) == 1)
            async with asyncio.timeout(2), store.transaction() as transaction:
                await store.rows("depth", on=transaction)


# ------------------------------------------------------------------------------------------------ connections that end


async def test_an_ended_connection_is_made_anew(store: Store, bystander: Any) -> None:
    heard: list[int] = []
    wakeup = Wakeup(store.listener, Metrics(), QUICK)
    async with live(wakeup, lambda: heard.append(1)):
        await until(lambda: len(heard) == 1)
        assert await cut(bystander) == 1
        # it may have missed something
        await until(lambda: len(heard) == 2)
        await bystander.execute(f"NOTIFY {CHANNEL}")
        await until(lambda: len(heard) == 3)


class Proxy:
    """Passes bytes on to the server's socket, until it is told to swallow them."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._writers: list[asyncio.StreamWriter] = []
        self.passing = True
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket)
        self._writers += [writer, inner_writer]
        await asyncio.gather(self._pump(reader, inner_writer), self._pump(inner_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.passing:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


async def test_a_connection_that_is_silently_dropped_is_made_anew(postgres_url: str, bystander: Any) -> None:
    parts = urlsplit(postgres_url)
    folder = parse_qs(parts.query)["host"][0]
    proxy = Proxy(f"{folder}/.s.PGSQL.5432")
    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def connect() -> Any:
        return await asyncpg.connect(f"postgres://postgres@127.0.0.1:{port}{parts.path}", timeout=1.0, ssl=False)

    heard: list[int] = []
    async with live(Wakeup(connect, Metrics(), QUICK), lambda: heard.append(1)):
        await until(lambda: len(heard) == 1)
        proxy.passing = False
        await bystander.execute(f"NOTIFY {CHANNEL}")
        await asyncio.sleep(0.1)
        assert len(heard) == 1
        await until(lambda: proxy.connections > 1)
        proxy.passing = True
        await until(lambda: len(heard) == 2)
        await bystander.execute(f"NOTIFY {CHANNEL}")
        await until(lambda: len(heard) == 3)
    server.close()
    proxy.close()
    await server.wait_closed()


async def test_a_server_that_stays_away_is_asked_ever_less_often() -> None:
    tries: list[float] = []

    async def connect() -> Any:
        tries.append(time.monotonic())
        raise ConnectionRefusedError

    wakeup = Wakeup(connect, Metrics(), Rhythm(first=0.02, longest=0.16), jitter=lambda: 1.0)
    async with live(wakeup):
        wakeup.announce()
        await until(lambda: len(tries) == 7)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    for pause, least in zip(pauses, (0.02, 0.04, 0.08, 0.16, 0.16, 0.16), strict=True):
        assert least <= pause < least + 0.15


# ------------------------------------------------------------------------------------------------------ all together


@asynccontextmanager
async def two(url: str, poll: str, *more: str) -> AsyncIterator[tuple[Server, Server]]:
    """One process that takes events and one that sends them."""
    settings = [f"database={url}", "http.port=0", f"delivery.poll={poll}", *more]
    async with (
        running(SAMPLE, settings, role="worker") as worker,
        running(SAMPLE, settings, role="intake") as intake,
    ):
        yield intake, worker


async def put(server: Server) -> int:
    store = server.instance.store
    event = Event(0, "password_reset", Queue.REALTIME, "email", {}, moment(store.now()), {"email": "a@example.com"})
    (event_id,) = await server.instance.queue.put([event])
    return event_id


async def handled(connection: Any, event_id: int, seconds: float) -> float:
    """How long it took until a worker had dealt with the event: without a template it ends at once."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while await connection.fetchval("SELECT processed FROM events WHERE id = $1", event_id) is None:
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def listening(connection: Any) -> None:
    async with asyncio.timeout(5):
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%{CHANNEL}%'"
        while await connection.fetchval(query + " AND pid <> pg_backend_pid()") == 0:
            await asyncio.sleep(0.02)


async def test_a_worker_begins_at_once_with_what_another_process_took(postgres_url: str, bystander: Any) -> None:
    async with two(postgres_url, "60s") as (intake, worker):
        await listening(bystander)
        await asyncio.sleep(0.3)
        for _ in range(3):
            assert await handled(bystander, await put(intake), 5) < 1.0
        assert worker.instance.metrics.registry.get_sample_value("petitbleu_wakeups_total", {"way": "heard"}) == 3
        assert intake.instance.metrics.registry.get_sample_value("petitbleu_wakeups_total", {"way": "sent"}) == 3


async def test_looking_finds_what_nobody_announced(postgres_url: str, bystander: Any) -> None:
    async with two(postgres_url, "0.3s") as (intake, _):
        await listening(bystander)
        # both of them, again and again: no hint comes through
        for _ in range(3):
            await cut(bystander)
            await handled(bystander, await put(intake), 3)
    async with two(postgres_url, "0.3s", "delivery.announce=false") as (intake, worker):
        assert worker.instance.wakeup is None
        await handled(bystander, await put(intake), 3)
