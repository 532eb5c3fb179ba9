"""Suspects, which another crash would condemn, are tried alone: no claim of many sees them, wherever they come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from petitbleu import Attempt, Message, Outcome, Queue
from petitbleu.delivery.trials import ALONE, Trials
from petitbleu.lifecycle import PENDING
from petitbleu.queue.queue import WorkQueue
from petitbleu.queue.shares import Flow
from petitbleu.steps import Claimed, Step
from petitbleu.store import Store, open_store
from petitbleu.throttle import Throttle
from pigeon_rig import Rig, Script, fly

NOTES = Flow("pigeon", "note")
HERE = [(Queue.REALTIME, NOTES)]
POLL = 1.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def script() -> Script:
    return Script()


async def crashed_twice(rig: Rig, events: int = 1, **changes: Any) -> list[int]:
    """New events whose workers have been lost two times."""
    pushed = [await rig.push(**changes) for _ in range(events)]
    for _ in range(2):
        assert len(await rig.lose()) == events
    return pushed


# ---------------------------------------------------------------------------------------------------- in the database


async def lost(rig: Rig, suspect: int) -> None:
    """Nothing more than the second crash."""


async def given_back(rig: Rig, suspect: int) -> None:
    await rig.queue.release(await rig.queue.claim(Queue.REALTIME, {NOTES: 1}, "claim_suspects"))


async def put_off(rig: Rig, suspect: int, seconds: float = 0.0) -> None:
    (claimed,) = await rig.queue.claim(Queue.REALTIME, {NOTES: 1}, "claim_suspects")
    now = rig.store.now()
    due = now + int(seconds * 1_000_000)
    assert await rig.queue.record(Step(claimed, PENDING, "451 fog", "pigeon", tries=1, due=due, at=now))


async def put_off_until_later(rig: Rig, suspect: int) -> None:
    await put_off(rig, suspect, 60)
    assert await rig.queue.suspects() == []
    await rig.store.shift_clock(61)


async def hastened(rig: Rig, suspect: int) -> None:
    await put_off(rig, suspect, 60)
    assert [row["id"] for row in await rig.store.rows("hasten", 1, [{"id": suspect}])] == [suspect]


async def paused_and_released(rig: Rig, suspect: int) -> None:
    assert [row["id"] for row in await rig.store.rows("hold", [{"id": suspect}])] == [suspect]
    assert await rig.queue.suspects() == []
    assert [row["id"] for row in await rig.store.rows("let_go", [{"id": suspect}])] == [suspect]


async def moved(rig: Rig, suspect: int) -> None:
    assert [row["id"] for row in await rig.store.rows("lock_waiting", [{"id": suspect}])] == [suspect]
    row = {"id": suspect, "channel": "pigeon", "chain": "pigeon", "due": 0}
    await rig.store.rows("move_waiting", 1, [row])


@pytest.mark.parametrize(
    "comes", [lost, given_back, put_off, put_off_until_later, hastened, paused_and_released, moved]
)
async def test_no_claim_of_many_sees_a_suspect(
    store: Store, script: Script, comes: Callable[[Rig, int], Awaitable[None]]
) -> None:
    rig = Rig(store, script)
    (suspect,) = await crashed_twice(rig)
    await comes(rig, suspect)
    for _ in range(2):
        assert await rig.queue.claim(Queue.REALTIME, 9) == []
        # neither is it made ready, nor is there a time at which it would be
        assert await rig.queue.promote() is None
    assert await rig.queue.suspects() == HERE
    (claimed,) = await rig.queue.claim(Queue.REALTIME, {NOTES: 9}, "claim_suspects")
    assert (claimed.id, claimed.crashes) == (suspect, 2)
    assert await rig.queue.suspects() == []


async def test_a_suspect_counts_as_ready_and_by_its_age(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    await crashed_twice(rig)
    await store.shift_clock(60)
    assert await rig.queue.depth.count(lambda: 1.0) == 1
    (ready,) = [one for one in await rig.queue.depth.backlog() if one.events]
    assert (ready.queue, ready.state, 60 <= ready.oldest_due < 180) == ("realtime", "ready", True)
    (row,) = await store.rows("open_events")
    assert (row["state"], row["type"], row["events"]) == (1, "note", 1)
    (row,) = await store.rows("measure_queue")
    assert (row["events"], row["now"] - row["due"] >= 60_000_000) == (1, True)


async def test_a_suspect_can_be_cancelled(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    (suspect,) = await crashed_twice(rig)
    assert [row["id"] for row in await store.rows("cancel", [{"id": suspect}])] == [suspect]
    assert await rig.queue.suspects() == []


async def test_a_suspect_whose_time_is_over_is_none(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    (suspect,) = await crashed_twice(rig, expiration=rig.store_time(3600))
    await store.shift_clock(3601)
    await rig.queue.promote()
    assert await rig.queue.suspects() == []
    assert [one.id for one in await rig.queue.claim(Queue.REALTIME, {NOTES: 9}, "claim_expired")] == [suspect]


async def test_the_third_crash_is_no_reason_to_be_tried_alone(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    (suspect,) = await crashed_twice(rig)
    assert await rig.lose() == [suspect]
    assert await rig.queue.suspects() == []
    assert [one.crashes for one in await rig.queue.claim(Queue.REALTIME, 9)] == [3]


# --------------------------------------------------------------------------------------------------------- at a worker


class Company:
    """Deliveries that take `seconds`, and in whose company each was."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way: set[int] = set()
        self.most: dict[int, int] = {}

    async def deliver(self, message: Message, attempt: Attempt) -> Outcome:
        self._under_way.add(message.event.id)
        began = len(self._under_way)
        await asyncio.sleep(self._seconds)
        self.most[message.event.id] = max(began, len(self._under_way))
        self._under_way.discard(message.event.id)
        return await fly(message, attempt)


