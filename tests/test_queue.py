"""The queue on a real database: claims, leases, hand-off, outcomes, rescue."""

from __future__ import annotations

import asyncio
import pkgutil
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from petitbleu import Event, HandOffRefused, Queue
from petitbleu.lifecycle import EXPIRED, PENDING, PROCESSING, SENT
from petitbleu.queue.queue import WorkQueue
from petitbleu.queue.rows import HELD, LEASED
from petitbleu.steps import AttemptRecord, Claimed, Step
from petitbleu.store import CELL_SHIFT, Store, StoreError, migrate, migrations, open_store, pending_migrations
from petitbleu.store.payload import micros, moment
from petitbleu.store.queries import QUERIES, Queries

LEASE = 30.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def queue(store: Store) -> WorkQueue:
    return WorkQueue(store, cell=3, lease=LEASE)


def event(store: Store, **changes: object) -> Event:
    made = Event(
        id=0,
        type="order_confirmation",
        queue=Queue.REALTIME,
        channel="email",
        data={"ctx": {"name": "Zoé"}},
        created=moment(store.now()),
        addresses={"email": "zoe@example.com"},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def status_of(store: Store, event_id: int) -> tuple[str, str]:
    row = (await store.read("SELECT status, reason FROM events WHERE id = ?", [event_id]))[0]
    return row["status"], row["reason"]


def sent(claimed: Claimed, store: Store) -> Step:
    attempt = AttemptRecord(1, "email", "main", "t", store.now(), store.now(), "delivered", text="250 ok")
    return Step(claimed, SENT, "250 ok", "email", attempts=1, attempt=attempt, at=store.now())


async def test_ids_carry_the_cell_and_never_repeat(store: Store, queue: WorkQueue) -> None:
    other = WorkQueue(store, cell=3, lease=LEASE)
    ids = await queue.put([event(store), event(store)]) + await other.put([event(store)])
    assert all(event_id >> CELL_SHIFT == 3 for event_id in ids)
    assert len(set(ids)) == 3
    assert ids[1] == ids[0] + 1


async def test_a_block_larger_than_usual_is_stored_whole(store: Store, queue: WorkQueue) -> None:
    ids = await queue.put([event(store) for _ in range(1500)])
    assert len(set(ids)) == 1500
    assert await queue.depth.count(time.monotonic) == 1500


async def test_concurrent_callers_each_get_their_own_ids(store: Store, queue: WorkQueue) -> None:
    answers = await asyncio.gather(
        *(queue.put([event(store, external_id=f"{n}-{k}") for k in range(3)]) for n in range(40))
    )
    for n, ids in enumerate(answers):
        rows = await store.read("SELECT external_id FROM events WHERE id IN (?, ?, ?) ORDER BY id", ids)
        assert [row["external_id"] for row in rows] == [f"{n}-{k}" for k in range(3)]


async def test_one_event_that_cannot_be_stored_costs_the_other_callers_nothing(store: Store, queue: WorkQueue) -> None:
    bad = event(store, data={"ctx": {"weird": float("nan")}})
    answers = await asyncio.gather(
        queue.put([event(store)]), queue.put([bad]), queue.put([event(store)]), return_exceptions=True
    )
    assert isinstance(answers[1], ValueError)
    assert await queue.depth.count(time.monotonic) == 2


LAST = datetime.max.replace(tzinfo=UTC)
"""What callers write for "never"."""


@pytest.mark.parametrize("expiration", [datetime(2100, 1, 1, tzinfo=UTC), LAST])
async def test_an_event_comes_back_as_it_went_in(store: Store, queue: WorkQueue, expiration: datetime) -> None:
    original = event(
        store,
        data={"ctx": {"a": ["1", "2"], "#text": "\u2028é\x07"}},
        addresses={"email": "a@example.com", "mobilePhone": "+33612345678"},
        language="fr-CA",
        country="CA",
        external_id="X",
        origin="shop",
        priority=2,
        expiration=expiration,
    )
    (event_id,) = await queue.put([original])
    (claimed,) = await queue.claim(Queue.REALTIME, 10)
    assert claimed.event == replace(original, id=event_id)


@given(st.datetimes(timezones=st.just(UTC)))
@example(LAST)
@example(moment(2**32 * 1_000_000 - 1))
@example(moment(2**32 * 1_000_000))
def test_a_moment_is_as_many_microseconds_and_no_other(at: datetime) -> None:
    assert moment(micros(at)) == at
    assert at == LAST or micros(at + timedelta(microseconds=1)) == micros(at) + 1


async def test_an_event_that_cannot_be_read_holds_up_no_other(
    store: Store, queue: WorkQueue, caplog: pytest.LogCaptureFixture
) -> None:
    first, bad, last = await queue.put([event(store) for _ in range(3)])
    (whole,) = await store.read("SELECT body FROM payloads WHERE id = ?", [bad])
    await store.connection.execute_query(f"UPDATE payloads SET body = 'zoe@example.com' WHERE id = {bad}")
    assert {one.id for one in await queue.claim(Queue.REALTIME, 3)} == {first, last}
    assert await queue.claim(Queue.REALTIME, 3) == []
    (row,) = await store.read(
        "SELECT state, lease, crashes, reason FROM queue JOIN events USING (id) WHERE id = ?", [bad]
    )
    assert (row["state"], row["lease"], row["crashes"]) == (HELD, None, 0)
    assert "cannot be read (JSONDecodeError)" in row["reason"]
    assert [record.__dict__["event"] for record in caplog.records if record.levelname == "ERROR"] == [bad]
    assert "zoe@example.com" not in caplog.text
    # one whose lease is another's by now is left alone
    assert list(await store.rows("set_aside", [{"id": first, "lease": "gone"}])) == []
    await store.rows("let_go", [{"id": bad}])
    body = whole["body"].replace("'", "''")
    await store.connection.execute_query(f"UPDATE payloads SET body = '{body}' WHERE id = {bad}")
    assert [one.id for one in await queue.claim(Queue.REALTIME, 3)] == [bad]


async def test_what_can_be_read_is_claimed_though_the_rest_cannot_be_paused(
    store: Store, queue: WorkQueue, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = await queue.put([event(store) for _ in range(2)])
    await store.connection.execute_query(f"UPDATE payloads SET body = '{{' WHERE id = {bad}")
    await store.connection.execute_query("ALTER TABLE events RENAME TO away")
    assert [one.id for one in await queue.claim(Queue.REALTIME, 2)] == [good]
    assert "1 events that cannot be read are looked at again" in caplog.text
    await store.connection.execute_query("ALTER TABLE away RENAME TO events")
    rows = await store.read("SELECT state FROM queue WHERE id = ?", [bad])
    assert rows[0]["state"] == LEASED


async def test_claims_follow_priority_and_order_and_never_overlap(store: Store, queue: WorkQueue) -> None:
    ids = await queue.put([event(store, priority=priority) for priority in (5, 1, 5, 3)])
    first = await queue.claim(Queue.REALTIME, 3)
    second = await queue.claim(Queue.REALTIME, 3)
    assert [one.id for one in first + second] == [ids[1], ids[3], ids[0], ids[2]]
    assert await queue.claim(Queue.BATCH, 3) == []


async def test_a_scheduled_event_waits_for_the_database_clock(store: Store, queue: WorkQueue) -> None:
    due = moment(store.now()) + timedelta(hours=1)
    await queue.put([event(store, scheduled=due)])
    assert await queue.promote() == micros(due)
    assert await queue.claim(Queue.REALTIME, 1) == []
    await store.shift_clock(3601)
    assert await queue.promote() is None
    assert len(await queue.claim(Queue.REALTIME, 1)) == 1


async def test_a_final_outcome_leaves_the_queue_and_is_told_once(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store)])
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    assert await queue.record(sent(claimed, store))
    assert await status_of(store, claimed.id) == (SENT, "250 ok")
    assert await queue.depth.count(time.monotonic) == 0
    assert not await queue.record(Step(claimed, EXPIRED, "late", "email", at=store.now()))
    assert await status_of(store, claimed.id) == (SENT, "250 ok")
    (attempt,) = await store.read("SELECT * FROM attempts", [])
    assert (attempt["event"], attempt["number"], attempt["outcome"], attempt["text"]) == (
        claimed.id,
        1,
        "delivered",
        "250 ok",
    )


