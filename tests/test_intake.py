"""The door: what is let in and how it is read, and that every problem of every event is named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from petitbleu import (
    AccessDenied,
    Channel,
    Event,
    EventsRefused,
    IncomingEvent,
    Operator,
    Queue,
    Reject,
    Settings,
    Unavailable,
    element_data,
    hookimpl,
    parse_xml,
)
from petitbleu.channels import wishes
from petitbleu.hosting.calling import HookFailed
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import Loaded, load
from petitbleu.intake.contract import Contract
from petitbleu.intake.gate import Gate
from petitbleu.intake.intake import Intake, Limits, TypeRules
from petitbleu.metrics import Metrics
from petitbleu.queue.queue import WorkQueue
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment

OPERATOR = Operator("mc", frozenset({"push"}))
TYPES = {
    "password_reset": TypeRules("shop"),
    "order_confirmation": TypeRules(
        "shop", Contract({"order.number": "text", "order.line.price": "number", "order.line": "list"}, max_size=4000)
    ),
}
LIMITS = Limits(events=1000, pending=2000, attribute=4096, data=100_000, lifetime=timedelta(days=2), deadline=5.0)


class Core:
    """Stands where the core's own answers stand; `check` may be replaced."""

    def __init__(self) -> None:
        self.accepted: list[Event] = []
        self.check: Callable[[Event], Reject | None] = lambda event: None

    @hookimpl
    async def petitbleu_check_event(self, event: Event) -> Reject | None:
        return self.check(event)

    @hookimpl
    async def petitbleu_event_accepted(self, event: Event) -> None:
        self.accepted.append(event)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def door(store: Store, core: Core) -> Callable[..., Intake]:
    def make(core: Core = core, metrics: Metrics | None = None, **limits: Any) -> Intake:
        loaded: Loaded = load([], [])
        loaded.add_core(core)
        return Intake(
            WorkQueue(store, 1, 30),
            Calls(loaded, 1.0),
            TYPES,
            wishes([Channel("pigeon", "ringId", Settings, address_check=ring)]),
            replace(LIMITS, **limits),
            UTC,
            store.now,
            time.monotonic,
            metrics,
            {"ringId": ring},
        )

    return make


def ring(text: str) -> str:
    """A pigeon's address."""
    if text == "lost":
        raise HookFailed("pigeons", "petitbleu_channels", "nobody knows")
    if not text.startswith("FR-"):
        raise ValueError("is not a ring such as FR-7")
    return text


def incoming(children: dict[str, Any] | None = None, **attributes: str) -> IncomingEvent:
    given = {"type": "password_reset", "email": "zoe@example.com", **attributes}
    return IncomingEvent(Queue.REALTIME, {name: value for name, value in given.items() if value}, children or {})


def problems(intake: Intake, *events: IncomingEvent) -> list[str]:
    with pytest.raises(EventsRefused) as refused:
        intake.check(events)
    return str(refused.value).splitlines()


async def test_an_accepted_event_is_stored_before_its_id_is_known(door: Any, store: Store, core: Core) -> None:
    intake = door()
    (event_id,) = await intake([incoming(externalId="R-1", origin="shop")], OPERATOR)
    assert event_id == (1 << 56) | 1
    (row,) = await store.read("SELECT * FROM events WHERE id = ?", [event_id])
    assert (row["status"], row["external_id"], row["origin"], row["email"]) == (
        "pending",
        "R-1",
        "shop",
        "zoe@example.com",
    )
    await intake.settle()
    assert [event.id for event in core.accepted] == [event_id]


