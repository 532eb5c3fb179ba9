"""Addresses that nothing is sent to any more: what puts one on the list, what takes it off, what it holds back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import (
    Attempt,
    Channel,
    Content,
    Deferred,
    Delivered,
    Event,
    Failed,
    Message,
    Operator,
    Outcome,
    Queue,
    Receipt,
    ReceiptState,
    Retry,
    Route,
    Scope,
    Settings,
    TemplateRef,
    Unknown,
    hookimpl,
)
from petitbleu.audit import recorded
from petitbleu.delivery.delivery import Delivery, Work
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.metrics import Metrics
from petitbleu.operating import Actor, Suppression
from petitbleu.queue.queue import WorkQueue
from petitbleu.receipts.receipts import Receipts
from petitbleu.reports.tally import Tally
from petitbleu.steps import Step, step_row
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment
from petitbleu.store.together import settle
from petitbleu.suppression import MOST_COUNTED, Note, Reason, Sign, Source, Terms, address_key, checked_key
from petitbleu.suppression.guard import Standing, Suppressions
from petitbleu.suppression.keys import LONGEST
from petitbleu.suppression.register import Register
from petitbleu.suppression.rules import LONGEST_TEXT, SoftError, counted, enough, line, outcome_sign, receipt_sign

SECOND = 1_000_000
DAY = 86_400 * SECOND
KINDS = {"pigeon": "email", "sms": "mobilePhone", "ios": "registrationToken"}
TERMS = Terms(threshold=3, period=10 * DAY, span=DAY, lasting={Reason.HARD: 30 * DAY, Reason.SOFT: 7 * DAY})
ANN = Actor(Operator("ann", frozenset()), "cli")
ZOE = "zoe@example.com"
GONE = Failed("loft", "550 5.1.1 no such roof", Scope.ADDRESS, "550")
FULL = Deferred("loft", "452 4.2.2 the loft is full", Scope.ADDRESS, "452")
FLEW = Delivered("loft", "250 flew")


class World:
    """A queue and a delivery without a worker, whose provider answers as `answer` says."""

    def __init__(self, store: Store, ignored: Mapping[str, frozenset[Reason]] | None = None) -> None:
        self.store = store
        self.metrics = Metrics()
        self.answer: Outcome = FLEW
        self.while_sending: Callable[[], Awaitable[object]] | None = None
        self.sent: list[str] = []
        self.queue = WorkQueue(store, 1, 30.0)
        self.suppressions = Suppressions(store, KINDS, {"": TERMS}, ignored or {}, self.metrics)
        self.queue.suppressions = self.suppressions
        self.register = Register(store, KINDS)
        loaded = load([], [])
        loaded.add_core(self)
        calls = Calls(loaded, 5.0)
        self.delivery = Delivery(
            self.queue,
            calls,
            calls.channels(),
            lambda name: {},
            "test",
            5.0,
            store.now,
            lambda: 1.0,
            self.metrics,
            suppressions=self.suppressions,
        )

    @hookimpl
    def petitbleu_channels(self) -> list[Channel]:
        return [Channel("pigeon", "email", Settings, retry=Retry(first=1, cap=1, tries=50))]

    @hookimpl
    async def petitbleu_route_event(self, event: Event) -> Route | None:
        return Route("pigeon", _brand(event), event.type)

    @hookimpl
    async def petitbleu_resolve_template(self, event: Event, route: Route) -> TemplateRef | None:
        return TemplateRef(event.type, "pigeon", 1)

    @hookimpl
    async def petitbleu_render(self, template: TemplateRef, event: Event, brand: Mapping[str, Any]) -> Content | None:
        return Content({}, {})

    @hookimpl
    async def petitbleu_deliver(self, message: Message, attempt: Attempt) -> Outcome:
        if self.while_sending is not None:
            await self.while_sending()
        if not isinstance(self.answer, Deferred):
            await attempt.hand_off("loft")
        self.sent.append(message.address)
        return self.answer

    async def push(self, address: str = ZOE, type_: str = "note", brand: str = "") -> int:
        event = Event(
            0, type_, Queue.REALTIME, "pigeon", {"brand": brand}, moment(self.store.now()), {"email": address}
        )
        return (await self.queue.put([event]))[0]

    async def work(self) -> None:
        """Everything that is due, at the same time."""
        await self.queue.promote()
        claimed = await self.queue.claim(Queue.REALTIME, 100)
        await asyncio.gather(*(self.delivery.process(Work(one, "pigeon")) for one in claimed))

    async def send(self, answer: Outcome = FLEW, address: str = ZOE, type_: str = "note", brand: str = "") -> str:
        """Status and reason of one event that the provider answers so."""
        self.answer = answer
        event_id = await self.push(address, type_, brand)
        await self.work()
        (row,) = await self.store.read("SELECT status, reason FROM events WHERE id = ?", [event_id])
        return f"{row['status']}: {row['reason']}"

    async def entries(self) -> list[tuple[str, str, str, int | None]]:
        rows = await self.store.read("SELECT * FROM suppressions ORDER BY id", [])
        return [
            (
                row["address"],
                row["brand"],
                row["reason"],
                None if row["expires"] is None else round((row["expires"] - row["created"]) / DAY),
            )
            for row in rows
        ]

    async def counts(self) -> int:
        return len(await self.store.read("SELECT id FROM soft_errors", []))

    async def hear(self, *receipts: Receipt, address: str = ZOE, brand: str = "shop") -> None:
        """As whoever stores receipts does it."""
        notes = [self.suppressions.note_receipt(one.event or 0, "pigeon", address, brand, one) for one in receipts]
        async with self.store.transaction() as transaction:
            added = await self.suppressions.write([note for note in notes if note is not None], transaction)
        self.suppressions.count(added)

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"petitbleu_{name}_total", labels) or 0.0


def _brand(event: Event) -> str:
    return str(event.data.get("brand", ""))


def receipt(state: ReceiptState, event: int = 1, scope: Scope = Scope.ADDRESS, permanent: bool = True) -> Receipt:
    return Receipt("pigeon", "loft", state, "552 5.2.2 full", event=event, attempt=1, scope=scope, permanent=permanent)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with open_store(database_url) as store:
        yield World(store)


# -------------------------------------------------------------------------------------------------- what puts it there


async def test_an_address_that_fails_for_good_gets_nothing_more(world: World) -> None:
    assert await world.send(GONE) == "failed: 550 5.1.1 no such roof"
    today = f"{moment(world.store.now()):%Y-%m-%d}"
    told = f"ignored: suppressed: hard error on {today}: 550 5.1.1 no such roof"
    assert await world.send(address="Zoe@EXAMPLE.com") == told
    assert await world.send(address="zoe@example.net") == "sent: 250 flew"
    assert world.sent == [ZOE, "zoe@example.net"]
    assert await world.entries() == [(ZOE, "", "hard", 30)]
    assert world.counted("suppressed", channel="pigeon", reason="hard") == 1
    assert world.counted("suppressions_added", channel="pigeon", reason="hard") == 1
    (change,) = await recorded(world.store)
    assert (change.by, change.action, change.object) == ("petitbleu", "suppressions.feedback", f"pigeon/{ZOE}")
    assert (change.detail["reason"], change.detail["text"]) == ("hard", "550 5.1.1 no such roof")


@pytest.mark.parametrize("scope", [Scope.MESSAGE, Scope.PROVIDER, Scope.US])
@pytest.mark.parametrize("kind", [Failed, Deferred])
async def test_whatever_is_not_the_addresss_fault_suppresses_nothing(
    world: World, kind: type[Failed | Deferred], scope: Scope
) -> None:
    for _ in range(5):
        await world.send(kind("loft", "550 spam", scope))
        await world.store.shift_clock(DAY / SECOND)
    await world.send(Unknown("loft", "no answer"))
    await world.hear(receipt(ReceiptState.BOUNCED, scope=scope), receipt(ReceiptState.UNDERWAY))
    assert (await world.entries(), await world.counts()) == ([], 0)
    assert await world.send() == "sent: 250 flew"


async def test_soft_errors_of_several_events_on_several_days_suppress(world: World) -> None:
    for day in range(3):
        assert (await world.send(FULL)).startswith("pending"), day
        await world.store.shift_clock(DAY / SECOND + 60)
    assert await world.entries() == [(ZOE, "", "soft", 7)]
    assert await world.counts() == 0
    assert "ignored: suppressed: soft errors on " in (told := await world.send())
    assert told.endswith("the last of 3 was: 452 4.2.2 the loft is full")
    # its time over, it is written to again
    await world.store.shift_clock(7 * DAY / SECOND)
    assert await world.send() == "sent: 250 flew"


async def test_one_events_retries_never_suppress_its_address(world: World) -> None:
    event_id = await world.push()
    world.answer = FULL
    for _ in range(8):
        await world.work()
        await world.store.shift_clock(DAY / SECOND)
    rows = await world.store.read("SELECT id FROM attempts WHERE event = ?", [event_id])
    assert len(rows) == 8
    assert await world.entries() == []


async def test_many_soft_errors_of_one_morning_suppress_nothing(world: World) -> None:
    for _ in range(20):
        await world.send(FULL)
    assert await world.entries() == []
    # but they tell when it began
    await world.store.shift_clock(DAY / SECOND)
    await world.send(FULL)
    assert await world.entries() == [(ZOE, "", "soft", 7)]


async def test_a_message_that_is_taken_ends_the_count_of_refusals(world: World) -> None:
    for answer in (FULL, FULL, FLEW, FULL):
        await world.send(answer)
        await world.store.shift_clock(DAY / SECOND)
    (row,) = await world.store.read("SELECT errors FROM soft_errors", [])
    assert row["errors"].count('"outcome"') == 1
    assert await world.entries() == []


async def test_a_relay_that_takes_everything_proves_nothing_against_its_bounces(world: World) -> None:
    for event in range(3):
        await world.send(FLEW)
        await world.hear(receipt(ReceiptState.BOUNCED, event, permanent=False))
        await world.store.shift_clock(DAY / SECOND)
    assert await world.entries() == [(ZOE, "", "soft", 7)]


async def test_a_receipt_that_says_it_arrived_ends_every_count(world: World) -> None:
    await world.send(FULL)
    await world.hear(receipt(ReceiptState.BOUNCED, 7, permanent=False))
    assert await world.counts() == 1
    await world.hear(receipt(ReceiptState.RECEIVED, 8), receipt(ReceiptState.RECEIVED, 9))
    assert await world.counts() == 0


async def test_receipts_suppress_as_outcomes_do(world: World) -> None:
    await world.hear(receipt(ReceiptState.BOUNCED), address="bounced@example.com")
    await world.hear(receipt(ReceiptState.COMPLAINED, scope=Scope.MESSAGE), address="annoyed@example.com")
    # a dead address is dead for everybody; who complains complains about one sender
    assert await world.entries() == [
        ("bounced@example.com", "", "hard", 30),
        ("annoyed@example.com", "shop", "complaint", None),
    ]
    assert await world.send(address="annoyed@example.com", brand="outlet") == "sent: 250 flew"
    assert (await world.send(address="annoyed@example.com", brand="shop")).startswith("ignored: suppressed: complaint")


async def test_receipts_that_come_in_suppress_with_what_they_say_of_the_event(world: World) -> None:
    calls = Calls(load([], []), 1.0)
    receipts = Receipts(world.store, calls, 60.0, world.metrics, world.suppressions, KINDS, _brand)
    first, second = await world.push(), await world.push("annoyed@example.com", brand="outlet")
    await world.work()
    unknown = receipt(ReceiptState.BOUNCED, 999_999)
    await receipts.record(
        [receipt(ReceiptState.BOUNCED, first), receipt(ReceiptState.COMPLAINED, second), unknown, unknown]
    )
    assert await receipts.match() == 4
    assert sorted(await world.entries()) == [
        ("annoyed@example.com", "outlet", "complaint", None),
        (ZOE, "", "hard", 30),
    ]
    assert world.counted("suppressions_added", channel="pigeon", reason="complaint") == 1
    # told a second time it is nothing new
    await receipts.record([receipt(ReceiptState.BOUNCED, first)])
    await receipts.match()
    assert len(await recorded(world.store)) == 2


async def test_feedback_never_shortens_what_a_person_said(world: World) -> None:
    async def put(expires: int | None) -> None:
        until = None if expires is None else moment(world.store.now() + expires)
        entry = Suppression("pigeon", ZOE, "", Reason.HARD, "by phone", None, until, "ann")
        await world.register.put([entry], ANN, "suppressions.add")

    await put(None)
    await world.hear(receipt(ReceiptState.BOUNCED))
    assert await world.entries() == [(ZOE, "", "hard", None)]
    await put(100 * DAY)
    await world.hear(receipt(ReceiptState.BOUNCED))
    assert await world.entries() == [(ZOE, "", "hard", 100)]
    await put(5 * DAY)
    await world.hear(receipt(ReceiptState.BOUNCED))
    assert await world.entries() == [(ZOE, "", "hard", 30)]
    assert [one.action.partition(".")[2] for one in await recorded(world.store)] == ["feedback", "add", "add", "add"]


async def test_taken_off_the_list_it_starts_anew(world: World) -> None:
    await world.send(FULL)
    await world.send(GONE)
    (gone,) = await world.register.remove("pigeon", [ZOE, "other@example.com"], ANN)
    assert (gone.address, gone.reason, gone.by) == (ZOE, Reason.HARD, "petitbleu")
    assert (await world.entries(), await world.counts()) == ([], 0)
    assert await world.send() == "sent: 250 flew"
    assert [(one.by, one.action) for one in await recorded(world.store, by="ann")] == [("ann", "suppressions.remove")]


# ------------------------------------------------------------------------------------------------- what it holds back


async def test_an_event_type_may_go_out_in_spite_of_some_reasons(database_url: str) -> None:
    ignored = {"reset": frozenset({Reason.COMPLAINT, Reason.SOFT}), "alarm": frozenset(Reason)}
    async with open_store(database_url) as store:
        world = World(store, ignored)
        await world.hear(receipt(ReceiptState.COMPLAINED), brand="")
        assert (await world.send()).startswith("ignored: suppressed: complaint on ")
        assert await world.send(type_="reset") == "sent: 250 flew"
        await world.hear(receipt(ReceiptState.BOUNCED))
        assert (await world.send(type_="reset")).startswith("ignored: suppressed: hard error on ")
        assert await world.send(type_="alarm") == "sent: 250 flew"


async def test_what_is_put_on_the_list_while_a_message_waits_holds_it_back(world: World) -> None:
    """Between the look and the hand-over time may pass: for a connection, a place, a slow provider."""

    async def meanwhile() -> None:
        entry = Suppression("pigeon", ZOE, "", Reason.MANUAL, "", None, None, "ann")
        await world.register.put([entry], ANN, "suppressions.add")
        await world.store.shift_clock(1.0)

    world.while_sending = meanwhile
    assert (await world.send()).startswith("ignored: suppressed: by ann on ")
    assert world.sent == []
    assert world.counted("suppressed", channel="pigeon", reason="manual") == 1
    assert await world.store.read("SELECT id FROM attempts", []) == []
    assert await world.store.read("SELECT id FROM queue", []) == []


async def test_messages_that_come_together_are_looked_up_together(world: World) -> None:
    await world.send(GONE, "a3@example.com")
    asked: list[int] = []
    look = world.store.rows

    async def counting(query: str, *values: Any, **more: Any) -> Sequence[Mapping[str, Any]]:
        if query == "suppressed":
            asked.append(len(values[0]))
        return await look(query, *values, **more)

    world.store.rows = counting  # type: ignore[method-assign]
    world.answer = FLEW
    for number in range(40):
        await world.push(f"a{number % 20}@example.com")
    await world.work()
    rows = await world.store.read("SELECT status FROM events ORDER BY id", [])
    assert [row["status"] for row in rows].count("ignored") == 2
    assert len(asked) <= 4
    assert sum(asked) <= 40


async def test_a_success_writes_nothing_about_its_address(world: World) -> None:
    """What nearly every message is costs no statement and no transaction of its own."""
    noted: list[Note | None] = []
    note = world.suppressions.note_outcome

    def noting(*words: Any) -> Note | None:
        noted.append(note(*words))
        return noted[-1]

    world.suppressions.note_outcome = noting  # type: ignore[method-assign,assignment]
    assert await world.send() == "sent: 250 flew"
    assert await world.send(Failed("loft", "554 spam", Scope.MESSAGE)) == "failed: 554 spam"
    assert noted == [None, None]
    await world.send(FULL)
    assert await world.send() == "sent: 250 flew"
    assert [one.sign for one in noted[2:] if one is not None] == [Sign.SOFT, Sign.GOOD]


# -------------------------------------------------------------------------------------------------- what a crash leaves


async def test_the_outcome_and_what_it_shows_are_stored_together_or_not_at_all(world: World) -> None:
    event_id = await world.push()
    (claimed,) = await world.queue.claim(Queue.REALTIME, 1)
    note = world.suppressions.note_outcome(event_id, "pigeon", ZOE, "", GONE, False)
    assert note is not None
    row = step_row(Step(claimed, "failed", "550", "pigeon", at=world.store.now()), Tally())

    async def die(transaction: Any, ours: set[int]) -> None:
        assert ours == {event_id}
        assert len(await world.suppressions.write([note], transaction)) == 1
        raise RuntimeError("the process dies here")

    with pytest.raises(RuntimeError, match="dies here"):
        await settle(world.store, [row], die)
    assert await world.entries() == []
    assert await world.store.read("SELECT id FROM audit", []) == []
    (found,) = await world.store.read("SELECT status FROM events WHERE id = ?", [event_id])
    assert found["status"] == "pending"


async def test_a_connection_that_breaks_while_both_are_written_costs_neither(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        world = World(store)
        write, cut = world.suppressions.write, 0

        async def cut_off(notes: Sequence[Note], on: Any) -> Any:
            nonlocal cut
            added = await write(notes, on)
            if not cut:
                cut = (await on.execute_query_dict("SELECT pg_backend_pid() AS pid"))[0]["pid"]
                other = await asyncpg.connect(postgres_url)
                await other.execute("SELECT pg_terminate_backend($1)", cut)
                await other.close()
            return added

        world.suppressions.write = cut_off  # type: ignore[method-assign]
        assert await world.send(GONE) == "failed: 550 5.1.1 no such roof"
        assert cut
        assert await world.entries() == [(ZOE, "", "hard", 30)]
        assert len(await recorded(store)) == 1
        assert len(await store.read("SELECT id FROM attempts", [])) == 1


async def test_what_cannot_be_noted_costs_no_outcome(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An answer that is not recorded could mean a second message; an address that is dead will say so again."""
    write = world.suppressions.write

    async def fail(notes: Sequence[Note], on: Any) -> Any:
        await write(notes, on)
        await on.execute_query("INSERT INTO suppressions (id) VALUES (NULL)")

    world.suppressions.write = fail  # type: ignore[method-assign]
    assert await world.send(GONE) == "failed: 550 5.1.1 no such roof"
    assert "show of their addresses is not noted: " in caplog.text
    assert (await world.entries(), await recorded(world.store)) == ([], [])
    assert len(await world.store.read("SELECT id FROM attempts", [])) == 1
    world.suppressions.write = write  # type: ignore[method-assign]
    await world.send(GONE)
    assert await world.entries() == [(ZOE, "", "hard", 30)]


