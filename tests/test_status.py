"""Questions about events, answered exactly or refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from petitbleu import (
    AccessDenied,
    Comparison,
    Condition,
    Event,
    EventQuery,
    Junction,
    Operator,
    QueryRefused,
    Queue,
)
from petitbleu.lifecycle import SENT, statuses
from petitbleu.queue.queue import WorkQueue
from petitbleu.status import Status
from petitbleu.steps import Step
from petitbleu.store import KEY_MASK, Store, open_store
from petitbleu.store.payload import moment

READER = Operator("mc", frozenset({"read"}))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
async def world(store: Store) -> SimpleNamespace:
    """Three events: one sent, one being worked on, one waiting in the batch queue."""
    queue = WorkQueue(store, 2, 30)

    def event(name: str, **changes: Any) -> Event:
        values: dict[str, Any] = {"queue": Queue.REALTIME, "type": "order", "external_id": name, **changes}
        return Event(
            id=0,
            channel="email",
            data={},
            created=moment(store.now()),
            addresses={"email": f"{name}@example.com"},
            **values,
        )

    sent, busy = await queue.put([event("a%_"), event("b", type="reset")])
    (waiting,) = await queue.put([event("c", queue=Queue.BATCH)])
    claimed = {one.id: one for one in await queue.claim(Queue.REALTIME, 2)}
    await queue.record(Step(claimed[sent], SENT, "250 ok", "email", "order/email v3", attempts=1, at=store.now()))
    status = Status(store, 2, statuses({"sent": 20}), {"order": "shop", "reset": "outlet"}, UTC)
    return SimpleNamespace(store=store, status=status, sent=sent, busy=busy, waiting=waiting)


async def ids(world: SimpleNamespace, where: Condition | None = None, **changes: Any) -> list[int]:
    return [one.id for one in await world.status.find(EventQuery(where, **changes), READER)]


async def test_an_event_is_found_by_either_form_of_its_id(world: SimpleNamespace) -> None:
    for given in (world.sent, world.sent & KEY_MASK):
        (found,) = await world.status.find(EventQuery(Comparison("id", "=", (str(given),))), READER)
        assert (found.id, found.status, found.template, found.reason) == (
            world.sent,
            "sent",
            "order/email v3",
            "250 ok",
        )
        assert found.processed is not None
        assert found.processed >= found.created - timedelta(milliseconds=1)


async def test_a_leased_event_reads_as_processing(world: SimpleNamespace) -> None:
    assert await ids(world, Comparison("status", "=", ("processing",))) == [world.busy]
    assert await ids(world, Comparison("status", "=", ("pending",))) == [world.waiting]


@pytest.mark.parametrize("spelling", ["sent", "processed", "20"])
async def test_a_status_has_a_name_a_rest_name_and_the_configured_number(world: SimpleNamespace, spelling: str) -> None:
    assert await ids(world, Comparison("status", "=", (spelling,))) == [world.sent]


async def test_operators_and_junctions(world: SimpleNamespace) -> None:
    everything = [world.sent, world.busy, world.waiting]
    assert await ids(world) == everything
    assert await ids(world, queue=Queue.BATCH) == [world.waiting]
    assert await ids(world, order_by=(("id", True),), limit=2) == everything[:0:-1]
    assert await ids(world, offset=1, limit=1) == [world.busy]
    assert await ids(world, Comparison("externalId", "in", ("b", "c"))) == [world.busy, world.waiting]
    assert await ids(world, Comparison("externalId", "!=", ("b",))) == [world.sent, world.waiting]
    assert await ids(world, Comparison("email", "like", ("%@example.com",))) == everything
    assert await ids(world, Comparison("id", ">", (str(world.sent & KEY_MASK),))) == everything[1:]
    either = Junction("or", (Comparison("externalId", "=", ("c",)), Comparison("type", "=", ("reset",))))
    assert await ids(world, either) == [world.busy, world.waiting]
    both = Junction("and", (either, Comparison("errors", "=", ("0",)), Comparison("type", "=", ("order",))))
    assert await ids(world, both) == [world.waiting]
    assert await ids(world, Comparison("errors", "<", (str(1 << 40),))) == everything
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert await ids(world, Comparison("created", "<", (future,))) == everything
    assert await world.status.count(EventQuery(either), READER) == 2


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("b@%", ["b"]),
        ("_@example.com", ["b", "c"]),
        ("%", ["a%_", "b", "c"]),
        ("%%_@%", ["a%_", "b", "c"]),
        ("B@%", []),
        ("b\\", []),
        ("%\\", []),
        ("b\\@%", []),
        ("\\b@%", []),
        ("*", []),
        ("?@example.com", []),
        ("[bc]@example.com", []),
        ("b@%]", []),
    ],
)
async def test_only_percent_and_underscore_stand_for_others_in_a_like(
    world: SimpleNamespace, pattern: str, names: list[str]
) -> None:
    found = await world.status.find(EventQuery(Comparison("email", "like", (pattern,))), READER)
    assert [one.external_id for one in found] == names


@pytest.mark.parametrize("letter", ["[", "]", "*", "?", "\\", "^", "-"])
async def test_other_letters_of_a_like_stand_for_themselves(world: SimpleNamespace, letter: str) -> None:
    event = Event(
        0, "order", Queue.REALTIME, "email", {}, moment(world.store.now()), {"email": f"x{letter}y@b.example"}
    )
    (odd,) = await WorkQueue(world.store, 2, 30).put([event])
    assert await ids(world, Comparison("email", "like", (f"x{letter}y@%",))) == [odd]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (EventQuery(Comparison("email", "like", ("%" * 1001,))), "like takes up to 1000 characters"),
        (EventQuery(Comparison("colour", "=", ("x",))), "no readable attribute @colour"),
        (EventQuery(Comparison("extrnalId", "=", ("x",))), "did you mean 'externalId'"),
        (EventQuery(Comparison("id", "=", ("x",))), "@id: 'x' is not a whole number"),
        (EventQuery(Comparison("id", "=", ("9" * 30,))), "out of range"),
        (EventQuery(Comparison("created", ">", ("soon",))), "@created"),
        (EventQuery(Comparison("status", "=", ("99",))), "'99' is not a status"),
        (EventQuery(Comparison("created", "like", ("2026%",))), "like compares text"),
        (EventQuery(Comparison("status", "<", ("sent",))), "@status is compared by =, != and in, not by <"),
        (EventQuery(Junction("and", ())), "between 1 and 100 terms"),
        (EventQuery(order_by=(("ctx", False),)), "no readable attribute @ctx"),
        (EventQuery(limit=10**9), "number of lines"),
        (EventQuery(offset=-1), "number of lines"),
    ],
)
async def test_what_cannot_be_answered_exactly_is_refused(
    world: SimpleNamespace, query: EventQuery, words: str
) -> None:
    with pytest.raises(QueryRefused, match=words):
        await world.status.find(query, READER)


async def test_nothing_of_a_value_becomes_sql(world: SimpleNamespace) -> None:
    hostile = "x' OR '1'='1"
    for comparison in (Comparison("externalId", "=", (hostile,)), Comparison("externalId", "in", (hostile,))):
        assert await ids(world, comparison) == []


async def test_an_operator_sees_only_its_types_and_needs_the_right(world: SimpleNamespace) -> None:
    narrow = Operator("narrow", frozenset({"read"}), frozenset({"reset"}))
    assert [one.id for one in await world.status.find(EventQuery(), narrow)] == [world.busy]
    assert await world.status.count(EventQuery(), Operator("none", frozenset({"read"}), frozenset())) == 0
    outlet = Operator("outlet", frozenset({"read"}), brands=frozenset({"outlet"}))
    assert [one.id for one in await world.status.find(EventQuery(), outlet)] == [world.busy]
    with pytest.raises(AccessDenied):
        await world.status.find(EventQuery(), Operator("pusher", frozenset({"push"})))


class Planned:
    """In the place of a store: reads nothing, and keeps how it would."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.plan = ""

    async def read(self, sql: str, values: list[Any]) -> list[dict[str, Any]]:
        pieces = sql.split("?")
        async with self._store.transaction() as on:
            if self._store.dialect == "postgres":
                # of a small table the whole is read first
                await on.execute_query("SET LOCAL enable_seqscan = off")
                await on.execute_query("SET LOCAL enable_bitmapscan = off")
                sql = pieces[0] + "".join(f"${number}{piece}" for number, piece in enumerate(pieces[1:], 1))
                rows = await on.execute_query_dict("EXPLAIN " + sql, values)
            else:
                rows = await on.execute_query_dict("EXPLAIN QUERY PLAN " + sql, values)
        self.plan = "\n".join(str(row.get("detail") or row.get("QUERY PLAN")) for row in rows)
        return []