async def test_names_are_read_in_any_case_and_unknown_ones_are_kept(door: Any) -> None:
    event = IncomingEvent(
        Queue.BATCH,
        {"TYPE": "password_reset", "mobilephone": "+33612345678", "EMAIL": "a@example.com", "hashlpId": "h"},
        {"CTX": {"x": "1"}, "mobileapp": {"@uuid": "u"}, "extra": "kept"},
    )
    (checked,) = door().check([event])
    assert checked.addresses == {"email": "a@example.com", "mobilePhone": "+33612345678"}
    assert checked.queue is Queue.BATCH
    assert checked.data["hashlpId"] == "h"
    assert checked.data["ctx"] == {"x": "1"}
    assert checked.data["mobileApp"] == {"@uuid": "u"}
    assert checked.data["extra"] == "kept"
    assert checked.data["mobilePhone"] == "+33612345678"


async def test_an_address_of_a_plugins_own_is_checked_by_the_plugin(door: Any) -> None:
    (checked,) = door().check([incoming(email="", RINGID="FR-7")])
    assert (checked.channel, checked.addresses, checked.data["ringId"]) == ("pigeon", {"ringId": "FR-7"}, "FR-7")
    (checked,) = door().check([incoming(ringId="FR-7")])
    assert checked.channel == "email"
    assert checked.addresses == {"email": "zoe@example.com", "ringId": "FR-7"}
    assert problems(door(), incoming(ringId="7")) == ["event 1: ringId: is not a ring such as FR-7"]
    assert problems(door(), incoming(wishedChannel="pigeon")) == [
        "event 1: ringId: is missing; the channel pigeon needs it"
    ]
    with pytest.raises(Unavailable, match=r"cannot be checked now \(pigeons\)"):
        await door()([incoming(ringId="lost")], OPERATOR)


async def test_the_gate_of_a_stopping_server_lets_through_who_is_inside(door: Any, store: Store) -> None:
    intake = door()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(events: Any, operator: Operator, key: str = "") -> list[int]:
        begun.set()
        await go_on.wait()
        found: list[int] = await intake(events, operator, key)
        return found

    gate = Gate(slowly)
    gate.open()
    inside = asyncio.create_task(gate([incoming()], OPERATOR))
    await begun.wait()
    closing = asyncio.create_task(gate.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="the server is stopping"):
        await gate([incoming()], OPERATOR)
    assert not closing.done()
    go_on.set()
    await closing
    (event_id,) = await inside
    assert await store.read("SELECT id FROM events", []) == [{"id": event_id}]


@pytest.mark.parametrize(
    ("attributes", "channel"),
    [
        ({}, "email"),
        ({"wishedChannel": "0"}, "email"),
        ({"wishedChannel": "Email"}, "email"),
        ({"wishedChannel": "1", "mobilePhone": "+33612345678"}, "sms"),
        ({"wishedChannel": "SMS", "mobilePhone": "+33612345678"}, "sms"),
        ({"wishedChannel": "+01", "mobilePhone": "+33612345678"}, "sms"),
        ({"email": "", "mobilePhone": "+33612345678"}, "sms"),
        ({"wishedChannel": "41", "registrationToken": "abc"}, "ios"),
        ({"wishedChannel": "android", "deviceToken": "abc"}, "android"),
        ({"wishedChannel": "42", "registrationId": "abc"}, "android"),
    ],
)
async def test_the_wished_channel(door: Any, attributes: dict[str, str], channel: str) -> None:
    (event,) = door().check([incoming({}, **attributes)])
    assert event.channel == channel


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"type": ""}, "event 1: type: is missing; it names the event type"),
        ({"type": "pasword_reset"}, "'pasword_reset' is not a declared event type; did you mean 'password_reset'?"),
        ({"email": ""}, "event 1: email: the event has no address"),
        ({"email": "nonsense"}, "event 1: email: "),
        ({"email": "a@example.com\r\nBcc: b@example.com"}, "event 1: email: "),
        ({"wishedChannel": "1"}, "event 1: mobilePhone: is missing; the channel sms needs it"),
        ({"wishedChannel": "231"}, "wishedChannel: 231 is out of range for a signed 8-bit number (-128 to 127)"),
        ({"wishedChannel": "7"}, "wishedChannel: no channel has the number 7"),
        ({"wishedChannel": "snail"}, "wishedChannel: 'snail' is not a channel; channels are android, email"),
        ({"mobilePhone": "12"}, "event 1: mobilePhone: "),
        ({"scheduled": "tomorrow"}, "event 1: scheduled: "),
        ({"expiration": "2020-01-01T00:00:00Z"}, "event 1: expiration: has passed"),
        (
            {"scheduled": "2100-01-02T00:00:00Z", "expiration": "2100-01-01T00:00:00Z"},
            "expiration: is not after the scheduled time",
        ),
        ({"priority": "soon"}, "priority: 'soon' is not a whole number from 0 (first) to 100"),
        ({"language": "f r"}, "language: 'f r' is not a language tag such as fr or fr-CA"),
        ({"externalId": "x" * 256}, "externalId: has 256 characters; the limit is 255"),
        ({"note": "x" * 5000}, "note: has 5000 characters; the limit is 4096"),
        ({"origin": "a\0"}, "origin: holds a NUL character"),
        ({"note": "a\ud83d"}, "note: holds half a character (a lone surrogate), which is no text"),
    ],
)
async def test_a_bad_attribute_is_refused_with_its_reason(door: Any, attributes: dict[str, str], problem: str) -> None:
    found = problems(door(), incoming({}, **attributes))
    assert len(found) == 1
    assert problem in found[0]