async def test_an_outcome_does_not_wait_for_a_long_import(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with open_store(postgres_url) as store:
        world = World(store)
        importing = await asyncpg.connect(postgres_url)
        async with importing.transaction():
            await importing.execute(
                'INSERT INTO suppressions (channel, address, reason, created, "by") '
                "VALUES ('pigeon', $1, 'hard', 0, 'ann')",
                ZOE,
            )
            assert await world.send(GONE) == "failed: 550 5.1.1 no such roof"
            assert "is not noted: LockNotAvailableError" in caplog.text
        await importing.close()
        assert await world.entries() == [(ZOE, "", "hard", None)]


async def test_who_lost_the_lease_says_nothing_about_the_address(world: World) -> None:
    async def lose() -> None:
        await world.store.connection.execute_script("UPDATE queue SET lease = 'another'")

    world.answer = FULL
    await world.push()
    world.while_sending = lose
    await world.work()
    assert (await world.entries(), await world.counts()) == ([], 0)


async def test_soft_errors_counted_at_the_same_moment_are_all_counted(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        worlds = [World(store) for _ in range(8)]

        async def bounce(world: World, event: int) -> None:
            await world.hear(receipt(ReceiptState.BOUNCED, event, permanent=False))

        await asyncio.gather(*(bounce(world, number) for number, world in enumerate(worlds)))
        (row,) = await store.read("SELECT errors FROM soft_errors", [])
        assert row["errors"].count('"receipt"') == 8


async def test_changes_from_all_sides_never_wait_for_each_other(postgres_url: str) -> None:
    addresses = [f"a{number}@example.com" for number in range(20)]
    async with open_store(postgres_url) as store:
        world = World(store)

        async def feedback(turn: int) -> None:
            notes = [
                Note(turn * 100 + number, "pigeon", address, "", sign, "x", Source.RECEIPT)
                for number, address in enumerate(addresses[:: 1 if turn % 2 else -1])
                for sign in ((Sign.SOFT, Sign.HARD) if turn % 3 else (Sign.GOOD, Sign.COMPLAINT))
            ]
            async with store.transaction() as transaction:
                await world.suppressions.write(notes, transaction)

        async def people(turn: int) -> None:
            entries = [Suppression("pigeon", one, "", Reason.HARD, "", None, None, "") for one in addresses[::-1]]
            await world.register.put(entries, ANN, "suppressions.add")
            await world.register.remove("pigeon", addresses, ANN)

        await asyncio.gather(*(one(turn) for turn in range(12) for one in (feedback, people)))


# ----------------------------------------------------------------------------------------------------- how it is found


async def test_a_look_up_is_a_step_in_two_indexes(database_url: str) -> None:
    async with open_store(database_url) as store:
        entries = [
            Suppression("pigeon", f"a{n}@example.com", "", Reason.HARD, "", None, None, "") for n in range(30_000)
        ]
        await Register(store, KINDS).put(entries, ANN, "suppressions.import")
        if store.dialect == "postgres":
            await store.connection.execute_script(
                "INSERT INTO soft_errors (channel, address, errors, touched) "
                "SELECT 'pigeon', 'b' || n || '@example.com', '[]', 0 FROM generate_series(1, 30000) AS n; ANALYZE"
            )
        rows = [
            {"channel": "pigeon", "address": f"c{number}@example.com", "forgotten": f"forgotten:{number}"}
            for number in range(100)
        ]
        explain = "EXPLAIN QUERY PLAN " if store.dialect == "sqlite" else "EXPLAIN "
        statement, parameters = store.queries.bind("suppressed", [rows])
        plan = await store.connection.execute_query_dict(explain + statement, parameters)
        text = "\n".join(str(row.get("detail") or row.get("QUERY PLAN")) for row in plan)
        assert not re.search(r"Seq Scan on (suppressions|soft_errors)|SCAN [sf]\b", text), text
        # of the next one who asks, whatever plan the database has settled upon by then
        if store.dialect == "postgres":
            connection = await asyncpg.connect(database_url)
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            prepared = await connection.prepare(statement)
            generic = str(await prepared.explain(*cast("list[list[str]]", parameters)))
            await connection.close()
            assert "Seq Scan" not in generic, generic


# ------------------------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("email", "Zoe.Doe+x@Example.COM", "zoe.doe+x@example.com"),
        ("email", "zoe@bücher.example", "zoe@xn--bcher-kva.example"),
        ("email", "ZOÉ@Bücher.example", "zoe\u0301@bücher.example"),
        ("mobilePhone", "+33 6 12 34 56 78", "+33612345678"),
    ],
)
def test_spellings_of_one_address_have_one_key(kind: str, one: str, other: str) -> None:
    assert address_key(kind, one) == address_key(kind, other)


