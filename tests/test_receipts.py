"""Receipts: from their arrival to what follows, on a real queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import copy_context
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import (
    Attempt,
    Delivered,
    Failed,
    Message,
    Outcome,
    Queue,
    Receipt,
    ReceiptState,
    Recycle,
    Scope,
    Unknown,
)
from petitbleu.failover import Failover
from petitbleu.receipts.refining import RANKS, forward, worst
from petitbleu.recycling import RecyclingRule
from petitbleu.store import Store, open_store
from pigeon_rig import LEASE, Rig, Script

BOTH = {"mobilePhone": "+33612345678", "email": "zoe@example.com"}
RECEIVED, BOUNCED, UNDERWAY = ReceiptState.RECEIVED, ReceiptState.BOUNCED, ReceiptState.UNDERWAY
STATES = st.sampled_from(list(RANKS))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def script() -> Script:
    script = Script()
    script.deliver, script.wished = _two_parts, True
    return script


async def _two_parts(message: Message, attempt: Attempt) -> Outcome:
    provider = attempt.pick(("loft", "barn"))
    await attempt.hand_off(provider)
    names = (f"{message.event.id}a", f"{message.event.id}b") if message.channel == "pigeon" else ()
    return Delivered(provider, "250 flew", awaits=tuple(names))


def _receipt(name: str, state: ReceiptState, provider: str = "loft", **more: Any) -> Receipt:
    return Receipt("pigeon", provider, state, f"{state.value} they say", names=(name,), **more)


async def _told(rig: Rig, *receipts: Receipt) -> None:
    await rig.receipts.record(receipts)
    await rig.receipts.match()


# -------------------------------------------------------------------------------------------------------------- rules


@given(st.lists(STATES, min_size=1, max_size=6))
def test_a_message_has_the_worst_state_of_its_parts(parts: list[str]) -> None:
    found = worst(parts)
    assert (found == "received") == (set(parts) == {"received"})
    if "bounced" in parts:
        assert found in ("bounced", "complained")
    assert (found == "") == (set(parts) == {""})


@given(STATES, st.lists(STATES, max_size=8))
def test_states_move_only_forward(start: str, following: list[str]) -> None:
    state = start
    for one in following:
        after = forward(state, one)
        assert RANKS[after] >= RANKS[state]
        assert RANKS[after] >= RANKS[one]
        state = after


# ------------------------------------------------------------------------------------------------------------ matching


async def test_a_message_that_was_handed_off_before_its_event_was_parked_has_its_receipt(
    store: Store, script: Script
) -> None:
    """It was ended as unknown, and the provider had taken it."""
    rig = Rig(store, script)
    event_id = await rig.push()
    for provider in ("", "loft", ""):
        assert await rig.lose(provider, ["x-1"]) == [event_id]
    async with rig.at_work():
        await rig.until(event_id, "failed")
    await _told(rig, _receipt("x-1", RECEIVED))
    found = await rig.event(event_id)
    assert (found.status, found.reason, found.feedback) == (
        "sent", "it arrived after all: received they say", "received",
    )  # fmt: skip


async def test_a_message_is_received_when_its_last_part_is(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "sent")
    await _told(rig, _receipt(f"{event_id}a", RECEIVED))
    assert (await rig.event(event_id)).feedback == "underway"
    await _told(rig, _receipt(f"{event_id}b", RECEIVED))
    found = await rig.event(event_id)
    assert (found.status, found.feedback, found.attempts[0]["feedback"]) == ("sent", "received", "received")
    assert script.receipts == [(event_id, "received"), (event_id, "received")]


async def test_one_bad_part_makes_the_message_bounce_and_nothing_undoes_it(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "sent")
    await _told(rig, _receipt(f"{event_id}a", BOUNCED), _receipt(f"{event_id}b", RECEIVED))
    await _told(rig, _receipt(f"{event_id}a", RECEIVED), _receipt(f"{event_id}a", UNDERWAY))
    assert (await rig.event(event_id)).feedback == "bounced"


async def test_a_receipt_may_come_before_its_attempt_is_written_down(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    event_id = await rig.push()
    await _told(rig, _receipt(f"{event_id}a", RECEIVED), _receipt(f"{event_id}b", RECEIVED))
    assert script.receipts == []
    async with rig.at_work():
        await rig.until(event_id, "sent")
    await store.shift_clock(1)
    await rig.receipts.match()
    assert (await rig.event(event_id)).feedback == "received"


async def test_a_provider_whose_clock_is_beyond_the_calendar_is_heard_all_the_same(
    store: Store, script: Script
) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "sent")
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    await _told(rig, *(_receipt(f"{event_id}{part}", RECEIVED, at=late) for part in "ab"))
    assert (await rig.event(event_id)).feedback == "received"
    rows = await store.read("SELECT at FROM receipts", [])
    assert [row["at"] for row in rows] == [None, None]


async def test_a_receipt_that_comes_twice_tells_nothing_new(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "sent")
    for _ in range(2):
        await _told(rig, _receipt(f"{event_id}a", BOUNCED))
    assert script.receipts == [(event_id, "bounced")]


async def test_any_spelling_of_a_name_will_do_but_not_another_providers(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "sent")
    await _told(rig, _receipt(f"{event_id}a", BOUNCED, provider="barn"))
    assert (await rig.event(event_id)).feedback == ""
    await _told(rig, Receipt("pigeon", "", BOUNCED, "gone", names=("0xff", f"{event_id}a")))
    assert (await rig.event(event_id)).feedback == "bounced"


async def test_a_receipt_that_names_event_and_attempt_needs_no_other_name(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push(channel="snail", addresses=BOTH)
        await rig.until(event_id, "sent")
    await _told(rig, Receipt("snail", "", BOUNCED, "550 no such roof", event=event_id, attempt=1))
    assert (await rig.event(event_id)).feedback == "bounced"


async def test_a_receipt_for_nobody_is_given_up_and_counted(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    await _told(rig, _receipt("never sent", RECEIVED))
    await store.shift_clock(3601)
    await rig.receipts.match()
    assert await rig.receipts.match() == 0
    labels = {"channel": "pigeon"}
    assert rig.metrics.registry.get_sample_value("petitbleu_receipts_unmatched_total", labels) == 1
    (row,) = await store.read("SELECT event, look FROM receipts", [])
    assert (row["event"], row["look"]) == (None, None)


async def test_a_number_that_a_provider_gives_again_is_that_of_the_latest_message(store: Store, script: Script) -> None:
    async def same(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Delivered("loft", "250 flew", awaits=("7",))

    script.deliver = same
    rig = Rig(store, script)
    async with rig.at_work():
        first = await rig.push()
        await rig.until(first, "sent")
        second = await rig.push()
        await rig.until(second, "sent")
    await _told(rig, _receipt("7", RECEIVED))
    assert ((await rig.event(first)).feedback, (await rig.event(second)).feedback) == ("", "received")


# -------------------------------------------------------------------------------------------------------- suppression


@pytest.mark.parametrize(
    ("receipt", "ended"),
    [
        ({"state": BOUNCED, "scope": Scope.ADDRESS}, "ignored"),
        ({"state": ReceiptState.COMPLAINED}, "ignored"),
        ({"state": BOUNCED, "scope": Scope.ADDRESS, "permanent": False}, "sent"),
        ({"state": BOUNCED, "scope": Scope.PROVIDER}, "sent"),
    ],
)
async def test_only_what_blames_the_address_for_good_keeps_the_next_message_back(
    store: Store, script: Script, receipt: dict[str, Any], ended: str
) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "sent")
        await _told(rig, Receipt("pigeon", "loft", text="they say", names=(f"{event_id}a",), **receipt))
        found = await rig.until(await rig.push(), "ignored", "sent")
    assert found.status == ended


# ------------------------------------------------------------------------------------------------- unknown, then known


async def _lost(message: Message, attempt: Attempt) -> Outcome:
    await attempt.hand_off("loft")
    return Unknown("loft", "no answer", awaits=(f"{message.event.id}a",))


@pytest.mark.parametrize(
    ("state", "status", "feedback"),
    [(RECEIVED, "sent", "received"), (UNDERWAY, "sent", "underway"), (BOUNCED, "failed", "bounced")],
)
async def test_what_is_unknown_is_known_by_its_receipt(
    store: Store, script: Script, state: ReceiptState, status: str, feedback: str
) -> None:
    script.deliver, script.unknown = _lost, "hold"
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.settled(event_id)
    await _told(rig, _receipt(f"{event_id}a", state))
    found = await rig.event(event_id)
    assert (found.status, found.feedback, found.queued) == (status, feedback, None)
    assert (event_id, status) in [one[:2] for one in script.heard]


async def test_a_receipt_finds_what_a_worker_handed_over_before_it_died(store: Store, script: Script) -> None:
    script.unknown = "hold"
    rig = Rig(store, script)
    event_id = await rig.push()
    (claimed,) = await rig.queue.claim(Queue.REALTIME, 1)
    await rig.queue.hand_off(claimed, "loft", (f"{event_id}a",))
    await store.shift_clock(LEASE + 1)
    await rig.queue.rescue()
    async with rig.at_work():
        found = await rig.settled(event_id)
    assert found.reason == "unknown: the worker stopped after the hand-over; its receipt is awaited"
    await _told(rig, _receipt(f"{event_id}a", RECEIVED))
    found = await rig.event(event_id)
    assert (found.status, found.feedback, len(found.attempts)) == ("sent", "received", 1)


async def test_a_channel_that_fails_after_the_hand_over_is_heard_of_later(store: Store, script: Script) -> None:
    async def hang(message: Message, attempt: Attempt) -> Outcome:
        attempt.expect((f"{message.event.id}a",))
        await attempt.hand_off("loft")
        raise RuntimeError("feather jam")

    script.deliver, script.unknown = hang, "hold"
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.settled(event_id)
    await _told(rig, _receipt(f"{event_id}a", BOUNCED))
    assert (await rig.event(event_id)).feedback == "bounced"


async def test_a_receipt_after_the_wait_still_tells_the_truth(store: Store, script: Script) -> None:
    script.deliver, script.unknown = _lost, "hold"
    rig = Rig(store, script, receipt_wait=0.05)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "failed")
    await _told(rig, _receipt(f"{event_id}a", RECEIVED))
    found = await rig.event(event_id)
    assert (found.status, found.feedback) == ("sent", "received")
    assert found.reason == "it arrived after all: received they say"


# -------------------------------------------------------------------------------------------------------- another way

TO_SNAIL = RecyclingRule({"channel": "pigeon"}, frozenset({"failed", "bounced", "no_receipt"}), "snail", 600.0)


async def test_what_is_refused_goes_on_by_another_channel(store: Store, script: Script) -> None:
    async def refuse(message: Message, attempt: Attempt) -> Outcome:
        if message.channel == "snail":
            return await _two_parts(message, attempt)
        await attempt.hand_off("loft")
        return Failed("loft", "no such roof", Scope.ADDRESS)

    script.deliver = refuse
    rig = Rig(store, script, rules=[TO_SNAIL])
    async with rig.at_work():
        event_id = await rig.push(addresses=BOTH)
        found = await rig.until(event_id, "sent")
    assert [(one["channel"], one["outcome"]) for one in found.attempts] == [
        ("pigeon", "failed"),
        ("snail", "delivered"),
    ]
    assert found.channel == "snail"
    (move,) = found.moves
    assert (move["origin"], move["target"], move["number"]) == ("pigeon", "snail", 1)
    assert move["reason"] == "goes on by snail: pigeon did not take it: no such roof"
    assert script.messages[1].address == "zoe@example.com"


async def test_an_event_without_the_other_address_stays_where_it_is(store: Store, script: Script) -> None:
    async def refuse(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Failed("loft", "no such roof", Scope.ADDRESS)

    script.deliver = refuse
    rig = Rig(store, script, rules=[TO_SNAIL])
    async with rig.at_work():
        found = await rig.until(await rig.push(), "failed")
    assert (found.reason, found.moves) == ("no such roof", [])


async def test_no_event_goes_anywhere_twice(store: Store, script: Script) -> None:
    async def refuse(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Failed("loft", "no", Scope.ADDRESS)

    script.deliver = refuse
    back = RecyclingRule({"channel": "snail"}, frozenset({"failed"}), "pigeon")
    rig = Rig(store, script, rules=[TO_SNAIL, back])
    async with rig.at_work():
        found = await rig.until(await rig.push(addresses=BOTH), "failed")
    assert [one["channel"] for one in found.attempts] == ["pigeon", "snail"]
    assert len(found.moves) == 1


async def test_what_may_have_arrived_is_not_sent_another_way_unless_the_rule_says_so(
    store: Store, script: Script
) -> None:
    script.deliver, script.unknown = _lost, "hold"
    rig = Rig(store, script, rules=[TO_SNAIL], receipt_wait=0.05)
    async with rig.at_work():
        found = await rig.until(await rig.push(addresses=BOTH), "failed")
    assert found.moves == []
    rig = Rig(store, script, rules=[RecyclingRule({}, frozenset({"unknown"}), "snail")], receipt_wait=0.05)

    async def lost_by_air(message: Message, attempt: Attempt) -> Outcome:
        return await (_two_parts if message.channel == "snail" else _lost)(message, attempt)

    script.deliver = lost_by_air
    async with rig.at_work():
        found = await rig.until(await rig.push(addresses=BOTH), "sent")
    assert [move["target"] for move in found.moves] == ["snail"]


async def test_a_bounce_sends_the_event_another_way(store: Store, script: Script) -> None:
    rig = Rig(store, script, rules=[TO_SNAIL])
    async with rig.at_work():
        event_id = await rig.push(addresses=BOTH)
        await rig.until(event_id, "sent")
        await _told(rig, _receipt(f"{event_id}b", BOUNCED))
        assert await rig.decisions.decide() == 1
        found = await rig.until(event_id, "sent", attempts=2)
    assert [(one["channel"], one["feedback"]) for one in found.attempts] == [("pigeon", "bounced"), ("snail", "")]
    assert (found.feedback, found.channel, len(found.moves)) == ("", "snail", 1)


async def test_an_event_that_cannot_be_read_keeps_no_receipt_of_another_waiting(store: Store, script: Script) -> None:
    rig = Rig(store, script, rules=[TO_SNAIL])
    async with rig.at_work():
        bad, good = [await rig.push(addresses=BOTH) for _ in range(2)]
        for one in (bad, good):
            await rig.until(one, "sent")
        await store.connection.execute_query(f"UPDATE payloads SET body = '{{' WHERE id = {bad}")
        await _told(rig, *(_receipt(f"{one}b", BOUNCED) for one in (bad, good)))
        assert await rig.decisions.decide() == 2
        assert await rig.decisions.decide() == 0
        await rig.until(good, "sent", attempts=2)
    rows = await store.read("SELECT id, feedback FROM events ORDER BY id", [])
    assert [(row["id"], row["feedback"]) for row in rows] == [(bad, "bounced"), (good, "")]


async def test_silence_sends_the_event_another_way_once_it_has_lasted(store: Store, script: Script) -> None:
    rig = Rig(store, script, rules=[TO_SNAIL])
    async with rig.at_work():
        event_id = await rig.push(addresses=BOTH)
        await rig.until(event_id, "sent")
        assert await rig.decisions.decide() == 0
        await store.shift_clock(601)
        assert await rig.decisions.decide() == 1
        found = await rig.until(event_id, "sent", attempts=2)
    assert found.moves[0]["reason"] == "goes on by snail: no receipt came for it by pigeon"


async def test_a_receipt_in_time_keeps_the_event_where_it_is(store: Store, script: Script) -> None:
    rig = Rig(store, script, rules=[TO_SNAIL])
    async with rig.at_work():
        event_id = await rig.push(addresses=BOTH)
        await rig.until(event_id, "sent")
    await _told(rig, _receipt(f"{event_id}a", RECEIVED), _receipt(f"{event_id}b", RECEIVED))
    await store.shift_clock(601)
    assert await rig.decisions.decide() == 0
    assert (await rig.event(event_id)).moves == []


async def test_a_late_receipt_calls_the_second_message_back(store: Store, script: Script) -> None:
    """The event waits for its turn on the other channel when the first message turns out to have arrived."""
    rig = Rig(store, script, rules=[TO_SNAIL])
    async with rig.at_work():
        event_id = await rig.push(addresses=BOTH)
        await rig.until(event_id, "sent")
    await store.shift_clock(601)
    await rig.decisions.decide()
    assert (await rig.event(event_id)).status == "pending"
    await _told(rig, _receipt(f"{event_id}a", RECEIVED), _receipt(f"{event_id}b", RECEIVED))
    found = await rig.event(event_id)
    assert (found.status, found.feedback, found.channel, found.queued) == ("sent", "received", "pigeon", None)
    assert len(script.messages) == 1


async def test_a_plugin_may_say_what_rules_cannot_and_its_failure_changes_nothing(store: Store, script: Script) -> None:
    async def refuse(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Failed("loft", "no", Scope.MESSAGE)

    async def trouble(hook: str, event: Any) -> None:
        if hook == "recycle_event":
            raise RuntimeError("no idea")

    script.deliver = refuse
    script.recycle = lambda event, channel, failure: Recycle("snail", f"{channel} {failure}")
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.until(await rig.push(addresses=BOTH), "failed")
        assert found.moves[0]["reason"] == "goes on by snail: pigeon failed: no"
        script.trouble = trouble
        found = await rig.until(await rig.push(addresses=BOTH), "failed")
    assert (found.moves, found.reason) == ([], "no")


# --------------------------------------------------------------------------------------------- another provider, again


async def test_after_a_bounce_the_next_provider_has_its_turn_and_then_the_other_channel(
    store: Store, script: Script
) -> None:
    failovers = {"pigeon": Failover(("loft", "barn"), bounced=True)}
    rig = Rig(store, script, failovers=failovers, rules=[TO_SNAIL])
    async with rig.at_work():
        event_id = await rig.push(addresses=BOTH)
        await rig.until(event_id, "sent")
        for number, provider in enumerate(("loft", "barn"), 2):
            await _told(rig, _receipt(f"{event_id}a", BOUNCED, provider))
            await rig.decisions.decide()
            found = await rig.until(event_id, "sent", attempts=number)
    assert [(one["channel"], one["provider"]) for one in found.attempts] == [
        ("pigeon", "loft"),
        ("pigeon", "barn"),
        ("snail", "loft"),
    ]


async def test_two_processes_tell_and_decide_everything_once(store: Store, script: Script) -> None:
    rig = Rig(store, script, rules=[TO_SNAIL], concurrency=8)
    async with rig.at_work():
        ids = [await rig.push(addresses=BOTH) for _ in range(20)]
        for one in ids:
            await rig.until(one, "sent")
    await rig.receipts.record([_receipt(f"{one}a", BOUNCED) for one in ids])
    await asyncio.gather(*(rig.receipts.match() for _ in range(4)))
    await asyncio.gather(*(rig.decisions.decide() for _ in range(4)))
    assert sorted(script.receipts) == [(one, "bounced") for one in ids]
    assert [len((await rig.event(one)).moves) for one in ids] == [1] * 20


# ----------------------------------------------------------------------------------------------------------- together

COMPLAINED = ReceiptState.COMPLAINED
ONCE: list[list[tuple[int, str, ReceiptState]]] = [
    [(1, "a", RECEIVED), (1, "b", BOUNCED), (1, "b", BOUNCED)],
    [(1, "b", BOUNCED), (1, "a", RECEIVED), (1, "", COMPLAINED)],
]
TWICE: list[list[tuple[int, str, ReceiptState]]] = [
    [(1, "a", RECEIVED), (1, "b", RECEIVED), (2, "a", BOUNCED)],
    [(2, "a", BOUNCED), (1, "a", RECEIVED), (1, "b", RECEIVED)],
    [(1, "", COMPLAINED), (2, "", BOUNCED)],
    [(1, "", COMPLAINED), (2, "", UNDERWAY)],
]


@pytest.mark.parametrize("said", [*ONCE, *TWICE])
async def test_receipts_that_come_together_count_as_if_one_after_the_other(
    store: Store, script: Script, said: list[tuple[int, str, ReceiptState]]
) -> None:
    """Of an event that awaits the receipt of its only attempt, or was tried twice and awaits none."""
    attempts = 1 if said in ONCE else 2

    async def lost(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        names = [f"{message.event.id}{part}{attempt.number}" for part in "ab"]
        return Unknown("loft", "no answer", awaits=tuple(names))

    script.deliver = lost
    script.unknown = "hold" if attempts == 1 else "retry_once"
    rig = Rig(store, script)
    async with rig.at_work():
        events = [await rig.push() for _ in range(2)]
        for one in events:
            await rig.until(one, "pending", attempts=1)
        if attempts == 2:
            await store.shift_clock(61)
            for one in events:
                await rig.until(one, "failed", attempts=2)
    told: list[list[Receipt]] = [
        [
            _receipt(f"{event}{part}{number}", state)
            if part
            else Receipt("pigeon", "", state, f"{state.value} they say", event=event, attempt=number)
            for number, part, state in said
        ]
        for event in events
    ]
    for receipt in told[0]:
        await _told(rig, receipt)
    heard = [state for _, state in script.receipts]
    script.receipts.clear()
    await _told(rig, *told[1])
    apart, together = [await rig.event(one) for one in events]
    for name in ("status", "feedback", "reason", "channel", "queued"):
        assert getattr(together, name) == getattr(apart, name), name
    assert [one["feedback"] for one in together.attempts] == [one["feedback"] for one in apart.attempts]
    assert [state for _, state in script.receipts] == heard
    watches = await store.read("SELECT number, failure FROM watches ORDER BY event", [])
    assert len(watches) in (0, 2)
    assert len({tuple(row.values()) for row in watches}) < 2


async def test_what_another_process_hears_of_the_other_part_is_not_forgotten(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        await rig.until(event_id, "sent")
    await rig.receipts.record([_receipt(f"{event_id}a", RECEIVED)])
    key = {"event": event_id, "number": 1}
    outside = copy_context()
    async with store.transaction() as on:
        await store.rows("lock_events", [{"id": event_id}], on=on)
        matching = asyncio.create_task(rig.receipts.match(), context=outside)
        await asyncio.sleep(0.2)
        parts = await store.rows("find_parts", [key], on=on)
        await store.rows("record_parts", [{"id": parts[1]["id"], "state": "received"}], on=on)
        await store.rows("record_attempts", [{**key, "state": "underway"}], on=on)
    await matching
    assert (await rig.event(event_id)).attempts[0]["feedback"] == "received"