async def test_every_problem_of_every_event_is_named_and_nothing_is_stored(door: Any, store: Store) -> None:
    events = [incoming(externalId=f"E-{n}") for n in range(1, 1001)]
    events[16] = incoming(externalId="E-17", email="broken@@example.com", priority="x")
    events[499] = incoming(externalId="E-500", type="unknown")
    events[999] = incoming(externalId="E-1000", wishedChannel="999")
    with pytest.raises(EventsRefused) as refused:
        await door()(events, OPERATOR)
    assert [(one.position, one.external_id, one.attribute) for one in refused.value.problems] == [
        (17, "E-17", "email"),
        (17, "E-17", "priority"),
        (500, "E-500", "type"),
        (1000, "E-1000", "wishedChannel"),
    ]
    assert await store.read("SELECT id FROM events", []) == []


async def test_an_attribute_given_twice_in_different_case(door: Any) -> None:
    event = IncomingEvent(
        Queue.REALTIME, {"type": "password_reset", "email": "a@example.com", "EMAIL": "b@example.com"}
    )
    assert problems(door(), event) == ["event 1: email: is given twice with different values"]


async def test_times_without_a_zone_and_the_default_lifetime(door: Any) -> None:
    (event,) = door().check([incoming(scheduled="9999-12-31T23:59:59.999999Z")])
    assert event.expiration == event.scheduled == datetime.max.replace(tzinfo=UTC)
    (event,) = door().check([incoming(scheduled="2100-05-01 10:00:00")])
    assert event.scheduled == datetime(2100, 5, 1, 10, tzinfo=UTC)
    assert event.expiration == datetime(2100, 5, 3, 10, tzinfo=UTC)


def order(text: str) -> IncomingEvent:
    return incoming({"ctx": element_data(parse_xml(text.encode()))}, type="order_confirmation")


async def test_the_ctx_contract_is_checked_at_the_door(door: Any) -> None:
    intake = door()
    good = '<ctx><order number="7"><line><price>1.5</price></line><line><price>2</price></line></order></ctx>'
    assert len(intake.check([order(good)])) == 1
    bad = "<ctx><order><line><price>1.5</price></line><line><price>two</price></line></order></ctx>"
    assert problems(intake, order(bad)) == [
        "event 1: ctx.order.number: is missing; the event type requires text that is not empty",
        "event 1: ctx.order.line[2].price: should be a number",
    ]
    assert "ctx.order: is missing" in problems(intake, order("<ctx/>"))[0]
    assert "the limit of this type is 4000" in problems(intake, order(f"<ctx><a>{'x' * 5000}</a></ctx>"))[0]