def test_addresses_that_differ_have_keys_that_differ() -> None:
    keys = {address_key("email", one) for one in ("a.b@example.com", "ab@example.com", "ab+x@example.com", "a@b.com")}
    assert len(keys) == 4
    token = "f" * 160
    key = address_key("registrationToken", token + "Abc123")
    assert key.endswith("…Abc123")
    assert token[:20] not in key
    assert key != address_key("registrationToken", token + "abc123")
    # of a short one nothing is shown
    assert address_key("registrationToken", "secret").endswith("…")


@given(st.sampled_from(["email", "mobilePhone", "registrationToken", ""]), st.text(max_size=600))
def test_everything_has_a_key_that_every_database_takes(kind: str, address: str) -> None:
    key = address_key(kind, address)
    assert address_key(kind, key) == key
    assert len(key) <= LONGEST
    assert "\0" not in key
    key.encode()


@given(st.from_regex(r"\A[A-Za-z0-9.+-]{1,20}@[A-Za-z0-9]{1,10}\.[A-Za-z]{2,5}\Z"))
def test_case_makes_no_other_address(address: str) -> None:
    assert (
        address_key("email", address.upper()) == address_key("email", address) == address_key("email", address.lower())
    )


def test_a_person_writes_an_address_or_the_key_of_a_token() -> None:
    key = address_key("registrationToken", "t" * 64)
    assert checked_key("registrationToken", key) == key
    assert checked_key("registrationToken", "t" * 64) == key
    assert checked_key("mobilePhone", "06 12 34 56 78", "FR") == "+33612345678"
    ring = checked_key("ringId", "fr-7", check=str.upper)
    assert ring == address_key("ringId", "FR-7")
    for kind, wrong in (("email", "zoe"), ("mobilePhone", "12"), ("registrationToken", "a b")):
        with pytest.raises(ValueError, match=r"^is not "):
            checked_key(kind, wrong)