async def test_whatever_a_provider_says_is_recorded(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store)])
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    odd = replace(sent(claimed, store).attempt, text="\0 \udcff é", code="9" * 70, reference="r" * 300)  # type: ignore[type-var]
    assert await queue.record(Step(claimed, SENT, "250 \0", "email", attempts=1, attempt=odd, at=store.now()))
    assert await status_of(store, claimed.id) == (SENT, "250 \ufffd")
    (attempt,) = await store.read("SELECT * FROM attempts", [])
    assert (attempt["text"], attempt["code"], attempt["reference"]) == ("\ufffd ? é", "9" * 64, "r" * 255)


async def test_a_retry_waits_and_keeps_count(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store)])
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    due = store.now() + 60_000_000
    assert await queue.record(
        Step(claimed, PENDING, "451 later", "email", tries=1, attempts=1, due=due, at=store.now())
    )
    assert await queue.claim(Queue.REALTIME, 1) == []
    await store.shift_clock(61)
    await queue.promote()
    (again,) = await queue.claim(Queue.REALTIME, 1)
    assert (again.tries, again.attempts, again.crashes) == (1, 1, 0)
    assert await status_of(store, claimed.id) == (PENDING, "451 later")


async def test_a_lost_lease_refuses_every_later_write(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store)])
    (zombie,) = await queue.claim(Queue.REALTIME, 1)
    await store.shift_clock(LEASE + 1)
    assert await queue.rescue() == 1
    (owner,) = await queue.claim(Queue.REALTIME, 1)
    assert owner.crashes == 1
    with pytest.raises(HandOffRefused):
        await queue.hand_off(zombie, "main")
    assert not await queue.record(sent(zombie, store))
    assert not await queue.record(Step(zombie, PENDING, "451 later", "email", due=store.now(), at=store.now()))
    await queue.release([zombie])
    held = await store.read("SELECT lease, leased_until, handed_off, state FROM queue", [])
    await queue.renew([zombie.lease])
    assert await store.read("SELECT lease, leased_until, handed_off, state FROM queue", []) == held
    await queue.hand_off(owner, "main")
    assert await queue.record(sent(owner, store))
    assert await status_of(store, owner.id) == (SENT, "250 ok")
    assert len(await store.read("SELECT * FROM attempts", [])) == 1