async def test_suspects_are_tried_alone(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    suspects = await crashed_twice(rig, 3)
    others = [await rig.push() for _ in range(6)]
    company = Company(0.02)
    script.deliver = company.deliver
    async with rig.at_work():
        for event_id in (*suspects, *others):
            assert (await rig.until(event_id, "sent")).status == "sent"
    assert [company.most[one] for one in suspects] == [1, 1, 1]
    assert max(company.most[one] for one in others) > 1


async def test_no_suspect_is_leased_while_anything_else_is_under_way(store: Store, script: Script) -> None:
    """Not for a moment: a crash then would be counted against it."""
    rig = Rig(store, script)
    suspects = await crashed_twice(rig, 3)
    exposed: list[int] = []

    async def slow(message: Message, attempt: Attempt) -> Outcome:
        if message.event.id not in suspects:
            for _ in range(20):
                (row,) = await store.read("SELECT count(*) AS found FROM queue WHERE state = 2 AND crashes = 2", [])
                exposed.append(row["found"])
                await asyncio.sleep(0.004)
        return await fly(message, attempt)

    script.deliver = slow
    others = [await rig.push() for _ in range(12)]
    async with rig.at_work():
        for event_id in (*suspects, *others):
            assert (await rig.until(event_id, "sent")).status == "sent"
    assert len(exposed) == 240
    assert max(exposed) == 0


async def test_a_suspect_that_an_earlier_version_left_among_the_rest_is_tried_alone(
    store: Store, script: Script
) -> None:
    rig = Rig(store, script)
    (suspect,) = await crashed_twice(rig)
    others = [await rig.push() for _ in range(6)]
    await store.connection.execute_script("UPDATE queue SET state = 1")
    company = Company(0.05)
    script.deliver = company.deliver
    async with rig.at_work():
        for event_id in (suspect, *others):
            assert (await rig.until(event_id, "sent")).status == "sent"
    assert company.most[suspect] == 1
    assert max(company.most[one] for one in others) > 1


async def test_a_suspect_expires_in_time_though_others_are_under_way(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    hours = 3600
    (suspect,) = await crashed_twice(rig, expiration=rig.store_time(hours))
    done = asyncio.Event()

    async def hang(message: Message, attempt: Attempt) -> Outcome:
        await done.wait()
        return await fly(message, attempt)

    script.deliver = hang
    await store.shift_clock(hours + 1)
    other = await rig.push()
    async with rig.at_work():
        found = await rig.until(suspect, "expired")
        assert (await rig.event(other)).queued["state"] == 2
        done.set()
    assert (found.reason, found.attempts) == ("its expiration passed", [])


async def test_a_stop_gives_a_suspect_back_as_one(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    await crashed_twice(rig)
    company = Company(60)
    script.deliver = company.deliver
    async with rig.at_work():
        while not script.messages:
            await asyncio.sleep(0.01)
    assert await rig.queue.suspects() == HERE


# -------------------------------------------------------------------------------------------------- one after the other


class Suspects:
    """A queue that has nothing else; `left` of each flow."""

    def __init__(self, left: dict[Flow, int]) -> None:
        self.left = left
        self.claiming: Callable[[], None] = lambda: None

    async def suspects(self) -> list[tuple[Queue, Flow]]:
        return [(Queue.REALTIME, flow) for flow, events in self.left.items() if events]

    async def claim(self, queue: Queue, places: dict[Flow, int], kind: str) -> list[Flow]:
        ((flow, most),) = places.items()
        assert (queue, most, kind) == (Queue.REALTIME, 1, "claim_suspects")
        self.claiming()
        if not self.left[flow]:
            return []
        self.left[flow] -= 1
        return [flow]


class Paused:
    def __init__(self, *flows: Flow) -> None:
        self._flows = frozenset(flows)

    def blocked(self) -> frozenset[Flow]:
        return self._flows


class Bench:
    """Trials of one worker, by a clock that goes as it is told."""

    def __init__(self, left: dict[Flow, int], paused: Paused | None = None) -> None:
        self.seconds = 100.0
        self.under_way: list[int] = []
        self.queue = Suspects(left)
        self.trials = Trials(
            cast("WorkQueue", self.queue), cast("Throttle", paused), self.under_way, POLL, lambda: self.seconds
        )

    async def after(self, seconds: float) -> Flow | None:
        """Of which flow the suspect is that is begun now."""
        self.seconds += seconds
        return cast("Flow | None", await self.trials.next())

    def ended(self, tried: Flow) -> None:
        self.trials.ended(cast("Claimed", tried))


async def test_nothing_is_begun_from_the_look_to_the_end_of_a_trial() -> None:
    bench = Bench({NOTES: 1})
    bench.under_way.append(1)
    assert await bench.after(0) is None
    assert bench.trials.alone()
    bench.under_way.clear()
    assert await bench.after(0.1) is NOTES
    assert bench.trials.alone()
    bench.ended(NOTES)
    assert not bench.trials.alone()


async def test_nothing_is_begun_while_a_suspect_is_claimed() -> None:
    bench = Bench({NOTES: 1})
    seen: list[bool] = []
    bench.queue.claiming = lambda: seen.append(bench.trials.alone())
    assert await bench.after(0) is NOTES
    assert seen == [True]


@pytest.mark.parametrize("waited", [0.5, POLL, ALONE, ALONE + 1])
async def test_a_suspect_that_another_worker_took_is_waited_for_no_more(waited: float) -> None:
    """And the next one is tried alone as well."""
    bench = Bench({NOTES: 1})
    bench.under_way.append(1)
    assert await bench.after(0) is None
    bench.queue.left[NOTES] = 0
    await bench.after(waited)
    await bench.after(POLL)
    assert not bench.trials.alone()
    bench.queue.left[NOTES] = 1
    for _ in range(3):
        assert await bench.after(POLL) is None
        assert bench.trials.alone()
    bench.under_way.clear()
    assert await bench.after(POLL) is NOTES


async def test_what_hangs_is_waited_for_no_longer_than_what_crashes_would_take() -> None:
    bench = Bench({NOTES: 1})
    bench.under_way.append(1)
    assert await bench.after(0) is None
    assert await bench.after(ALONE - 0.1) is None
    assert await bench.after(0.1) is NOTES
    # and neither is the suspect
    bench.seconds += ALONE - 0.1
    assert bench.trials.alone()
    bench.seconds += 0.1
    assert not bench.trials.alone()


async def test_everything_else_gets_as_much_time_as_the_trials() -> None:
    bench = Bench({NOTES: 9})
    for took in (0.3, 2.0):
        assert await bench.after(0) is NOTES
        bench.seconds += took
        bench.ended(NOTES)
        assert await bench.after(took - 0.01) is None
        assert not bench.trials.alone()
        bench.seconds += 0.01


async def test_a_trial_that_hangs_delays_the_next_one_no_longer_than_it_held_up_the_rest() -> None:
    bench = Bench({NOTES: 9})
    assert await bench.after(0) is NOTES
    bench.seconds += 600
    bench.ended(NOTES)
    assert await bench.after(ALONE - 0.1) is None
    assert await bench.after(0.1) is NOTES


async def test_flows_take_turns_and_those_whose_provider_takes_nothing_have_none() -> None:
    news, bills = Flow("pigeon", "news"), Flow("snail", "bills")
    bench = Bench({NOTES: 2, news: 1, bills: 1}, Paused(bills))
    tried = []
    for _ in range(4):
        one = await bench.after(0)
        tried.append(one)
        if one is not None:
            bench.ended(one)
    assert tried == [NOTES, news, NOTES, None]
    assert not bench.trials.alone()
    # nobody looks out for it until the provider takes something again
    assert not bench.trials.waiting
