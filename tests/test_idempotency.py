"""Events that come twice: one row, one id, whoever asks at the same time and in whatever process."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from old_tables import migrate_to
from petitbleu import Event, EventsRefused, IncomingEvent, KeyReused, Operator, Queue, Unavailable, hookimpl
from petitbleu.channels import wishes
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import Loaded, load
from petitbleu.intake.intake import Intake, Limits, TypeRules
from petitbleu.queue.idempotency import CallKey, First, Stored, propose, propose_call, resolve
from petitbleu.queue.queue import WorkQueue
from petitbleu.store import Store, migrate, open_store
from petitbleu.store.payload import moment

WINDOW = 3600.0
OPERATOR = Operator("mc", frozenset({"push"}))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def queue(store: Store) -> WorkQueue:
    return WorkQueue(store, 1, 30, {"order": WINDOW})


def event(store: Store, external_id: str, **changes: Any) -> Event:
    made = Event(
        id=0,
        type="order",
        queue=Queue.REALTIME,
        channel="email",
        data={"ctx": {"total": "12"}},
        created=moment(store.now()),
        addresses={"email": "zoe@example.com"},
        external_id=external_id,
        origin="shop",
    )
    return replace(made, **changes)


async def stored(store: Store) -> list[int]:
    rows = await store.read("SELECT id, external_id FROM events ORDER BY id", [])
    for table in ("queue", "payloads"):
        there = await store.read(f"SELECT id FROM {table} ORDER BY id", [])
        assert [row["id"] for row in there] == [row["id"] for row in rows]
    return [row["id"] for row in rows]


async def keys(store: Store) -> int:
    return int((await store.read("SELECT count(*) AS n FROM idempotency", []))[0]["n"])


async def test_a_repeat_gets_the_first_id_and_is_no_new_event(store: Store, queue: WorkQueue) -> None:
    (first,) = await queue.put([event(store, "A")])
    await store.shift_clock(60)
    assert await queue.store([event(store, "A")]) == [Stored(first, fresh=False)]
    assert await stored(store) == [first]
    assert await queue.depth.count(time.monotonic) == 1


@pytest.mark.parametrize(
    ("changes", "distinct"),
    [({"origin": "outlet"}, 2), ({"external_id": "B"}, 2), ({"type": "other"}, 3), ({"external_id": ""}, 3)],
)
async def test_another_key_is_another_event(
    store: Store, queue: WorkQueue, changes: dict[str, Any], distinct: int
) -> None:
    """A type without a window and an event without externalId have no key: each of them is an event of its own."""
    other = replace(event(store, "A"), **changes)
    assert len(set(await queue.put([event(store, "A"), other, other]))) == distinct


@pytest.mark.parametrize("changes", [{"data": {"ctx": {"total": "13"}}}, {"queue": Queue.BATCH}])
async def test_other_content_under_a_key_is_refused(store: Store, queue: WorkQueue, changes: dict[str, Any]) -> None:
    (first,) = await queue.put([event(store, "A")])
    with pytest.raises(EventsRefused) as refused:
        await queue.put([event(store, "new"), event(store, "A", **changes)])
    assert str(refused.value) == (
        f"event 2 (externalId A): externalId: is that of event {first}, whose content differs; "
        "a new event needs an externalId of its own"
    )
    assert await stored(store) == [first]
    # what the refused call proposed is free
    (second,) = await queue.put([event(store, "new", data={"ctx": {"total": "99"}})])
    assert second != first


async def test_the_order_of_attributes_is_no_content(store: Store, queue: WorkQueue) -> None:
    one = event(store, "A", data={"a": "1", "b": {"@x": "1", "@y": "2"}})
    other = event(store, "A", data={"b": {"@y": "2", "@x": "1"}, "a": "1"})
    (first,) = await queue.put([one])
    assert await queue.put([other]) == [first]


async def test_twins_in_one_call(store: Store, queue: WorkQueue) -> None:
    a, b, c, again = await queue.put([event(store, "A"), event(store, "B"), event(store, "C"), event(store, "B")])
    assert again == b
    assert await stored(store) == [a, b, c]
    with pytest.raises(EventsRefused, match=r"event 2 \(externalId D\): externalId: is that of event 1 of this call"):
        await queue.put([event(store, "D"), event(store, "D", data={})])
    assert len(await stored(store)) == 3


async def test_past_the_window_the_key_is_free_and_the_row_is_replaced(store: Store, queue: WorkQueue) -> None:
    (first,) = await queue.put([event(store, "A")])
    await store.shift_clock(WINDOW - 10)
    assert await queue.put([event(store, "A")]) == [first]
    await store.shift_clock(20)
    # a repeat did not prolong the window
    (second,) = await queue.put([event(store, "A", data={"ctx": {}})])
    assert second != first
    assert await queue.put([event(store, "A", data={"ctx": {}})]) == [second]
    assert await keys(store) == 1


async def test_keys_past_their_window_leave(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store, f"old {n}") for n in range(30)])
    await store.shift_clock(WINDOW + 10)
    for n in range(20):
        await queue.put([event(store, f"new {n}")])
    assert await keys(store) == 20


async def test_concurrent_twins_make_one_row(store: Store, queue: WorkQueue) -> None:
    answers = await asyncio.gather(*(queue.put([event(store, "A"), event(store, "B")]) for _ in range(50)))
    assert all(answer == answers[0] for answer in answers)
    assert await stored(store) == answers[0]


async def test_a_conflict_costs_the_calls_beside_it_nothing(store: Store, queue: WorkQueue) -> None:
    other = {"ctx": {"total": "13"}}
    calls = [
        [event(store, "A")],
        [event(store, "fresh"), event(store, "A", data=other)],
        [event(store, "fresh", data=other)],
        [event(store, "A")],
        [event(store, "B")],
    ]
    first, refused, fresh, again, beside = await asyncio.gather(
        *(queue.put(call) for call in calls), return_exceptions=True
    )
    assert isinstance(refused, EventsRefused)
    assert [problem.position for problem in refused.problems] == [2]
    assert again == first
    ids = [one for answer in (first, fresh, beside) if isinstance(answer, list) for one in answer]
    assert await stored(store) == sorted(ids)
    assert len(ids) == 3


PUSHER = """
import asyncio, sys
from datetime import UTC, datetime
from petitbleu import Event, Queue
from petitbleu.queue.queue import WorkQueue
from petitbleu.store import open_store