async def test_what_is_given_back_keeps_the_mark_of_an_earlier_try_and_no_other(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store), event(store)])
    first, second = await queue.claim(Queue.REALTIME, 2)
    await queue.hand_off(first, "main")
    await store.shift_clock(LEASE + 1)
    assert await queue.rescue() == 2
    claimed = await queue.claim(Queue.REALTIME, 2)
    await queue.hand_off(claimed[1], "main")  # a mark whose message was given up before it went out
    await queue.release(claimed)
    again = await queue.claim(Queue.REALTIME, 2)
    assert [(one.id, one.handed_off) for one in again] == [(first.id, "main"), (second.id, "")]


async def test_renewed_leases_are_not_rescued(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store)])
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    await store.shift_clock(LEASE - 5)
    await queue.renew([claimed.lease])
    await store.shift_clock(LEASE - 5)
    assert await queue.rescue() == 0


async def test_the_hand_off_is_remembered_over_a_crash(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store)])
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    await queue.hand_off(claimed, "main")
    await store.shift_clock(LEASE + 1)
    await queue.rescue()
    (again,) = await queue.claim(Queue.REALTIME, 1)
    assert again.handed_off == "main"


async def test_nothing_is_handed_off_after_expiration(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store, expiration=moment(store.now()) + timedelta(seconds=10))])
    (claimed,) = await queue.claim(Queue.REALTIME, 1)
    await store.shift_clock(11)
    with pytest.raises(HandOffRefused):
        await queue.hand_off(claimed, "main")


async def test_released_events_are_as_new(store: Store, queue: WorkQueue) -> None:
    await queue.put([event(store)])
    claimed = await queue.claim(Queue.REALTIME, 1)
    await queue.release(claimed)
    (again,) = await queue.claim(Queue.REALTIME, 1)
    assert (again.crashes, again.tries, again.attempts, again.handed_off) == (0, 0, 0, "")


def test_only_allowed_transitions_can_be_built() -> None:
    claimed = Claimed(1, "x", None, 0, 0, 0, 0, "", 0, None)  # type: ignore[arg-type]
    for status, due in ((PROCESSING, None), (PENDING, None), (SENT, 5)):
        with pytest.raises(ValueError, match="cannot become"):
            Step(claimed, status, "", "email", due=due)