# --------------------------------------------------------------------------------------------------------- the rules

NOTES = st.lists(
    st.tuples(st.integers(1, 8), st.sampled_from([Sign.SOFT, Sign.GOOD]), st.sampled_from(Source), st.integers(0, DAY)),
    max_size=40,
)


@given(NOTES)
def test_each_event_counts_once_and_only_within_the_period(notes: list[tuple[int, Sign, Source, int]]) -> None:
    errors: list[SoftError] = []
    now = 0
    for event, sign, source, later in notes:
        now += later
        errors = counted(errors, Note(event, "c", "a", "", sign, "", source), now, TERMS)
        assert len({one.event for one in errors}) == len(errors)
        assert all(now - TERMS.period < one.at <= now for one in errors)
        assert [one.at for one in errors] == sorted(one.at for one in errors)
        if sign is Sign.GOOD:
            assert all(source is Source.OUTCOME and one.source == Source.RECEIPT for one in errors)
        elif enough(errors, TERMS):
            assert len(errors) >= TERMS.threshold
            assert errors[-1].at - errors[0].at >= TERMS.span


def test_what_is_older_than_the_period_does_not_count() -> None:
    old = [SoftError(1, 0, "outcome"), SoftError(2, 5 * DAY, "outcome")]
    note = Note(3, "c", "a", "", Sign.SOFT, "", Source.OUTCOME)
    assert [one.event for one in counted(old, note, TERMS.period - 1, TERMS)] == [1, 2, 3]
    assert [one.event for one in counted(old, note, TERMS.period, TERMS)] == [2, 3]