async def main(url):
    async with open_store(url) as store:
        queue = WorkQueue(store, 1, 30, {"order": 3600.0})
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for n in range(0, 60, 3):
            calls = [[Event(0, "order", Queue.REALTIME, "email", {}, datetime.now(UTC), external_id=f"K{n + k}")]
                     for k in range(3)]
            for ids in await asyncio.gather(*map(queue.put, calls)):
                print(ids[0], flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def test_twins_in_several_processes_make_one_row(store: Store, database_url: str) -> None:
    pushers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUSHER, database_url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    async with asyncio.timeout(60):
        for pusher in pushers:
            assert pusher.stdout is not None
            assert await pusher.stdout.readline() == b"ready\n"
        ended = await asyncio.gather(*(pusher.communicate(b"go\n") for pusher in pushers))
    answers = [[int(line) for line in out.split()] for out, _ in ended]
    assert answers[0] == answers[1] == answers[2]
    assert await stored(store) == sorted(answers[0])
    assert len(answers[0]) == 60


async def test_many_queues_over_the_same_keys_neither_lose_nor_lock_up(store: Store) -> None:
    """Each has a transaction of its own; the keys come in every order, while others leave."""
    queues = [WorkQueue(store, 1, 30, {"order": WINDOW}) for _ in range(6)]
    await queues[0].put([event(store, f"old {n}") for n in range(100)])
    await store.shift_clock(WINDOW + 10)
    before = len(await stored(store))
    order = random.Random(4)

    def call() -> list[Event]:
        # keys that are new to all, and keys whose time is over
        return [event(store, f"{kind} {n}") for kind in ("old", "new") for n in order.sample(range(30), 8)]

    calls = [(queue, call()) for _ in range(10) for queue in queues]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(queue.put(events) for queue, events in calls))
    ids: dict[str, set[int]] = {}
    for (_, events), answer in zip(calls, answers, strict=True):
        for one, event_id in zip(events, answer, strict=True):
            ids.setdefault(one.external_id, set()).add(event_id)
    assert all(len(found) == 1 for found in ids.values())
    assert len(await stored(store)) == before + len(ids)