async def test_the_claim_uses_its_index(store: Store) -> None:
    flow = {"channel": "email", "type": "t", "most": 50}
    if store.dialect == "sqlite":
        for name, values in (("claim", ["lease", 1, 0, "email", "t", 50]), ("flows", [0, 0, 0, 0])):
            plan = await store.connection.execute_query_dict("EXPLAIN QUERY PLAN " + store.queries[name], values)
            details = [row["detail"] for row in plan if "queue" in row["detail"]]
            assert any("queue_flows" in detail for detail in details), details
            assert not any("SCAN queue" in detail or detail == "SCAN q" for detail in details), details
            assert not any("TEMP B-TREE" in row["detail"] for row in plan)
        return
    # a waiting half, so that only the right index is quick
    await store.connection.execute_script(
        "INSERT INTO queue (id, state, lane, priority, due, type, channel) "
        "SELECT n, n % 2, 0, n % 7, 0, 't', 'email' FROM generate_series(1, 50000) AS n"
    )
    for statement in ("SELECT 1", "ANALYZE queue"):  # without and with statistics
        await store.connection.execute_script(statement)
        for name, arguments in (("claim_flows", ["lease", 1, 0, [flow]]), ("flows", [0, 0, 0, 0])):
            query, values = store.queries.bind(name, arguments)
            rows = await store.connection.execute_query_dict("EXPLAIN " + query, values)
            text = "\n".join(row["QUERY PLAN"] for row in rows)
            assert "Index Scan using queue_flows" in text or "Index Only Scan using queue_flows" in text, text
            assert "Seq Scan on queue" not in text, text
            assert "Sort" not in text, text


async def test_what_is_due_is_looked_up(postgres_url: str) -> None:
    """Not filtered out of all that waits, or is leased."""
    async with open_store(postgres_url) as store:
        await store.connection.execute_script(
            "INSERT INTO queue (id, state, lane, priority, due, leased_until, type, channel) "
            "SELECT n, n % 3, 0, 5, 9e15 + n, 9e15 + n, 't', 'email' FROM generate_series(1, 30000) AS n; ANALYZE queue"
        )
        suspects = ("claim_suspects", ["lease", 1, 0, "email", "t", 1])
        for name, values in (("promote", []), ("suspects", []), suspects, ("overdue", [500]), ("rescue", [500])):
            rows = await store.connection.execute_query_dict("EXPLAIN " + store.queries[name], values)
            text = "\n".join(row["QUERY PLAN"] for row in rows)
            assert re.search(r"Index Cond: \((due|leased_until) <", text), text


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_parameters_stand_in_the_order_they_are_given(name: str) -> None:
    numbers = [int(found) for found in re.findall(r"\{(\d)\}", QUERIES[name])]
    assert numbers == list(range(len(numbers)))
    assert len({*re.findall(r"\$\d+", Queries("postgres")[name])}) == Queries("sqlite")[name].count("?")


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("synchronous=NORMAL", "synchronous=1"),
        ("synchronous=OFF", "synchronous=0"),
        ("journal_mode=OFF", "journal_mode=off"),
        ("journal_mode=MEMORY", "journal_mode=memory"),
    ],
)
async def test_a_file_that_may_forget_is_refused(tmp_path: Path, parameters: str, told: str) -> None:
    async with open_store(f"sqlite://{tmp_path}/weak.db?{parameters}") as store:
        with pytest.raises(StoreError, match=rf"\({told}\).*durability: relaxed"):
            await store.check_durability(relaxed=False)
        await store.check_durability(relaxed=True)
    async with open_store(f"sqlite://{tmp_path}/sound.db?synchronous=EXTRA&journal_mode=DELETE") as store:
        await store.check_durability(relaxed=False)


async def test_a_file_that_cannot_be_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, told in (
        ("file/new.db", "folder .*/file cannot be made: File exists"),
        (f"{'x' * 300}/new.db", "cannot be made: File name too long"),
        ("a#b.db", "may have no #"),
    ):
        with pytest.raises(StoreError, match=told):
            async with open_store(f"sqlite://{tmp_path}/{path}"):
                pass


async def test_migrations_are_applied_once_and_match_the_models(tmp_path: Path) -> None:
    async with open_store(f"sqlite://{tmp_path}/new.db") as store:
        names = sorted(name for _, name, _ in pkgutil.iter_modules(migrations.__path__) if name[0].isdigit())
        assert await pending_migrations(store) == names
        assert await migrate(store) == names
        assert await pending_migrations(store) == []
        assert await migrate(store) == []
