"""What plugins want to be told is stored with what it tells of, and told until it has arrived, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from petitbleu import (
    NOTICE_KINDS,
    AccessDenied,
    Actor,
    Attempt,
    Deferred,
    Delivered,
    Failed,
    Message,
    Notice,
    NotTold,
    Operator,
    Outcome,
    PetitbleuError,
    Receipt,
    ReceiptState,
    Recycle,
    Scope,
    Subscription,
    Told,
    Unknown,
)
from petitbleu.outbox.waiting import Waiting
from petitbleu.retention import Pace, Periods, Purge
from petitbleu.store import CommitUnknown, Store, open_store
from pigeon_rig import Rig, Script

ALL = frozenset(NOTICE_KINDS)
ANN = Actor(Operator("ann", frozenset({"admin"})), "cli")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


@pytest.fixture
def script() -> Script:
    made = Script()
    made.subscriptions = [Subscription("all", ALL, first=10.0, cap=100.0)]
    return made


async def kept(store: Store) -> list[dict[str, Any]]:
    return await store.read("SELECT * FROM outbox ORDER BY id", [])


async def kinds(store: Store, event: int) -> list[str]:
    rows = await store.read("SELECT kind FROM outbox WHERE event = ? ORDER BY id", [event])
    return [row["kind"] for row in rows]


async def tried(store: Store, times: int) -> None:
    """Wait until that many tries are written down."""
    async with asyncio.timeout(10):
        while sum(row["tries"] for row in await kept(store)) < times:
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def answer(*outcomes: Outcome) -> Callable[[Message, Attempt], Awaitable[Outcome]]:
    """One outcome after the other, each after the hand-off."""
    left = list(outcomes)

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return left.pop(0)

    return deliver


# ------------------------------------------------------------------------------------------------------ what is stored


async def test_every_step_of_an_event_is_told(store: Store, script: Script) -> None:
    script.deliver = answer(
        Deferred("loft", "busy", Scope.MESSAGE, "450"), Delivered("loft", "250 flew", "250", "ref", awaits=("leg-1",))
    )
    rig = Rig(store, script)
    async with rig.at_work(), rig.telling_all():
        event = await rig.push(external_id="A-1", origin="shop")
        await rig.settled(event, 1)
        assert [one.ok for one in await rig.operations.retry([event], ANN)] == [True]
        rig.queue.look_again()
        await rig.until(event, "sent")
        await rig.receipts.record([Receipt("pigeon", "loft", ReceiptState.RECEIVED, "landed", names=("leg-1",))])
        await rig.receipts.match()
        await until(lambda: len(script.notices) == 4)
    assert await kinds(store, event) == ["accepted", "deferred", "sent", "received"]
    accepted, deferred, sent, received = sorted(script.notices, key=lambda one: (one.at, one.kind))
    assert (accepted.status, accepted.attempt, accepted.external_id, accepted.origin) == ("pending", 0, "A-1", "shop")
    assert (deferred.status, deferred.attempt, deferred.provider, deferred.code) == ("pending", 1, "loft", "450")
    assert (sent.status, sent.attempt, sent.reason, sent.template) == ("sent", 2, "250 flew", "note/pigeon v4")
    assert (received.status, received.attempt, received.feedback, received.reason) == ("sent", 2, "received", "landed")
    assert {(one.event, one.type, one.channel, one.brand) for one in script.notices} == {
        (event, "note", "pigeon", "shop")
    }
    assert [row["state"] for row in await kept(store)] == [1] * 4


async def test_what_operators_do_is_told(store: Store, script: Script) -> None:
    script.deliver = answer(Failed("loft", "no such loft", Scope.MESSAGE))
    rig = Rig(store, script)
    event = await rig.push()
    await rig.operations.hold([event], ANN, reason="stop")
    await rig.operations.release([event], ANN)
    async with rig.at_work():
        rig.queue.look_again()
        await rig.until(event, "failed")
    await rig.operations.retry([event], ANN)
    await rig.operations.cancel([event], ANN)
    (copy,) = await rig.operations.resend([event], ANN)
    assert await kinds(store, event) == ["accepted", "paused", "released", "failed", "reopened", "ignored"]
    assert await kinds(store, copy.new_id or 0) == ["accepted"]


async def test_another_way_is_told(store: Store, script: Script) -> None:
    script.wished = True
    script.recycle = lambda event, channel, failure: Recycle("snail", "slower") if channel == "pigeon" else None
    script.deliver = answer(
        Failed("loft", "no", Scope.MESSAGE), Delivered("loft", "ok", awaits=("s1",)), Unknown("loft", "?")
    )
    rig = Rig(store, script)
    async with rig.at_work():
        event = await rig.push(addresses={"mobilePhone": "+33612345678", "email": "zoe@example.com"})
        await rig.until(event, "sent", attempts=2)
        await rig.receipts.record([Receipt("snail", "loft", ReceiptState.BOUNCED, "eaten", names=("s1",))])
        await rig.receipts.match()
    rows = await store.read("SELECT kind, news FROM outbox WHERE event = ? ORDER BY id", [event])
    assert [row["kind"] for row in rows] == ["accepted", "recycled", "sent", "bounced"]
    assert ['"channel":"pigeon"' in row["news"] for row in rows] == [True, True, False, False]


async def test_what_expires_or_has_no_template_is_told(store: Store, script: Script) -> None:
    script.template = None
    rig = Rig(store, script)
    async with rig.at_work():
        event = await rig.push()
        await rig.until(event, "not_covered")
    assert await kinds(store, event) == ["accepted", "not_covered"]
    late = await rig.push(expiration=rig.store_time(5))
    await store.shift_clock(10)
    async with rig.at_work():
        await rig.until(late, "expired")
    assert await kinds(store, late) == ["accepted", "expired"]


async def test_a_lost_lease_tells_nothing(store: Store, script: Script) -> None:
    held = asyncio.Event()

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        await store.connection.execute_query("UPDATE queue SET lease = 'another'")
        held.set()
        return Failed("loft", "no", Scope.MESSAGE)

    script.deliver = deliver
    rig = Rig(store, script)
    async with rig.at_work():
        event = await rig.push()
        await held.wait()
    assert await kinds(store, event) == ["accepted"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"kinds": frozenset({"sent"})}, ["sent"]),
        ({"kinds": ALL, "types": frozenset({"other"})}, []),
        ({"kinds": ALL, "channels": frozenset({"snail"})}, []),
        ({"kinds": ALL, "brands": frozenset({"outlet"})}, []),
        (
            {
                "kinds": ALL,
                "types": frozenset({"note"}),
                "channels": frozenset({"pigeon"}),
                "brands": frozenset({"shop"}),
            },
            ["accepted", "sent"],
        ),
    ],
)
async def test_filters(sqlite_url: str, wanted: dict[str, Any], expected: list[str]) -> None:
    script = Script()
    script.subscriptions = [Subscription("some", **wanted)]
    async with open_store(sqlite_url) as store:
        rig = Rig(store, script)
        async with rig.at_work():
            event = await rig.push()
            await rig.until(event, "sent")
        assert await kinds(store, event) == expected


async def test_several_subscriptions_have_each_its_own(store: Store, script: Script) -> None:
    script.subscriptions = [Subscription("a", frozenset({"sent"})), Subscription("b", frozenset({"sent", "accepted"}))]
    rig = Rig(store, script)
    async with rig.at_work():
        await rig.until(await rig.push(), "sent")
    rows = [(row["subscription"], row["kind"]) for row in await kept(store)]
    assert sorted(rows) == [("core/a", "sent"), ("core/b", "accepted"), ("core/b", "sent")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": frozenset({"sended"})},
        {"name": "a/b"},
        {"name": ""},
        {"concurrency": 0},
        {"deadline": 0},
        {"patience": -1.0},
    ],
)
def test_a_subscription_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"should be|is none of"):
        Subscription(**{"name": "a", "kinds": ALL, **wrong})


# ------------------------------------------------------------------------------------------------------ what is told


class Receiver:
    """Takes notices, or not, as it is told."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.answers: list[Told | NotTold] = []
        self.otherwise: Told | NotTold = Told("200")
        script.tell = self.tell

    async def tell(self, notice: Notice) -> Told | NotTold:
        return self.answers.pop(0) if self.answers else self.otherwise