async def test_a_filled_database_learns_of_keys(empty_database_url: str) -> None:
    async with open_store(empty_database_url) as store:
        await migrate_to(store, "0001_initial")
        old = list(range(1, 101))
        for one in old:
            await store.connection.execute_script(
                "INSERT INTO events (id, type, lane, channel, status, created, external_id, origin) "
                f"VALUES ({one}, 'order', 0, 'email', 'sent', 0, 'A', 'shop')"
            )
        assert (await migrate(store))[0] == "0002_idempotency"
        queue = WorkQueue(store, 1, 30, {"order": WINDOW})
        (first,) = await queue.put([event(store, "A")])
        assert await queue.put([event(store, "A")]) == [first]
        rows = await store.read("SELECT id FROM events ORDER BY id", [])
        assert [row["id"] for row in rows] == [*old, first]


calls_of = st.lists(
    st.tuples(
        st.sampled_from(["", "", "P", "Q"]),
        st.lists(st.tuples(st.sampled_from(["A", "B", "C", ""]), st.sampled_from("12")), min_size=1, max_size=4),
    )
)


@given(calls_of)
def test_a_key_stands_for_one_content_and_one_id(calls: list[tuple[str, list[tuple[str, str]]]]) -> None:
    created = moment(1_000_000)
    numbers = iter(range(1, 1000))
    proposed = [
        propose_call(
            [
                propose(
                    next(numbers),
                    Event(0, "order", Queue.REALTIME, "email", {"n": content}, created, external_id=key),
                    {"order": 5},
                )
                for key, content in call
            ],
            CallKey("mc", name) if name else None,
            5,
        )
        for name, call in calls
    ]
    known = {proposed[0].events[0].key: First(777, "earlier")} if proposed and proposed[0].events[0].key else {}
    answers = resolve(proposed, known)
    meaning = {key: (first.id, first.digest) for key, first in known.items()}
    whole: dict[str, tuple[str, list[int]]] = {}
    for call, answer in zip(proposed, answers, strict=True):
        if call.key in whole:
            digest, ids = whole[call.key]
            if digest == call.digest:
                assert answer == [Stored(number, fresh=False) for number in ids]
            else:
                assert isinstance(answer, KeyReused)
            continue
        if isinstance(answer, EventsRefused):
            contents = {key: {digest} for key, (_, digest) in meaning.items()}
            for one in call.events:
                contents.setdefault(one.key, set()).add(one.digest)
            assert any(one.key and len(contents[one.key]) > 1 for one in call.events)
            continue
        if call.key:
            whole[call.key] = call.digest, [one.id for one in answer]
        for one, given_id in zip(call.events, answer, strict=True):
            assert given_id.fresh == (one.key not in meaning)
            if one.key:
                assert meaning.setdefault(one.key, (one.id, one.digest)) == (given_id.id, one.digest)


# -------------------------------------------------------------------------------------------------- the key of a call


async def test_a_call_that_comes_again_gets_the_ids_it_got_first(store: Store, queue: WorkQueue) -> None:
    last = {"ctx": {"total": "13"}}
    events = [event(store, "", type="other"), event(store, "A"), event(store, "", type="other", data=last)]
    first = await queue.store(events, CallKey("mc", "monday"))
    assert [one.fresh for one in first] == [True] * 3
    again = await WorkQueue(store, 1, 30, {"order": WINDOW}).store(events, CallKey("mc", "monday"))
    assert again == [Stored(one.id, fresh=False) for one in first]
    assert await stored(store) == [one.id for one in first]
    for fewer in (events[:1], [*events, event(store, "B")], events[::-1]):
        with pytest.raises(KeyReused, match="is that of an earlier one with other events"):
            await queue.store(fewer, CallKey("mc", "monday"))
    # the same word of another operator is another key
    other = await queue.store(events[:1], CallKey("shop", "monday"))
    assert other[0].fresh
    assert await queue.known(events, CallKey("mc", "monday")) == 3
    assert await queue.known(events, CallKey("mc", "tuesday")) == 1


async def test_a_call_whose_key_is_over_is_a_new_one(store: Store) -> None:
    queue = WorkQueue(store, 1, 30, call_window=60)
    (first,) = await queue.store([event(store, "A")], CallKey("mc", "monday"))
    await store.shift_clock(61)
    (second,) = await queue.store([event(store, "B")], CallKey("mc", "monday"))
    assert second.fresh
    assert await stored(store) == [first.id, second.id]


async def test_a_refused_call_leaves_its_key_free(store: Store, queue: WorkQueue) -> None:
    await queue.store([event(store, "A")])
    clash = [event(store, "A", data={"ctx": {"total": "13"}})]
    with pytest.raises(EventsRefused, match="whose content differs"):
        await queue.store(clash, CallKey("mc", "monday"))
    (stored_now,) = await queue.store([event(store, "B")], CallKey("mc", "monday"))
    assert stored_now.fresh