def test_however_many_there_are_few_are_kept_and_the_first_one_is() -> None:
    errors: list[SoftError] = []
    for event in range(3 * MOST_COUNTED):
        errors = counted(errors, Note(event, "c", "a", "", Sign.SOFT, "", Source.OUTCOME), 1 + event, TERMS)
    assert len(errors) == MOST_COUNTED
    assert (errors[0].at, errors[-1].at) == (1, 3 * MOST_COUNTED)


@pytest.mark.parametrize("scope", Scope)
def test_only_scope_address_is_a_sign_against_an_address(scope: Scope) -> None:
    ours = scope is Scope.ADDRESS
    assert outcome_sign(Failed("p", "x", scope)) == (Sign.HARD if ours else None)
    assert outcome_sign(Deferred("p", "x", scope)) == (Sign.SOFT if ours else None)
    assert receipt_sign(receipt(ReceiptState.BOUNCED, scope=scope)) == (Sign.HARD if ours else None)
    assert receipt_sign(receipt(ReceiptState.BOUNCED, scope=scope, permanent=False)) == (Sign.SOFT if ours else None)
    assert receipt_sign(receipt(ReceiptState.COMPLAINED, scope=scope)) == Sign.COMPLAINT
    assert receipt_sign(receipt(ReceiptState.UNDERWAY, scope=scope)) is None


@given(st.text())
def test_a_providers_words_become_one_line(text: str) -> None:
    told = line(text)
    assert len(told) <= LONGEST_TEXT
    assert not re.search(r"[\0\n\r]", told)
    told.encode()


async def test_whatever_a_provider_says_the_address_is_suppressed(world: World) -> None:
    words = "550 \0 \udcff " + "no " * 5000
    await world.send(Failed("loft", words, Scope.ADDRESS))
    assert await world.entries() == [(ZOE, "", "hard", 30)]


async def test_an_address_nobody_doubts_stands_clear(world: World) -> None:
    assert await world.suppressions.standing("note", "pigeon", ZOE, "") == Standing()
    await world.send(FULL)
    assert await world.suppressions.standing("note", "pigeon", ZOE, "") == Standing(doubted=True)
    assert await world.suppressions.standing("note", "sms", "+33612345678", "") == Standing()