async def ended(rig: Rig, events: int) -> list[int]:
    """Store events that tell `accepted`."""
    return [await rig.push() for _ in range(events)]


@pytest.fixture
def quiet(script: Script) -> Receiver:
    """With a subscription to what is accepted alone."""
    script.subscriptions = [Subscription("all", frozenset({"accepted"}), first=10.0, cap=100.0, concurrency=2)]
    return Receiver(script)


async def test_a_receiver_that_is_down_is_left_alone_and_misses_nothing(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    quiet.otherwise = NotTold("503 no")
    events = await ended(rig, 30)
    async with rig.telling_all():
        await until(lambda: len(quiet.script.notices) >= 3)
        await asyncio.sleep(0.3)
        # three failures, and what was under way with them
        first = len(quiet.script.notices)
        assert 3 <= first <= 4
        # one at a time, and more seldom each time: a day long
        for number in range(first + 1, first + 7):
            await store.shift_clock(4 * 3600)
            await tried(store, number)
            await asyncio.sleep(0.1)
            assert len(quiet.script.notices) == number
        await rig.waiting.measure()
        (check,) = rig.waiting.checks()
        assert check.warning
        assert "30 notices wait" in check.text
        assert "503 no" in check.text
        (state,) = await rig.outbox_desk.states()
        assert (state.name, state.waiting, state.failures) == ("core/all", 30, first + 6)
        assert state.paused_until is not None
        quiet.otherwise = Told("200")
        await store.shift_clock(3600)
        await until(lambda: {one.event for one in quiet.script.notices[first + 6 :]} == {*events})
    await rig.waiting.measure()
    assert [(check.warning, check.text) for check in rig.waiting.checks()] == [(False, "0 notices wait")]
    (state,) = await rig.outbox_desk.states()
    assert (state.waiting, state.failures, state.given_up) == (0, 0, 0)
    by_event = {event: {one.key for one in quiet.script.notices if one.event == event} for event in events}
    assert all(len(keys) == 1 for keys in by_event.values())


async def test_a_notice_is_given_up_when_its_patience_is_over(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    quiet.answers = [NotTold("500"), NotTold("500")]
    (event,) = await ended(rig, 1)
    async with rig.telling_all():
        await tried(store, 1)
        await store.shift_clock(259_201)
        await tried(store, 2)
    assert [one.tries for one in quiet.script.notices] == [0, 1]
    (row,) = await kept(store)
    assert (row["state"], row["tries"], row["answer"]) == (2, 2, "500")
    assert (await rig.outbox_desk.states())[0].given_up == 1
    # and told after all, since somebody wants it so
    assert await rig.outbox_desk.replay("core/all", ANN, events=[event & 0xFFFF], given_up=True, rehearsal=True) == 1
    assert await rig.outbox_desk.replay("core/all", ANN, events=[-(1 << 64), -1, 1 << 63], given_up=True) == 0
    assert await rig.outbox_desk.replay("core/all", ANN, events=[event & 0xFFFF], given_up=True) == 1
    async with rig.telling_all():
        await until(lambda: len(quiet.script.notices) == 3)
    assert len({one.key for one in quiet.script.notices}) == 1
    (audited,) = await store.read("SELECT * FROM audit", [])
    assert (audited["action"], audited["object"], audited["by"]) == ("outbox.replay", "core/all", "ann")


async def test_what_a_receiver_asks_for_is_kept(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    quiet.answers = [NotTold("429 slower", retry_after=600)]
    await ended(rig, 1)
    async with rig.telling_all():
        await tried(store, 1)
        await ended(rig, 1)
        await store.shift_clock(590)
        await asyncio.sleep(0.2)
        assert len(quiet.script.notices) == 1
        await store.shift_clock(11)
        await until(lambda: len(quiet.script.notices) == 3)


async def test_a_receiver_that_wants_no_more_is_told_no_more_until_it_is_enabled(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    quiet.answers = [NotTold("410 gone", ended=True)]
    async with rig.telling_all():
        await ended(rig, 1)
        await tried(store, 1)
        await ended(rig, 5)
        await store.shift_clock(86_400)
        await asyncio.sleep(0.2)
        assert len(quiet.script.notices) == 1
        await rig.waiting.measure()
        (check,) = rig.waiting.checks()
        assert (check.ok, check.warning, check.text) == (True, True, "wants nothing any more: 410 gone; 6 wait")
        assert (await rig.outbox_desk.states())[0].ended is not None
        assert await rig.outbox_desk.enable("core/all", ANN)
        await until(lambda: len({one.event for one in quiet.script.notices[1:]}) == 6)
    assert not await rig.outbox_desk.enable("core/all", ANN)
    # a subscription is one of all event types
    admin = frozenset({"admin"})
    for bob in (
        Operator("bob", frozenset({"read"})),
        Operator("bob", admin, event_types=frozenset({"note"})),
        Operator("bob", admin, brands=frozenset({"shop"})),
    ):
        with pytest.raises(AccessDenied):
            await rig.outbox_desk.enable("core/all", Actor(bob, "rest"))
        with pytest.raises(AccessDenied):
            await rig.outbox_desk.replay("core/all", Actor(bob, "rest"))


async def test_what_a_dead_process_was_telling_is_told_again_under_the_same_key(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    hangs = asyncio.Event()

    async def hang(notice: Notice) -> Told | NotTold:
        await hangs.wait()
        return Told("200")

    quiet.script.tell = hang
    await ended(rig, 3)
    dying = asyncio.create_task(rig.telling.run())
    await until(lambda: len(quiet.script.notices) == 2)
    # its answers never reach the database
    for lane in rig.telling._lanes.values():
        lane.taken.clear()
    rig.telling._ends._write = None  # type: ignore[assignment]
    other = Script()
    other.subscriptions = quiet.script.subscriptions
    survivor = Rig(store, other)
    async with survivor.telling_all():
        await asyncio.sleep(0.2)
        assert other.notices == []
        await store.shift_clock(91)
        await until(lambda: len(other.notices) == 3)
    assert {one.key for one in quiet.script.notices} < {one.key for one in other.notices}
    hangs.set()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)


async def test_two_processes_tell_each_notice_once(store: Store, quiet: Receiver) -> None:
    other = Script()
    other.subscriptions = quiet.script.subscriptions
    first, second = Rig(store, quiet.script), Rig(store, other)
    async with first.telling_all(), second.telling_all():
        events = await ended(first, 100)
        await until(lambda: len(quiet.script.notices) + len(other.notices) >= 100)
    assert sorted(one.event for one in (*quiet.script.notices, *other.notices)) == events
    assert [row["state"] for row in await kept(store)] == [1] * 100


async def test_a_stop_gives_back_what_was_taken(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    goes_on = asyncio.Event()

    async def slowly(notice: Notice) -> Told | NotTold:
        await goes_on.wait()
        return Told("200")

    quiet.script.tell = slowly
    await ended(rig, 10)
    task = asyncio.create_task(rig.telling.run())
    await until(lambda: len(quiet.script.notices) == 2)
    task.cancel()
    await asyncio.sleep(0.05)
    goes_on.set()
    await asyncio.gather(task, return_exceptions=True)
    rows = await kept(store)
    assert sorted(row["state"] for row in rows) == [0] * 8 + [1] * 2
    assert all(row["due"] <= store.now() and row["tries"] == 0 for row in rows if row["state"] == 0)


async def test_a_plugin_that_raises_or_hangs_has_not_told(store: Store, script: Script) -> None:
    script.subscriptions = [Subscription("all", frozenset({"accepted"}), deadline=0.1, first=10.0)]

    async def tell(notice: Notice) -> Told | NotTold:
        if notice.tries == 0:
            raise RuntimeError("no")
        if notice.tries == 1:
            await asyncio.sleep(60)
        return Told("200") if notice.tries == 2 else None  # type: ignore[return-value]

    script.tell = tell
    rig = Rig(store, script)
    await rig.push()
    async with rig.telling_all():
        for number in (1, 2, 3):
            await tried(store, number)
            await store.shift_clock(500)
    (row,) = await kept(store)
    assert (row["state"], row["tries"]) == (1, 3)


async def test_too_much_that_waits_is_not_kept_and_counted(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    waiting = Waiting(store, rig.outbox, ["core/all"], 3, 900.0)
    await ended(rig, 3)
    await waiting.measure()
    await ended(rig, 2)
    assert len(await kept(store)) == 3
    labels = {"subscription": "core/all", "result": "dropped"}
    assert rig.metrics.registry.get_sample_value("petitbleu_notices_total", labels) == 2
    (check,) = waiting.checks()
    assert check.warning
    assert "more are not kept" in check.text


async def test_what_is_over_is_deleted(store: Store, quiet: Receiver) -> None:
    rig = Rig(store, quiet.script)
    await ended(rig, 3)
    day = 86_400 * 1_000_000
    purge = Purge(
        store,
        {},
        Periods(30 * day, 30 * day, 30 * day),
        day,
        3600.0,
        Pace(100, 1.0),
        "here",
        rig.metrics,
        soft_errors=day,
        audit=day,
        outbox=7 * day,
        statistics=day,
    )
    await store.shift_clock(6 * 86_400)
    assert (await purge.now())["outbox"] == 0
    await store.shift_clock(86_401)
    assert (await purge.rehearse())["outbox"] == 3
    assert (await purge.now())["outbox"] == 3


async def test_patience_beyond_what_is_kept_stops_the_start(sqlite_url: str) -> None:
    script = Script()
    script.subscriptions = [Subscription("all", ALL, patience=700_000.0)]
    async with open_store(sqlite_url) as store:
        with pytest.raises(PetitbleuError, match=r"core/all has patience .* retention\.outbox should be longer"):
            Rig(store, script)


async def test_without_a_subscription_nothing_is_written(store: Store) -> None:
    rig = Rig(store, Script())
    async with rig.at_work():
        await rig.until(await rig.push(), "sent")
    assert await kept(store) == []


async def test_a_commit_in_doubt_leaves_one_notice(postgres_url: str, script: Script) -> None:
    """The statement is run once more where nobody knows whether it took effect."""
    async with open_store(postgres_url) as store:
        rig = Rig(store, script)
        write, lost = store.write, set[str]()

        async def lose(statement: str, *more: Any) -> Any:
            done = await write(statement, *more)
            for part in ("INSERT INTO queue", "DELETE FROM queue"):
                if part in statement and part not in lost:
                    lost.add(part)
                    raise CommitUnknown
            return done

        store.write = lose  # type: ignore[method-assign, assignment]
        async with rig.at_work():
            event = await rig.push()
            await rig.until(event, "sent")
        assert len(lost) == 2
        assert await kinds(store, event) == ["accepted", "sent"]