async def test_twins_of_a_call_are_one_call(store: Store) -> None:
    """Whichever process and commit they come in."""
    queues = [WorkQueue(store, 1, 30) for _ in range(2)]
    events = [event(store, ""), event(store, "")]
    calls = (one.store(events, CallKey("mc", "monday")) for one in queues for _ in range(5))
    answers = await asyncio.gather(*calls)
    assert len({tuple(one.id for one in answer) for answer in answers}) == 1
    assert sum(one.fresh for answer in answers for one in answer) == 2
    assert len(await stored(store)) == 2


# --------------------------------------------------------------------------------------------------- through the door


class Listener:
    """Hears which events were accepted."""

    def __init__(self) -> None:
        self.accepted: list[int] = []

    @hookimpl
    async def petitbleu_event_accepted(self, event: Event) -> None:
        self.accepted.append(event.id)


@pytest.fixture
def door(store: Store, queue: WorkQueue) -> Callable[[Listener], Intake]:
    def make(listener: Listener, pending: int = 2000) -> Intake:
        loaded: Loaded = load([], [])
        loaded.add_core(listener)
        limits = Limits(1000, pending, 4096, 100_000, timedelta(days=2), 5.0)
        types = {"order": TypeRules(repeatable=True), "other": TypeRules()}
        return Intake(queue, Calls(loaded, 1.0), types, wishes([]), limits, UTC, store.now, time.monotonic)

    return make


async def test_observers_hear_of_an_event_once(store: Store, door: Callable[[Listener], Intake]) -> None:
    listener = Listener()
    intake = door(listener)
    given = {"type": "order", "email": "zoe@example.com", "externalId": "A", "origin": "shop"}
    first = await intake([IncomingEvent(Queue.REALTIME, given, {"ctx": {"a": "1"}})], OPERATOR)
    await store.shift_clock(30)  # the default expiration moves on, which is no other content
    spelled = {name.upper(): value for name, value in given.items()}
    assert await intake([IncomingEvent(Queue.REALTIME, spelled, {"CTX": {"a": "1"}})], OPERATOR) == first
    with pytest.raises(EventsRefused, match=f"externalId: is that of event {first[0]}, whose content differs"):
        await intake([IncomingEvent(Queue.REALTIME, given, {"ctx": {"a": "2"}})], OPERATOR)
    await intake.settle()
    assert listener.accepted == first


async def test_a_repeat_may_come_after_its_expiration(store: Store, door: Callable[[Listener], Intake]) -> None:
    intake = door(Listener())
    end = (moment(store.now()) + timedelta(minutes=1)).isoformat()

    def late(external_id: str) -> IncomingEvent:
        given = {"type": "order", "email": "zoe@example.com", "externalId": external_id, "expiration": end}
        return IncomingEvent(Queue.REALTIME, {name: value for name, value in given.items() if value})

    first = await intake([late("A")], OPERATOR)
    await store.shift_clock(120)
    assert await intake([late("A")], OPERATOR) == first
    for external_id in ("B", ""):
        with pytest.raises(EventsRefused, match=r"event 1.*: expiration: has passed"):
            await intake([late(external_id)], OPERATOR)
    assert await stored(store) == first


async def test_a_full_queue_still_answers_what_it_has(store: Store, door: Callable[..., Intake]) -> None:
    """A repeat takes no room: it gets its first id, and only what is new is refused."""
    intake = door(Listener(), pending=3)

    def order(external_id: str, total: str = "12", event_type: str = "order") -> IncomingEvent:
        given = {"type": event_type, "email": "zoe@example.com", "externalId": external_id}
        return IncomingEvent(Queue.REALTIME, given, {"ctx": {"total": total}})

    first = await intake([order("A"), order("B")], OPERATOR)
    # one place is left, which is enough for these three
    assert (await intake([order("A"), order("B"), order("C")], OPERATOR))[:2] == first
    assert await intake([order("B"), order("A")], OPERATOR) == first[::-1]
    for more in ([order("D")], [order("A"), order("D")], [order("A", event_type="other")], [order("")]):
        with pytest.raises(Unavailable, match=r"The queue is full \(3/3\)"):
            await intake(more, OPERATOR)
    with pytest.raises(EventsRefused, match="whose content differs"):
        await intake([order("A", total="13")], OPERATOR)
    await store.shift_clock(WINDOW + 1)
    with pytest.raises(Unavailable):
        await intake([order("A")], OPERATOR)
    assert len(await stored(store)) == 3
