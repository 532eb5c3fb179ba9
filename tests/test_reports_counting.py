"""Counts are as true as the events: whatever changes an event counts it in the same transaction."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from typing import Any

import pytest
from petitbleu import (
    Attempt,
    Delivered,
    Event,
    Message,
    Operator,
    Outcome,
    Queue,
    Receipt,
    ReceiptState,
    ReportQuery,
    Scope,
    Unknown,
)
from petitbleu.delivery.consequences import CAUSES
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.lifecycle import FINAL
from petitbleu.operating import Actor
from petitbleu.operations.operations import Operations
from petitbleu.queue.queue import WorkQueue
from petitbleu.recycling import RecyclingRule
from petitbleu.reports.reports import Reports
from petitbleu.reports.rollup import Rollup
from petitbleu.reports.tally import ACCEPTED, OTHER, RECYCLED, REOPENED, RETRIED, Tally
from petitbleu.steps import AttemptRecord, Claimed, Step
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment
from pigeon_rig import Rig, Script

BRANDS = {"order": "shop", "reset": "outlet"}
ANN = Actor(Operator("ann", frozenset({"admin", "read"})), "cli")
MINUTE = 60_000_000
Key = tuple[str, str, str, str, str]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


def queue_of(store: Store, most: int = 100) -> WorkQueue:
    return WorkQueue(store, 1, 30.0, tally=Tally(BRANDS, most))


def event(store: Store, event_type: str = "order", origin: str = "crm", **values: Any) -> Event:
    created = values.pop("created", moment(store.now()))
    return Event(
        0, event_type, Queue.REALTIME, "email", {}, created, {"email": "zoe@example.com"}, origin=origin,
        expiration=created + timedelta(days=2), **values,
    )  # fmt: skip


def step(store: Store, claimed: Claimed, status: str, cause: str = "", brand: str = "", **values: Any) -> Step:
    number, now = claimed.attempts + 1, store.now()
    outcome = {"sent": "delivered", "pending": "deferred"}.get(status, "failed")
    attempt = AttemptRecord(number, "email", "main", "t", now - 3000, now, outcome)
    return Step(
        claimed, status, "words", "email", attempts=number, attempt=attempt, at=now, cause=cause, brand=brand, **values
    )


async def counted(store: Store) -> Counter[tuple[str, ...]]:
    """By fact, type, brand and cause."""
    rows = await store.read("SELECT fact, type, brand, cause, sum(events) AS n FROM statistics GROUP BY 1, 2, 3, 4", [])
    return Counter({(row["fact"], row["type"], row["brand"], row["cause"]): int(row["n"]) for row in rows})


async def true_to_the_events(store: Store) -> None:
    """Of every type, channel and brand: what came less what ended, but for what was opened again, is open; and what
    ended as something less what was opened again from there is so still."""
    open_ones: Counter[str] = Counter()
    ended: Counter[Key] = Counter()
    for row in await store.read("SELECT * FROM statistics", []):
        key = (row["type"], row["channel"], row["brand"], row["origin"])
        if row["fact"] == ACCEPTED:
            open_ones[row["type"]] += row["events"]
        elif row["fact"] in FINAL:
            open_ones[row["type"]] -= row["events"]
            ended[row["fact"], *key] += row["events"]
        elif row["fact"] == REOPENED:
            open_ones[row["type"]] += row["events"]
            ended[row["cause"], *key] -= row["events"]
    events = await store.read("SELECT * FROM events", [])
    assert +open_ones == Counter(one["type"] for one in events if one["status"] == "pending")
    stored = Counter(
        (one["status"], one["type"], one["channel"], one["brand"], one["origin"])
        for one in events
        if one["status"] in FINAL
    )
    assert Counter({key: number for key, number in ended.items() if number}) == stored
    assert all(one["cause"] in CAUSES[one["status"]] for one in events if one["status"] in FINAL)


# ------------------------------------------------------------------------------------------------------------ counting


async def test_what_comes_and_what_becomes_of_it_is_counted(store: Store) -> None:
    queue = queue_of(store)
    ids = await queue.put([event(store), event(store), event(store, "reset"), event(store, "reset", "")])
    claimed = {one.id: one for one in await queue.claim(Queue.REALTIME, 9)}
    await asyncio.gather(
        queue.record(step(store, claimed[ids[0]], "sent")),
        queue.record(step(store, claimed[ids[1]], "failed", Scope.ADDRESS, "boutique")),
        queue.record(step(store, claimed[ids[2]], "pending", Scope.PROVIDER, due=store.now())),
        queue.record(step(store, claimed[ids[3]], "pending", Scope.ADDRESS, due=store.now(), moved="sms")),
    )
    assert await counted(store) == {
        (ACCEPTED, "order", "shop", ""): 2,
        (ACCEPTED, "reset", "outlet", ""): 2,
        ("sent", "order", "shop", ""): 1,
        ("failed", "order", "boutique", "address"): 1,
        (RETRIED, "reset", "outlet", "provider"): 1,
        (RECYCLED, "reset", "outlet", "address"): 1,
    }
    # who lost the lease counts nothing
    assert not await queue.record(step(store, claimed[ids[0]], "sent"))
    assert (await counted(store))["sent", "order", "shop", ""] == 1
    await true_to_the_events(store)


async def test_times_of_what_is_sent_are_counted(store: Store) -> None:
    queue = queue_of(store)
    now = store.now()
    late = event(store, created=moment(now - 9_000_000))
    scheduled = event(store, created=moment(now - 90_000_000), scheduled=moment(now - 1_000_000))
    await queue.put([late, scheduled])
    await queue.promote()
    steps = [step(store, one, "sent") for one in await queue.claim(Queue.REALTIME, 9)]
    for one in steps:
        one.at = now
        assert one.attempt is not None
        one.attempt.started, one.attempt.ended = now - 400_000, now - 100_000
    await asyncio.gather(*(queue.record(one) for one in steps))
    (row,) = await store.read(
        "SELECT sum(queuing) AS queuing, sum(sending) AS sending, sum(processing) AS took, "
        "min(processing_min) AS least, max(processing_max) AS most, sum(bin4) AS bin4, sum(bin7) AS bin7 "
        "FROM statistics WHERE fact = 'sent'",
        [],
    )
    assert {name: int(value) for name, value in row.items()} == {
        "queuing": 9_400_000, "sending": 600_000, "took": 10_000_000, "least": 1_000_000, "most": 9_000_000,
        "bin4": 1, "bin7": 1,
    }  # fmt: skip


async def test_origins_beyond_the_limit_are_counted_together(store: Store) -> None:
    queue = queue_of(store, most=2)
    await queue.put([event(store, origin=name) for name in ("a", "b", "c", "d", "a", "")])
    rows = await store.read("SELECT origin, sum(events) AS n FROM statistics GROUP BY origin", [])
    assert {row["origin"]: int(row["n"]) for row in rows} == {"a": 2, "b": 1, OTHER: 2, "": 1}
    # and another process tells the same ones apart
    tally = Tally(BRANDS, 2)
    await tally.learn(store)
    assert [tally.origin(name) for name in ("a", "b", "c")] == ["a", "b", OTHER]


async def test_what_operators_do_is_counted(store: Store) -> None:
    queue = queue_of(store)
    calls = Calls(load([], []), 1.0)
    operations = Operations(
        store, queue, calls, 1, BRANDS, timedelta(hours=1), 100, store.now, time.monotonic, None, Tally(BRANDS)
    )
    first, second, third = await queue.put([event(store) for _ in range(3)])
    await operations.cancel([first], ANN)
    claimed = {one.id: one for one in await queue.claim(Queue.REALTIME, 9)}
    await queue.record(step(store, claimed[second], "failed", Scope.MESSAGE))
    await queue.record(step(store, claimed[third], "sent"))
    await operations.retry([first, second, third], ANN)
    await operations.resend([third], ANN)
    assert await counted(store) == {
        (ACCEPTED, "order", "shop", ""): 4,
        ("ignored", "order", "shop", "cancelled"): 1,
        ("failed", "order", "shop", "message"): 1,
        ("sent", "order", "shop", ""): 1,
        (REOPENED, "order", "shop", "ignored"): 1,
        (REOPENED, "order", "shop", "failed"): 1,
    }
    await true_to_the_events(store)


async def test_two_processes_count_what_both_do_while_it_is_summed_up(database_url: str) -> None:
    async def work(seed: int) -> None:
        dice = random.Random(seed)
        async with open_store(database_url) as store:
            queue = queue_of(store)
            rollup = Rollup(store, 0, 0, UTC, str(seed))
            for _ in range(12):
                await queue.put([event(store, dice.choice(["order", "reset"])) for _ in range(dice.randint(1, 8))])
                claimed = await queue.claim(Queue.REALTIME, 6)
                outcomes = [dice.choice(["sent", "failed", "pending"]) for _ in claimed]
                causes = {"sent": "", "failed": "address", "pending": "provider"}
                await asyncio.gather(
                    *(
                        queue.record(
                            step(store, one, status, causes[status], due=store.now() if status == "pending" else None)
                        )
                        for one, status in zip(claimed, outcomes, strict=True)
                    )
                )
                # everything written so far, that of this minute too
                await rollup.sum_up(store.now() + 2 * 86_400_000_000)

    await asyncio.gather(*(work(seed) for seed in range(3)))
    async with open_store(database_url) as store:
        await true_to_the_events(store)
        rows = await store.read("SELECT span, count(*) AS n FROM statistics GROUP BY span", [])
        assert {row["span"] for row in rows} == {86_400}


# ------------------------------------------------------------------------------------------------------------- receipts


async def test_what_receipts_say_and_what_follows_is_counted(store: Store) -> None:
    script = Script()
    script.wished = True
    script.deliver = flies
    rig = Rig(store, script, rules=[RecyclingRule({}, frozenset({"bounced"}), "snail", None)])
    both = {"mobilePhone": "+33612345678", "email": "zoe@example.com"}
    async with rig.at_work():
        arrives, bounces, lost = await rig.push(), await rig.push(addresses=both), await rig.push()
        for one in (arrives, bounces, lost):
            await rig.until(one, "sent")
        await told(rig, arrives, ReceiptState.RECEIVED)
        await told(rig, bounces, ReceiptState.BOUNCED)
        await told(rig, lost, ReceiptState.BOUNCED)
        await rig.decisions.decide()
        await rig.until(bounces, "sent", attempts=2)
    rows = await store.read("SELECT fact, channel, cause, sum(events) AS n FROM statistics GROUP BY 1, 2, 3", [])
    assert {(row["fact"], row["channel"], row["cause"]): int(row["n"]) for row in rows} == {
        (ACCEPTED, "pigeon", ""): 3,
        ("sent", "pigeon", ""): 3,
        ("received", "pigeon", ""): 1,
        ("bounced", "pigeon", "address"): 2,
        (REOPENED, "pigeon", "sent"): 1,
        (RECYCLED, "pigeon", "bounced"): 1,
        ("sent", "snail", ""): 1,
    }
    await true_to_the_events(store)


async def test_an_event_that_arrived_after_all_is_counted_as_sent(store: Store) -> None:
    script = Script()
    script.deliver = fails_late
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "pending", attempts=1)
        await store.shift_clock(120)
        rig.queue.look_again()
        await rig.until(event_id, "failed", attempts=2)
        await told(rig, event_id, ReceiptState.RECEIVED)
    assert (await rig.event(event_id)).status == "sent"
    found = await counted(store)
    assert [number for key, number in found.items() if key[0] in ("failed", "sent", REOPENED)] == [1, 1, 1]
    await true_to_the_events(store)


async def flies(message: Message, attempt: Attempt) -> Outcome:
    await attempt.hand_off("loft")
    return Delivered("loft", "250 flew", awaits=(f"{message.event.id}-{message.channel}",))


async def fails_late(message: Message, attempt: Attempt) -> Outcome:
    attempt.expect((f"{message.event.id}-{message.channel}",))
    await attempt.hand_off("loft")
    return Unknown("loft", "no answer", (f"{message.event.id}-{message.channel}",))


async def told(rig: Rig, event_id: int, state: ReceiptState) -> None:
    receipt = Receipt("pigeon", "loft", state, "they say", names=(f"{event_id}-pigeon",), scope=Scope.ADDRESS)
    await rig.receipts.record([receipt])
    await rig.receipts.match()


async def test_how_many_are_open_is_written_down(store: Store) -> None:
    queue = queue_of(store)
    rollup = Rollup(store, 2 * 86_400_000_000, 86_400_000_000, UTC, "me", BRANDS, ("email", "sms"))
    reports = Reports(store, BRANDS, UTC, 2 * 86_400_000_000, 86_400_000_000, store.now)
    minute = store.now() - store.now() % MINUTE
    await rollup.sound(minute - 2 * MINUTE)
    for number in (1, 2):
        await queue.put([event(store) for _ in range(number)])
        await rollup.sound(minute)

    async def line(**asked: Any) -> tuple[Any, ...]:
        since, until = moment(minute - 10 * MINUTE), moment(minute + MINUTE)
        found = await reports.read(ReportQuery("processing_time", since, until, **asked), ANN.operator)
        return tuple(
            (*one.keys.values(), *(one.values[f"queued_{kind}"] for kind in ("min", "avg", "max")))
            for one in found.lines
        )

    assert await line() == ((0, 4 / 3, 3),)
    assert await line(by=("type",)) == (("order", 0, 4 / 3, 3), ("reset", 0, 0, 0))
    assert await line(brands=("shop",)) == ((0, 4 / 3, 3),)
    assert await line(channels=("sms",)) == ((0, 0, 0),)
    # nobody knows of origins
    assert await line(origins=("crm",)) == ((None, None, None),)