async def test_limits_of_a_call_an_event_and_the_queue(door: Any) -> None:
    assert "3 events in one call; the limit is 2" in problems(door(events=2), *[incoming()] * 3)[0]
    assert "the limit is 50" in problems(door(data=50), incoming({"ctx": {"a": "x" * 60}}))[0]
    with pytest.raises(Unavailable, match=r"The queue is full \(0/0\)"):
        await door(pending=0)([incoming()], OPERATOR)


async def test_rights(door: Any) -> None:
    for operator in (
        Operator("reader", frozenset({"read"})),
        Operator("narrow", frozenset({"push"}), frozenset({"order_confirmation"})),
        Operator("other brand", frozenset({"push"}), brands=frozenset({"outlet"})),
    ):
        with pytest.raises(AccessDenied, match="Invalid login or password"):
            await door()([incoming()], operator)


async def test_rights_that_are_limited_and_enough(door: Any) -> None:
    narrow = Operator("narrow", frozenset({"push"}), frozenset({"password_reset"}), frozenset({"shop"}))
    assert len(await door()([incoming()], narrow)) == 1


async def test_a_plugin_may_refuse_or_be_unable_to_tell(door: Any, store: Store, core: Core) -> None:
    core.check = lambda event: Reject("email", "is on nobody's list") if event.external_id == "2" else None
    with pytest.raises(EventsRefused, match=r"event 2 \(externalId 2\): email: is on nobody's list"):
        await door()([incoming(externalId="1"), incoming(externalId="2")], OPERATOR)

    def broken(event: Event) -> Reject | None:
        raise OSError("its directory is down")

    core.check = broken
    with pytest.raises(Unavailable, match="cannot be checked now"):
        await door()([incoming()], OPERATOR)
    assert await store.read("SELECT id FROM events", []) == []


async def test_a_database_that_does_not_answer_is_not_waited_for(door: Any, store: Store) -> None:
    await door()([incoming()], OPERATOR)
    intake, busy = door(deadline=0.05), asyncio.Event()

    async def push() -> None:  # a task of its own, made before the transaction it must not be part of
        await busy.wait()
        await intake([incoming()], OPERATOR)

    caller = asyncio.create_task(push())
    async with store.transaction() as transaction:  # SQLite has one connection: nobody else gets to write meanwhile
        if store.dialect == "postgres":
            await transaction.execute_query("LOCK TABLE queue IN SHARE MODE")
        busy.set()
        await asyncio.sleep(0.2)
    with pytest.raises(Unavailable, match="did not answer in time"):
        await caller


async def test_no_events_are_no_work(door: Any) -> None:
    assert await door()([], OPERATOR) == []


async def test_created_is_the_databases_time(door: Any, store: Store) -> None:
    await store.shift_clock(3600)
    (event,) = door().check([incoming()])
    assert abs((event.created - moment(store.now())).total_seconds()) < 5
    assert event.created - datetime.now(UTC) > timedelta(minutes=59)


async def test_slow_observers_keep_no_caller_waiting_and_fill_no_memory(door: Any) -> None:
    gate = asyncio.Event()

    class Slow(Core):
        @hookimpl
        async def petitbleu_event_accepted(self, event: Event) -> None:
            await gate.wait()
            self.accepted.append(event)

    metrics, slow = Metrics(), Slow()
    intake = door(core=slow, metrics=metrics, untold=3)
    ids = [(await intake([incoming()], OPERATOR))[0] for _ in range(6)]
    gate.set()
    await intake.settle()
    # one was being told already
    heard = [event.id for event in slow.accepted]
    assert heard == ids[: len(heard)]
    assert len(heard) in (3, 4)
    missed = metrics.registry.get_sample_value("petitbleu_limits_reached_total", {"limit": "limits.untold"})
    assert missed == 6 - len(heard)