async def test_a_search_goes_by_an_index(store: Store) -> None:
    """What it costs among a million events, `python -m benchmarks search` tells."""
    planned = Planned(store)
    status = Status(planned, 2, statuses({}), {}, UTC)  # type: ignore[arg-type]
    found = {
        "externalId": "idx_events_externa",
        "email": "idx_events_email",
        "mobilePhone": "events_phone",
        "device": "events_device",
    }
    # SQLite compares in an index that is in order; PostgreSQL reads the whole table in parallel, or in order too
    listed = "events_search" if store.dialect == "sqlite" else "idx_events_created"
    others = ("type", "channel", "origin", "template", "feedback", "brand", "cause", "processed", "created")
    for attribute in ("", *found, *others, "status"):
        value = {"processed": "2026-11-20T09:00Z", "created": "2026-11-20T09:00Z", "status": "failed"}.get(
            attribute, "x"
        )
        where = Comparison(attribute, "<" if attribute in ("processed", "created") else "=", (value,))
        await status.newest(EventQuery(where if attribute else None, limit=51), READER)
        index = found.get(attribute, listed)
        assert re.search(rf"(USING INDEX|Index Scan( Backward)? using) {index}", planned.plan), (
            f"{attribute}:\n{planned.plan}"
        )
        assert "TEMP B-TREE" not in planned.plan or attribute in found
