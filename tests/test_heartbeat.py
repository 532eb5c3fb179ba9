"""Leases are kept by a thread of their own, and what the dead had is taken back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from petitbleu import (
    Attempt,
    Channel,
    Content,
    Delivered,
    Event,
    Message,
    Outcome,
    Queue,
    Route,
    Settings,
    TemplateRef,
    hookimpl,
)
from petitbleu.delivery.delivery import Delivery
from petitbleu.delivery.heartbeat import Heartbeat
from petitbleu.delivery.worker import Limits, Worker
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.queue.queue import WorkQueue
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment


class Script:
    """One channel; what delivering does is given."""

    def __init__(self, deliver: Callable[[Message, Attempt], Any]) -> None:
        self._deliver = deliver

    @hookimpl
    def petitbleu_channels(self) -> list[Channel]:
        return [Channel("pigeon", "mobilePhone", Settings)]

    @hookimpl
    async def petitbleu_route_event(self, event: Event) -> Route:
        return Route("pigeon", "shop", "note")

    @hookimpl
    async def petitbleu_resolve_template(self, event: Event, route: Route) -> TemplateRef:
        return TemplateRef("note", "pigeon", 1)

    @hookimpl
    async def petitbleu_render(self, template: TemplateRef, event: Event, brand: Any) -> Content:
        return Content({"text": "hello"}, {})

    @hookimpl
    async def petitbleu_deliver(self, message: Message, attempt: Attempt) -> Outcome:
        outcome: Outcome = await self._deliver(message, attempt)
        return outcome


def worker_on(store: Store, lease: float, deliver: Callable[[Message, Attempt], Any]) -> tuple[WorkQueue, Worker]:
    loaded = load([], [])
    loaded.add_core(Script(deliver))
    calls = Calls(loaded, 1.0)
    queue = WorkQueue(store, 1, lease)
    delivery = Delivery(queue, calls, calls.channels(), lambda name: {}, "test", 30.0, store.now, lambda: 1.0)
    return queue, Worker(queue, delivery, Limits(8, 2, 0.05, lease, 5.0), store.now)


def note(store: Store) -> Event:
    return Event(
        id=0,
        type="note",
        queue=Queue.REALTIME,
        channel="pigeon",
        data={},
        created=moment(store.now()),
        addresses={"mobilePhone": "+33612345678"},
    )


async def test_a_plugin_that_blocks_the_loop_loses_no_lease(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    lease = 1.5
    delivered: list[int] = []

    async def blocks(message: Message, attempt: Attempt) -> Outcome:
        time.sleep(2 * lease)  # noqa: ASYNC251 - what must do no harm
        await attempt.hand_off("loft")
        delivered.append(message.event.id)
        return Delivered("loft", "250 flew")

    async with open_store(sqlite_url) as store, open_store(sqlite_url) as elsewhere:
        queue, worker = worker_on(store, lease, blocks)
        other = Heartbeat(WorkQueue(elsewhere, 1, lease), lease, lambda: None)
        (event_id,) = await put(queue, note(store))
        stop = asyncio.Event()
        async with other.beating():
            task = asyncio.create_task(worker.run(stop))
            async with asyncio.timeout(20):
                while await elsewhere.read("SELECT id FROM queue", []):
                    await asyncio.sleep(0.05)
            stop.set()
            await task
        (found,) = await store.read("SELECT status, errors FROM events WHERE id = ?", [event_id])
    assert (found["status"], found["errors"], delivered) == ("sent", 0, [event_id])
    assert "took back" not in caplog.text


async def put(queue: WorkQueue, *events: Event) -> list[int]:
    return [int(getattr(one, "id", one)) for one in await queue.put(events)]


async def test_what_a_dead_process_had_is_taken_back_under_its_name(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    lease = 0.6
    woken = asyncio.Event()
    async with open_store(sqlite_url) as store:
        dead = WorkQueue(store, 1, lease)
        await put(dead, note(store))
        (claimed,) = await dead.claim(Queue.REALTIME, 1)
        assert claimed.lease.startswith(f"{dead.incarnation}-")
        started = time.monotonic()
        async with Heartbeat(WorkQueue(store, 1, lease), lease, woken.set).beating():
            await asyncio.wait_for(woken.wait(), 10)
        assert time.monotonic() - started >= lease * 0.9
        (row,) = await store.read("SELECT state, crashes, lease FROM queue", [])
    assert (row["state"], row["crashes"], row["lease"]) == (1, 1, None)
    assert f"took back 1 events from {dead.incarnation}" in caplog.text


async def test_a_held_lease_is_kept_until_it_is_dropped_as_often(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        queue = WorkQueue(store, 1, 30.0)
        await put(queue, note(store), note(store))
        first, second = await queue.claim(Queue.REALTIME, 2)
        heartbeat = Heartbeat(queue, 30.0, lambda: None)
        for one in (first, second):
            heartbeat.hold(one.lease)
        heartbeat.drop(first.lease)
        await store.shift_clock(29)
        assert await heartbeat.beat() == 0
        heartbeat.drop(second.lease)
        await store.shift_clock(29)
        assert await heartbeat.beat() == 0
        await store.shift_clock(2)
        assert await heartbeat.beat() == 2


async def test_after_a_pause_of_the_database_the_living_renew_first(sqlite_url: str) -> None:
    seconds = 0.0
    async with open_store(sqlite_url) as store:
        queue = WorkQueue(store, 1, 30.0)
        await put(queue, note(store))
        await queue.claim(Queue.REALTIME, 1)
        await store.shift_clock(31)
        heartbeat = Heartbeat(queue, 30.0, lambda: None, lambda: seconds)
        seconds = 21.0
        assert await heartbeat.beat() == 0
        seconds = 42.0
        assert await heartbeat.beat() == 1
