"""A worker on a real queue, with a channel whose provider does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType, SimpleNamespace
from typing import Any

from petitbleu import (
    Attempt,
    Channel,
    Content,
    Delivered,
    Event,
    Hold,
    Message,
    Notice,
    NotTold,
    Outcome,
    Queue,
    Receipt,
    Recycle,
    Retry,
    Route,
    Settings,
    Subscription,
    Suppress,
    TemplateRef,
    Told,
    hookimpl,
)
from petitbleu.delivery.delivery import Delivery
from petitbleu.delivery.worker import Limits, Worker
from petitbleu.failover import Failover
from petitbleu.failpoints import Failpoints
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import Loaded, load
from petitbleu.metrics import Metrics
from petitbleu.operations.operations import Operations
from petitbleu.outbox.desk import OutboxDesk
from petitbleu.outbox.notices import Outbox, full_name
from petitbleu.outbox.telling import Telling
from petitbleu.outbox.waiting import Waiting
from petitbleu.queue.queue import WorkQueue
from petitbleu.receipts.decisions import Decisions
from petitbleu.receipts.receipts import Receipts
from petitbleu.recycling import Recycling, RecyclingRule
from petitbleu.rendered import Copies
from petitbleu.store import Store
from petitbleu.store.payload import moment
from petitbleu.suppression import Terms
from petitbleu.suppression.guard import Suppressions
from petitbleu.throttle import Feedback, Shared, Throttle

LEASE = 30.0
Deliver = Callable[[Message, Attempt], Awaitable[Outcome]]


async def fly(message: Message, attempt: Attempt) -> Outcome:
    await attempt.hand_off("loft")
    return Delivered("loft", "250 flew", "250", "ref-1")


async def _none(hook: str, event: Event) -> None:
    """No trouble."""


async def _told(notice: Notice) -> Told | NotTold:
    return Told("200")


class Script:
    """A channel and every answer of the pipeline; tests replace what they are about."""

    def __init__(self) -> None:
        self.deliver: Deliver = fly
        self.route: Route | None = Route("pigeon", "shop", "note")
        self.template: TemplateRef | None = TemplateRef("note", "pigeon", 4)
        self.verdict: Suppress | Hold | None = None
        self.rendering: Callable[[], Content | None] = lambda: Content({"text": "hello"}, {})
        self.trouble: Callable[[str, Event], Awaitable[None]] = _none
        """Awaited by each hook with its name."""
        self.messages: list[Message] = []
        self.heard: list[tuple[int, str, str]] = []
        self.unknown: str = "retry_once"
        self.wished = False
        """Whether events go by the channel they wish."""
        self.recycle: Callable[[Event, str, str], Recycle | None] = lambda event, channel, failure: None
        self.receipts: list[tuple[int, str]] = []
        self.subscriptions: list[Subscription] = []
        self.tell: Callable[[Notice], Awaitable[Told | NotTold]] = _told
        self.notices: list[Notice] = []

    @hookimpl
    def petitbleu_channels(self) -> list[Channel]:
        retry = Retry(first=60, cap=600, tries=3)
        unknown: Any = self.unknown
        return [
            Channel("pigeon", "mobilePhone", Settings, unknown=unknown, retry=retry),
            Channel("snail", "email", Settings, retry=retry),
        ]

    @hookimpl
    async def petitbleu_enrich_event(self, event: Event) -> Event | None:
        await self.trouble("enrich_event", event)
        return None

    @hookimpl
    async def petitbleu_route_event(self, event: Event) -> Route | None:
        await self.trouble("route_event", event)
        return self.route and replace(self.route, channel=event.channel if self.wished else self.route.channel)

    @hookimpl
    async def petitbleu_resolve_template(self, event: Event, route: Route) -> TemplateRef | None:
        await self.trouble("resolve_template", event)
        return self.template

    @hookimpl
    async def petitbleu_render(self, template: TemplateRef, event: Event, brand: Mapping[str, Any]) -> Content | None:
        await self.trouble("render", event)
        return self.rendering()

    @hookimpl
    async def petitbleu_check_message(self, message: Message) -> Suppress | Hold | None:
        await self.trouble("check_message", message.event)
        return self.verdict

    @hookimpl
    async def petitbleu_deliver(self, message: Message, attempt: Attempt) -> Outcome:
        await self.trouble("deliver", message.event)
        self.messages.append(message)
        return await self.deliver(message, attempt)

    @hookimpl
    async def petitbleu_outcome_recorded(self, event: Event, status: str, reason: str) -> None:
        self.heard.append((event.id, status, reason))

    @hookimpl
    async def petitbleu_recycle_event(self, event: Event, channel: str, failure: str) -> Recycle | None:
        await self.trouble("recycle_event", event)
        return self.recycle(event, channel, failure)

    @hookimpl
    async def petitbleu_receipt_recorded(self, event: Event, receipt: Receipt) -> None:
        self.receipts.append((event.id, receipt.state.value))

    @hookimpl
    def petitbleu_subscriptions(self) -> list[Subscription]:
        return self.subscriptions

    @hookimpl
    async def petitbleu_tell(self, notice: Notice) -> Told | NotTold:
        self.notices.append(notice)
        return await self.tell(notice)


class Rig:
    """A worker that can be started, stopped and looked at."""

    def __init__(
        self,
        store: Store,
        script: Script,
        deadline: float = 2.0,
        concurrency: int = 8,
        failpoints: Failpoints | None = None,
        failovers: Mapping[str, Failover] = MappingProxyType({}),
        rules: Sequence[RecyclingRule] = (),
        receipt_wait: float = 600.0,
        hook_deadline: float = 1.0,
        copies: Copies | None = None,
        poll: float = 0.2,
    ) -> None:
        loaded: Loaded = load([], [])
        loaded.add_core(script)
        calls = Calls(loaded, hook_deadline)
        self.store = store
        self.queue = WorkQueue(store, 1, LEASE)
        brands = {"shop": {"name": "Shop"}}
        shared, metrics = Shared(store, self.queue.incarnation, LEASE), Metrics()
        self.metrics = metrics
        calls.limit_reached = metrics.limit_reached
        feedback = Feedback(places=concurrency, window=2, pause=60.0, wait=0.02)
        self.throttle = Throttle(shared, feedback, {}, store.now, lambda: 1.0, metrics)
        addresses = {"pigeon": "mobilePhone", "snail": "email"}
        recycling = Recycling(tuple(rules), addresses)
        if rules:
            script.recycle = recycling.answer
        subscriptions, types = calls.subscriptions(), {"note": "shop"}
        self.outbox = Outbox(store, subscriptions, lambda event: "shop", types, metrics)
        self.queue.outbox = self.outbox
        names = [full_name(plugin, one.name) for plugin, one in subscriptions]
        self.telling = Telling(
            store, calls, self.outbox, subscriptions, 604_800.0, 0.05, store.now, lambda: 1.0, metrics
        )
        self.waiting = Waiting(store, self.outbox, names, 1000, 900.0)
        self.outbox_desk = OutboxDesk(store, self.outbox, names, 1000, 1)
        self.operations = Operations(
            store, self.queue, calls, 1, types, timedelta(days=2), 1000, store.now, time.monotonic, self.outbox
        )
        suppressions = Suppressions(store, addresses, {"": Terms(threshold=2, span=0)}, {}, metrics)
        self.queue.suppressions = suppressions
        delivery = Delivery(
            self.queue,
            calls,
            calls.channels(),
            lambda name: brands[name],
            "test",
            deadline,
            store.now,
            lambda: 1.0,
            metrics,
            self.throttle,
            failpoints,
            failovers,
            recycling,
            receipt_wait,
            suppressions,
            copies,
        )
        self.receipts = Receipts(
            store, calls, 3600.0, metrics, suppressions, addresses, lambda event: "shop", self.outbox
        )
        self.decisions = Decisions(
            store, calls, addresses, failovers, 86_400_000_000, store.now, metrics, self.queue.look_again, self.outbox
        )
        limits = Limits(concurrency=concurrency, reserved=2, poll=poll, lease=LEASE, drain=2.0)
        self.worker = Worker(self.queue, delivery, limits, store.now, throttle=self.throttle)

    def doubtful(self, cause: str) -> float:
        """Messages sent again though a provider may have the first one."""
        labels = {"channel": "pigeon", "cause": cause}
        return self.metrics.registry.get_sample_value("petitbleu_possible_duplicates_total", labels) or 0.0

    async def push(self, **changes: Any) -> int:
        values: dict[str, Any] = {
            "id": 0,
            "type": "note",
            "queue": Queue.REALTIME,
            "channel": "pigeon",
            "data": {},
            "created": moment(self.store.now()),
            "addresses": {"mobilePhone": "+33612345678"},
        }
        return (await self.queue.put([Event(**{**values, **changes})]))[0]

    async def lose(self, provider: str = "", names: Sequence[str] = ()) -> list[int]:
        """A worker that claims all there is, has it handed off to the provider, and is heard of no more. `names` are
        those of receipts."""
        claimed = await self.queue.claim(Queue.REALTIME, 100)
        for queue, flow in await self.queue.suspects():
            claimed += await self.queue.claim(queue, {flow: 100}, "claim_suspects")
        if provider:
            for one in claimed:
                await self.queue.hand_off(one, provider, names)
        await self.store.shift_clock(LEASE + 1)
        await self.queue.rescue()
        return [one.id for one in claimed]

    def store_time(self, seconds: float) -> datetime:
        """So many seconds from now, by the database's clock."""
        return moment(self.store.now()) + timedelta(seconds=seconds)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.worker.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    @contextlib.asynccontextmanager
    async def telling_all(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.telling.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def event(self, event_id: int) -> SimpleNamespace:
        """Two looks that agree: nothing was written between their three queries."""
        found = await self._look(event_id)
        while (again := await self._look(event_id)) != found:
            found = again
        return found

    async def _look(self, event_id: int) -> SimpleNamespace:
        (row,) = await self.store.read("SELECT * FROM events WHERE id = ?", [event_id])
        attempts = await self.store.read("SELECT * FROM attempts WHERE event = ? ORDER BY number", [event_id])
        queued = await self.store.read("SELECT * FROM queue WHERE id = ?", [event_id])
        moves = await self.store.read("SELECT * FROM recyclings WHERE event = ? ORDER BY id", [event_id])
        return SimpleNamespace(**row, attempts=attempts, queued=queued[0] if queued else None, moves=moves)

    async def until(self, event_id: int, *statuses: str, attempts: int = 0) -> SimpleNamespace:
        for _ in range(400):
            found = await self.event(event_id)
            leased = found.queued is not None and found.queued["state"] == 2
            if found.status in statuses and len(found.attempts) >= attempts and not leased:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"event is {found}")

    async def settled(self, event_id: int, attempts: int = 0) -> SimpleNamespace:
        """Once it has a reason: a final status, or a wait for the next try."""
        for _ in range(400):
            found = await self.event(event_id)
            if found.reason and len(found.attempts) >= attempts and (not found.queued or found.queued["state"] != 2):
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"event is {found}")
