"""What operators do to events: cancel, retry, resend; on a real database, with workers in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from petitbleu import AccessDenied, Event, Operator, Outcome, Queue, Unavailable, hookimpl
from petitbleu.audit import recorded
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import Loaded, load
from petitbleu.lifecycle import EXPIRED, FAILED, IGNORED, NOT_COVERED, PENDING, SENT
from petitbleu.operating import Actor, Done
from petitbleu.operations.operations import MEANWHILE, Operations
from petitbleu.queue.queue import WorkQueue
from petitbleu.steps import AttemptRecord, Claimed, Step
from petitbleu.store import KEY_MASK, Store, open_store
from petitbleu.store.payload import micros, moment

ANN = Actor(Operator("ann", frozenset({"admin"})), "cli")
LEASE = 30.0
LIFETIME = timedelta(hours=48)
PENDING_MOST = 100


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[int, str, str]] = []

    @hookimpl
    async def petitbleu_event_accepted(self, event: Event) -> None:
        self.heard.append((event.id, "accepted", ""))

    @hookimpl
    async def petitbleu_outcome_recorded(self, event: Event, status: str, outcome: Outcome | None, reason: str) -> None:
        self.heard.append((event.id, status, reason))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def queue(store: Store) -> WorkQueue:
    return WorkQueue(store, 3, LEASE, {"order": 3600.0})


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def operations(store: Store, listener: Listener) -> Operations:
    loaded: Loaded = load([], [])
    loaded.add_core(listener)
    copies = WorkQueue(store, 3, LEASE)
    brands = {"order": "shop"}
    return Operations(store, copies, Calls(loaded, 1.0), 3, brands, LIFETIME, PENDING_MOST, store.now, time.monotonic)


def event(store: Store, **changes: Any) -> Event:
    made = Event(
        id=0,
        type="order",
        queue=Queue.BATCH,
        channel="email",
        data={"ctx": {"name": "Zoé"}},
        created=moment(store.now()),
        addresses={"email": "zoe@example.com"},
        external_id="A-1",
        origin="shop",
        priority=3,
        expiration=moment(store.now()) + timedelta(hours=1),
    )
    return replace(made, **changes)


async def claim(queue: WorkQueue) -> Claimed:
    await queue.promote()
    (claimed,) = await queue.claim(Queue.BATCH, 1)
    return claimed


def step(claimed: Claimed, status: str, store: Store, due: int | None = None) -> Step:
    number = claimed.attempts + 1
    outcome = "delivered" if status == SENT else "failed"
    attempt = AttemptRecord(number, "sms", "main", "t", store.now(), store.now(), outcome, text="words")
    return Step(
        claimed, status, "words", "sms", "t", tries=1, attempts=number, due=due, attempt=attempt, at=store.now()
    )


async def ended(store: Store, queue: WorkQueue, status: str, **changes: Any) -> int:
    (event_id,) = await queue.put([event(store, external_id="", **changes)])
    assert await queue.record(step(await claim(queue), status, store))
    return event_id


async def row(store: Store, event_id: int) -> dict[str, Any]:
    return (await store.read("SELECT * FROM events WHERE id = ?", [event_id]))[0]


async def queued(store: Store) -> list[int]:
    return [one["id"] for one in await store.read("SELECT id FROM queue ORDER BY id", [])]


# ------------------------------------------------------------------------------------------------------------- cancel


async def test_what_waits_is_cancelled_and_never_claimed(
    store: Store, queue: WorkQueue, operations: Operations, listener: Listener
) -> None:
    later = moment(store.now()) + timedelta(minutes=10)
    now, scheduled = await queue.put([event(store, external_id="a"), event(store, external_id="b", scheduled=later)])
    assert await operations.cancel([now, scheduled], ANN) == [
        Done(now, True, "is cancelled"),
        Done(scheduled, True, "is cancelled"),
    ]
    for one in (now, scheduled):
        found = await row(store, one)
        assert (found["status"], found["reason"]) == (IGNORED, "cancelled by ann")
        assert abs(found["processed"] - store.now()) < 5_000_000
        assert found["process_requested"] is None
    await store.shift_clock(601)
    await queue.promote()
    assert await queue.claim(Queue.BATCH, 9) == []
    assert listener.heard == [(one, IGNORED, "cancelled by ann") for one in (now, scheduled)]


async def test_what_is_being_sent_is_not_cancelled(store: Store, queue: WorkQueue, operations: Operations) -> None:
    (event_id,) = await queue.put([event(store)])
    claimed = await claim(queue)
    assert await operations.cancel([event_id], ANN) == [Done(event_id, False, "is being sent")]
    await queue.hand_off(claimed, "main")
    await store.shift_clock(LEASE + 1)
    await queue.rescue()
    (answer,) = await operations.cancel([event_id], ANN)
    assert (answer.ok, answer.text.partition(";")[0]) == (False, "may be with main already")
    assert await queued(store) == [event_id]
    # its worker is still the one to tell how it ended
    assert await queue.record(step(await claim(queue), SENT, store))
    assert await operations.cancel([event_id], ANN) == [Done(event_id, False, "is sent already")]


async def test_a_claim_that_comes_between_wins(
    store: Store, queue: WorkQueue, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    (event_id,) = await queue.put([event(store)])
    look = operations._look

    async def claimed_after_the_look(ids: Any) -> Any:
        found = await look(ids)
        await claim(queue)
        return found

    monkeypatch.setattr(operations, "_look", claimed_after_the_look)
    assert await operations.cancel([event_id], ANN) == [Done(event_id, False, MEANWHILE)]
    assert (await row(store, event_id))["status"] == PENDING


async def test_cancel_against_claim_one_of_them_has_it(store: Store, queue: WorkQueue, operations: Operations) -> None:
    ids = await queue.put([event(store, external_id=str(n)) for n in range(60)])
    claiming = asyncio.gather(*(queue.claim(Queue.BATCH, 5) for _ in range(6)))
    answers, claims = await asyncio.gather(operations.cancel(ids, ANN), claiming)
    cancelled = {one.id for one in answers if one.ok}
    claimed = [one.id for batch in claims for one in batch]
    assert not cancelled & set(claimed)
    assert sorted([*cancelled, *(one.id for one in await queue.claim(Queue.BATCH, 100)), *claimed]) == ids


# -------------------------------------------------------------------------------------------------------------- retry


async def test_a_waiting_event_is_due_now(store: Store, queue: WorkQueue, operations: Operations) -> None:
    (event_id,) = await queue.put([event(store)])
    assert await operations.retry([event_id], ANN) == [Done(event_id, False, "is due already")]
    await queue.record(step(await claim(queue), PENDING, store, due=store.now() + 600_000_000))
    (answer,) = await operations.retry([event_id], ANN)
    assert answer.ok
    assert answer.text.startswith("is tried now rather than at ")
    assert (await row(store, event_id))["process_requested"] <= store.now() + 1_000_000
    again = await claim(queue)
    assert (again.id, again.tries, again.attempts) == (event_id, 1, 1)
    assert await operations.retry([event_id], ANN) == [Done(event_id, False, "is being sent")]


async def test_what_a_worker_handed_off_meanwhile_waits_for_its_receipt(
    store: Store, queue: WorkQueue, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    (event_id,) = await queue.put([event(store)])
    await queue.record(step(await claim(queue), PENDING, store, due=store.now() + 600_000_000))
    look = operations._look

    async def handed_off_after_the_look(ids: Any) -> Any:
        found = await look(ids)
        await store.connection.execute_script("UPDATE queue SET due = 5")
        claimed = await claim(queue)
        await queue.hand_off(claimed, "main")
        claimed = replace(claimed, handed_off="main")
        await queue.record(replace(step(claimed, PENDING, store, due=store.now() + 600_000_000), handed_off="main"))
        return found

    monkeypatch.setattr(operations, "_look", handed_off_after_the_look)
    assert await operations.retry([event_id], ANN) == [Done(event_id, False, MEANWHILE)]
    assert await queue.promote() is not None
    assert await queue.claim(Queue.BATCH, 1) == []


async def test_nothing_is_sent_before_its_scheduled_time(
    store: Store, queue: WorkQueue, operations: Operations
) -> None:
    when = moment(store.now()) + timedelta(minutes=10)
    (event_id,) = await queue.put([event(store, scheduled=when)])
    (answer,) = await operations.retry([event_id], ANN)
    assert (answer.ok, answer.text) == (
        False,
        f"is scheduled for {when:%Y-%m-%d %H:%M:%S} UTC, and nothing is sent before",
    )
    await operations.cancel([event_id], ANN)
    (answer,) = await operations.retry([event_id], ANN)
    assert answer.text == f"was ignored, is tried at {when:%Y-%m-%d %H:%M:%S} UTC, as scheduled"
    assert await queue.promote() == micros(when)
    assert await queue.claim(Queue.BATCH, 1) == []


@pytest.mark.parametrize("status", [FAILED, EXPIRED, NOT_COVERED, IGNORED])
async def test_an_ended_event_lives_again(store: Store, queue: WorkQueue, operations: Operations, status: str) -> None:
    event_id = await ended(store, queue, status)
    assert await operations.retry([event_id & KEY_MASK], ANN) == [Done(event_id, True, f"was {status}, is tried now")]
    found = await row(store, event_id)
    assert (found["status"], found["reason"], found["processed"]) == (PENDING, "put back by ann", None)
    assert found["channel"] == "email"
    again = await claim(queue)
    assert (again.event.priority, again.tries, again.attempts, again.unknowns, again.crashes) == (3, 0, 1, 0, 0)
    assert again.expires == micros(again.event.expiration) if again.event.expiration else False
    assert await queue.record(step(again, SENT, store))
    numbers = await store.read("SELECT number FROM attempts WHERE event = ? ORDER BY id", [event_id])
    assert [one["number"] for one in numbers] == [1, 2]
    assert (await row(store, event_id))["status"] == SENT
    (answer,) = await operations.retry([event_id], ANN)
    assert (answer.ok, answer.text) == (False, "is sent; resend makes a new event of it")


async def test_past_its_expiration_it_gets_a_new_lifetime(
    store: Store, queue: WorkQueue, operations: Operations
) -> None:
    event_id = await ended(store, queue, EXPIRED)
    (waiting,) = await queue.put([event(store)])
    await queue.record(step(await claim(queue), PENDING, store, due=store.now() + 7200_000_000))
    await store.shift_clock(3700)
    for answer in await operations.retry([event_id, waiting], ANN):
        assert "; its expiration passed at " in answer.text
        assert ", it now has until " in answer.text
    for again in await queue.claim(Queue.BATCH, 2):
        assert again.expires is not None
        assert abs(again.expires - store.now() - LIFETIME.total_seconds() * 1e6) < 5e6
        await queue.hand_off(again, "main")


async def test_two_operators_put_it_back_once(store: Store, queue: WorkQueue, operations: Operations) -> None:
    ids = [await ended(store, queue, FAILED) for _ in range(3)]
    both = await asyncio.gather(*(operations.retry(ids, ANN) for _ in range(4)))
    for place, event_id in enumerate(ids):
        assert sum(answer[place].ok for answer in both) == 1
        assert event_id in await queued(store)
    assert await queued(store) == ids


# ------------------------------------------------------------------------------------------------------------- resend


async def test_a_copy_is_an_event_of_its_own(
    store: Store, queue: WorkQueue, operations: Operations, listener: Listener
) -> None:
    (first,) = await queue.put([event(store)])
    await queue.record(step(await claim(queue), SENT, store))
    await store.shift_clock(3700)
    (answer,) = await operations.resend([first], ANN)
    assert answer.ok
    assert answer.new_id is not None
    assert answer.new_id != first
    assert "its expiration passed" in answer.text
    copy = await claim(queue)
    assert copy.id == answer.new_id
    assert copy.event.data == {"ctx": {"name": "Zoé"}}
    assert (copy.event.external_id, copy.event.origin, copy.event.priority) == ("A-1", "shop", 3)
    assert copy.event.expiration is not None
    assert copy.event.expiration - copy.event.created == LIFETIME
    assert (copy.tries, copy.attempts) == (0, 0)
    assert (await row(store, first))["status"] == SENT
    assert listener.heard == [(copy.id, "accepted", "")]


async def test_a_copy_leaves_its_originals_key_alone(store: Store, queue: WorkQueue, operations: Operations) -> None:
    original = event(store)
    (first,) = await queue.put([original])
    (answer,) = await operations.resend([first], ANN)
    assert answer.new_id != first
    assert await queue.put([original]) == [first]


# --------------------------------------------------------------------------------------------------------------- all


async def test_what_is_no_id_of_a_row_is_no_event(operations: Operations) -> None:
    for number in (-(1 << 64), -1, 1 << 63, 1 << 64):
        for operation in (operations.cancel, operations.retry, operations.hold):
            assert await operation([number], ANN) == [Done(number, False, "there is no such event", missing=True)]


@pytest.mark.parametrize("operation", [Operations.cancel, Operations.retry, Operations.resend])
async def test_a_rehearsal_says_the_same_and_changes_nothing(
    store: Store, queue: WorkQueue, operations: Operations, operation: Any
) -> None:
    failed = await ended(store, queue, FAILED)
    waiting, other = await queue.put([event(store, external_id=""), event(store, external_id="")])
    ids = [failed, waiting, other, 999]
    before = [await store.read(f"SELECT * FROM {name} ORDER BY id", []) for name in ("events", "queue", "payloads")]
    rehearsed = await operation(operations, ids, ANN, rehearsal=True)
    after = [await store.read(f"SELECT * FROM {name} ORDER BY id", []) for name in ("events", "queue", "payloads")]
    assert before == after
    assert [one.id for one in rehearsed] == [failed, waiting, other, 3 << 56 | 999]
    assert rehearsed[3] == Done(3 << 56 | 999, False, "there is no such event", missing=True)
    done = await operation(operations, ids, ANN)
    assert [replace(one, new_id=None) for one in done] == rehearsed


def narrowed(**reach: frozenset[str]) -> Actor:
    return Actor(replace(ANN.operator, **reach), "cli")  # type: ignore[arg-type]  # mypy takes it for any field


@pytest.mark.parametrize("action", ["cancel", "hold", "release", "resend", "retry", "put back"])
async def test_every_change_is_audited_with_its_event(
    store: Store, queue: WorkQueue, operations: Operations, action: str
) -> None:
    (event_id,) = await queue.put([event(store)])
    zoe = Actor(Operator("zoe", frozenset({"admin"})), "rest", "192.0.2.7")
    if action == "release":
        await operations.hold([event_id], ANN)
    elif action == "retry":
        await queue.record(step(await claim(queue), PENDING, store, due=store.now() + 600_000_000))
    elif action == "put back":
        await queue.record(step(await claim(queue), FAILED, store))
    word = "retry" if action == "put back" else action
    operation = getattr(operations, word)
    await operation([event_id, 999], zoe, reason="as asked", rehearsal=True)
    assert await recorded(store, by="zoe") == []
    (done, _) = await operation([event_id, 999], zoe, reason="as asked")
    assert done.ok
    (entry,) = await recorded(store, by="zoe")
    assert (entry.action, entry.object) == (f"events.{word}", f"event/{event_id}")
    assert (entry.origin, entry.address) == ("rest", "192.0.2.7")
    more = {"resend": {"new_id": done.new_id}, "put back": {"was": FAILED}}.get(action, {})
    assert entry.detail == {**more, "reason": "as asked"}


async def test_rights_and_their_reach(store: Store, queue: WorkQueue, operations: Operations) -> None:
    (event_id,) = await queue.put([event(store)])
    with pytest.raises(AccessDenied):
        await operations.cancel([event_id], Actor(Operator("bob", frozenset({"push", "read", "publish"})), "cli"))
    for narrow in (narrowed(event_types=frozenset({"other"})), narrowed(brands=frozenset({"outlet"}))):
        (answer,) = await operations.cancel([event_id], narrow)
        assert (answer.ok, answer.missing) == (False, True)
    assert (await operations.cancel([event_id], narrowed(brands=frozenset({"shop"}))))[0].ok


async def test_an_event_whose_payload_is_gone(store: Store, queue: WorkQueue, operations: Operations) -> None:
    event_id = await ended(store, queue, FAILED)
    await store.connection.execute_script(f"DELETE FROM payloads WHERE id = {event_id}")
    gone = "what the caller sent is not kept any more, or cannot be read"
    assert await operations.retry([event_id], ANN) == [Done(event_id, False, gone)]
    assert await operations.resend([event_id], ANN) == [Done(event_id, False, gone)]


async def test_an_event_that_cannot_be_read_can_be_paused_released_and_cancelled(
    store: Store, queue: WorkQueue, operations: Operations
) -> None:
    (event_id,) = await queue.put([event(store)])
    await store.connection.execute_script(f"UPDATE payloads SET body = '{{' WHERE id = {event_id}")
    for operation in (operations.hold, operations.release, operations.cancel):
        assert (await operation([event_id], ANN))[0].ok
    (answer,) = await operations.resend([event_id], ANN)
    assert (answer.ok, "cannot be read" in answer.text) == (False, True)


async def test_a_full_queue_takes_no_more(store: Store, queue: WorkQueue, operations: Operations) -> None:
    failed = [await ended(store, queue, FAILED) for _ in range(2)]
    await queue.put([event(store, external_id="") for _ in range(PENDING_MOST - 1)])
    for operation in (operations.retry, operations.resend):
        with pytest.raises(Unavailable, match=r"2 events more do not fit into the queue \(99/100\)"):
            await operation(failed, ANN)
    assert (await operations.retry(failed[:1], ANN))[0].ok
