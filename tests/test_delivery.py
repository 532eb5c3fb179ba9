"""From claim to outcome on a real queue, with a channel whose provider does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from petitbleu import (
    Attempt,
    Content,
    Deferred,
    Delivered,
    Event,
    Failed,
    Hold,
    Message,
    NotNow,
    Outcome,
    Queue,
    Route,
    Scope,
    Suppress,
    TemplateError,
    Unknown,
)
from petitbleu.failpoints import Failpoint, Failpoints
from petitbleu.queue.queue import WorkQueue
from petitbleu.steps import Claimed
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment
from pigeon_rig import LEASE, Rig, Script, fly


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
def script() -> Script:
    return Script()


async def test_a_message_goes_out_and_the_way_is_recorded(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        event_id = await rig.push()
        found = await rig.until(event_id, "sent")
    assert (found.reason, found.errors, found.template, found.channel) == ("250 flew", 0, "note/pigeon v4", "pigeon")
    assert found.created <= found.processing + 1000 <= found.processed + 2000
    (attempt,) = found.attempts
    assert (attempt["number"], attempt["provider"], attempt["outcome"]) == (1, "loft", "delivered")
    assert (attempt["code"], attempt["text"], attempt["reference"]) == ("250", "250 flew", "ref-1")
    assert found.queued is None
    (message,) = script.messages
    assert (message.address, message.brand, message.key) == ("+33612345678", "shop", f"{event_id}@test")
    assert script.heard == [(event_id, "sent", "250 flew")]


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"route": None}, "not_covered", "nothing says where to send it"),
        ({"route": Route("drum", "", "note")}, "not_covered", "no plugin serves the channel 'drum'"),
        ({"template": None}, "not_covered", "no published template note/pigeon"),
        ({"rendering": lambda: None}, "not_covered", "nothing renders note/pigeon v4"),
        ({"verdict": Suppress("unsubscribed")}, "ignored", "unsubscribed"),
    ],
)
async def test_what_ends_before_delivery(
    store: Store, script: Script, change: dict[str, Any], status: str, reason: str
) -> None:
    vars(script).update(change)
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push())
    assert (found.status, found.reason, found.attempts) == (status, reason, [])
    assert script.messages == []


async def test_a_template_that_fails_ends_the_event_and_names_the_place(store: Store, script: Script) -> None:
    def fail() -> Content | None:
        raise TemplateError("note/pigeon/body.txt.j2:3", "rtEvent.ctx.name is missing")

    script.rendering = fail
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push())
    assert (found.status, found.reason) == ("failed", "note/pigeon/body.txt.j2:3: rtEvent.ctx.name is missing")


async def test_an_event_without_the_channels_address_fails(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push(addresses={"email": "a@example.com"}))
    assert (found.status, found.reason) == ("failed", "it has no mobilePhone, which the channel pigeon needs")


async def test_a_refusal_for_good_ends_the_event(store: Store, script: Script) -> None:
    async def refuse(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Failed("loft", "550 no such roof", Scope.ADDRESS, "550")

    script.deliver = refuse
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push())
    assert (found.status, found.reason, found.errors) == ("failed", "550 no such roof", 1)
    assert found.attempts[0]["scope"] == "address"


async def test_a_deferral_waits_longer_each_time_and_the_last_try_ends_it(store: Store, script: Script) -> None:
    async def defer(message: Message, attempt: Attempt) -> Outcome:
        return Deferred("loft", "451 fog", Scope.MESSAGE, "451")

    script.deliver = defer
    rig = Rig(store, script)
    event_id = await rig.push(expiration=moment(store.now()) + timedelta(days=1))
    waits = []
    async with rig.at_work():
        for number in (1, 2):
            found = await rig.settled(event_id, attempts=number)
            assert (found.status, found.errors, found.process_requested) == ("pending", number, found.queued["due"])
            waits.append(round((found.queued["due"] - found.attempts[-1]["ended"]) / 1e6))
            await store.shift_clock(waits[-1] + 1)
        found = await rig.until(event_id, "expired")
    assert waits == [60, 120]
    assert (found.reason, found.errors) == ("the last of 3 tries failed: 451 fog", 3)
    assert [attempt["outcome"] for attempt in found.attempts] == ["deferred"] * 3


async def test_a_providers_trouble_costs_the_event_no_try_and_its_wish_is_heeded(store: Store, script: Script) -> None:
    async def defer(message: Message, attempt: Attempt) -> Outcome:
        return Deferred("loft", "421 closed", Scope.PROVIDER, "421", retry_after=500)

    script.deliver = defer
    rig = Rig(store, script)
    event_id = await rig.push()
    async with rig.at_work():
        for number in range(1, 6):
            found = await rig.settled(event_id, attempts=number)
            assert found.queued["tries"] == 0
            assert found.queued["due"] - found.attempts[-1]["ended"] >= 500_000_000
            await store.shift_clock(1000)
    assert found.status == "pending"


async def _refused(message: Message, attempt: Attempt) -> Outcome:
    await attempt.admit("loft", "roof")
    return Deferred("loft", "421 closed", Scope.PROVIDER, "421")


async def test_while_a_provider_is_paused_its_events_pay_nothing_and_are_no_news(store: Store, script: Script) -> None:
    script.deliver = _refused
    rig = Rig(store, script)
    async with rig.at_work():
        for _ in range(2):
            await rig.settled(await rig.push(), attempts=1)
        heard = list(script.heard)
        event_id = await rig.push()
        found = await rig.settled(event_id)
        assert (found.status, found.errors, found.attempts) == ("pending", 0, [])
        assert found.reason.startswith("pigeon/loft is paused until ")
        assert found.reason.endswith(" UTC, because: 421 closed")
        assert [found.queued[name] for name in ("tries", "attempts", "crashes", "handed_off")] == [0, 0, 0, ""]
        assert 59 < (found.queued["due"] - store.now()) / 1e6 < 62
        assert script.heard == heard
        # the ones that found out come back no sooner
        (row,) = await store.read("SELECT min(due) AS due FROM queue", [])
        assert row["due"] >= found.queued["due"] - 2_000_000
        script.deliver = fly
        await store.shift_clock(63)
        await rig.until(event_id, "sent")


async def test_while_a_provider_is_paused_nothing_more_is_claimed_for_it(store: Store, script: Script) -> None:
    script.deliver = _refused
    rig = Rig(store, script)
    async with rig.at_work():
        for _ in range(3):
            await rig.settled(await rig.push())
        seen = len(script.messages)
        untouched = [await rig.push() for _ in range(20)]
        await asyncio.sleep(0.5)
        assert len(script.messages) == seen
        assert {(await rig.event(one)).reason for one in untouched} == {""}


async def test_a_provider_that_hangs_fails_though_nothing_was_handed_over(store: Store, script: Script) -> None:
    async def hang(message: Message, attempt: Attempt) -> Outcome:
        await attempt.admit("loft", "roof")
        await asyncio.sleep(60)
        raise AssertionError

    script.deliver = hang
    rig = Rig(store, script, deadline=0.05)
    async with rig.at_work():
        for _ in range(2):
            await rig.settled(await rig.push())
    (pause,) = rig.throttle.pauses().values()
    assert pause.reason == "no answer within 0.05 s"


async def test_a_second_provider_that_takes_none_leaves_the_first_ones_answer_unknown(
    store: Store, script: Script
) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        await attempt.admit("loft", "roof")
        await attempt.hand_off("loft")
        raise NotNow("the other one is busy", store.now())

    script.deliver = deliver
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push(), attempts=1)
    assert [(one["outcome"], one["provider"]) for one in found.attempts] == [("unknown", "loft")]


async def test_a_plugin_that_raises_says_nothing_of_the_provider(store: Store, script: Script) -> None:
    async def broken(message: Message, attempt: Attempt) -> Outcome:
        await attempt.admit("loft", "roof")
        raise RuntimeError("feather jam")

    script.deliver = broken
    rig = Rig(store, script)
    async with rig.at_work():
        for _ in range(5):
            await rig.settled(await rig.push())
    assert rig.throttle.pauses() == {}
    assert [state.in_use for state in rig.throttle.states()] == [0]


async def test_a_try_that_would_come_after_expiration_is_not_waited_for(store: Store, script: Script) -> None:
    async def defer(message: Message, attempt: Attempt) -> Outcome:
        return Deferred("loft", "451 fog", Scope.MESSAGE)

    script.deliver = defer
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push(expiration=moment(store.now()) + timedelta(seconds=30)))
    assert (found.status, found.reason) == ("expired", "it expires before its next try; the last said: 451 fog")


async def test_nothing_goes_out_after_expiration(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    event_id = await rig.push(expiration=moment(store.now()) + timedelta(seconds=30))
    await store.shift_clock(31)
    async with rig.at_work():
        found = await rig.settled(event_id)
    assert (found.status, found.reason, script.messages) == ("expired", "its expiration passed", [])


async def test_expiration_is_checked_again_at_the_hand_off(store: Store, script: Script) -> None:
    async def slow(message: Message, attempt: Attempt) -> Outcome:
        await store.shift_clock(31)
        return await fly(message, attempt)

    script.deliver = slow
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push(expiration=moment(store.now()) + timedelta(seconds=30)))
    assert found.status == "expired"
    assert "before it could be handed over" in found.reason


async def test_what_expires_while_it_is_rendered_is_offered_to_no_provider(store: Store, script: Script) -> None:
    async def slow(hook: str, event: Event) -> None:
        if hook == "render":
            await store.shift_clock(31)

    script.trouble = slow
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push(expiration=moment(store.now()) + timedelta(seconds=30)))
    assert (found.status, found.reason, script.messages) == ("expired", "its expiration passed", [])


@pytest.mark.parametrize("hook", ["render", "deliver"])
async def test_what_was_claimed_too_soon_goes_back_until_its_time(store: Store, script: Script, hook: str) -> None:
    """The database's clock was ahead when it was claimed, and is put right while it is on its way."""
    noted: list[int] = []
    back = [-3600.0]

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        noted.append(attempt.number)
        return Delivered("loft", "250 flew")

    async def put_right(at: str, event: Event) -> None:
        if at == hook and back:
            await store.shift_clock(back.pop())

    script.deliver, script.trouble = deliver, put_right
    rig = Rig(store, script)
    event_id = await rig.push(scheduled=moment(store.now()) + timedelta(minutes=30))
    await store.shift_clock(3600)
    async with rig.at_work():
        found = await rig.settled(event_id)
        assert (found.status, found.reason, found.queued["state"]) == ("pending", "its scheduled time has not come", 0)
        assert (found.queued["tries"], found.attempts, noted) == (0, [], [])
        await store.shift_clock(1801)
        await rig.until(event_id, "sent")
    assert noted == [1]


@pytest.mark.parametrize("late", ["before the hand-off", "after the hand-off"])
async def test_a_worker_that_lost_its_lease_stops(
    store: Store, script: Script, caplog: pytest.LogCaptureFixture, late: str
) -> None:
    """Another one has the event meanwhile, and what it does is all that counts."""
    taken: list[Claimed] = []
    other = WorkQueue(store, 1, LEASE)
    sent: list[str] = []

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        if message.event.id == first:
            return await fly(message, attempt)
        if late == "after the hand-off":
            await attempt.hand_off("loft")
            sent.append("by us")
        await store.shift_clock(LEASE + 1)
        assert await other.rescue() == 1
        taken.extend(await other.claim(Queue.REALTIME, 1))
        if late == "before the hand-off":
            await attempt.hand_off("loft")
            sent.append("by us")
        return Delivered("loft", "250 flew")

    script.deliver = deliver
    rig = Rig(store, script)
    # an event that only the heartbeat sets free: once it is sent, no beat comes for a while that would interfere
    first = await rig.push()
    await other.claim(Queue.REALTIME, 1)
    await store.shift_clock(LEASE + 1)
    async with rig.at_work():
        await rig.until(first, "sent")
        event_id = await rig.push()
        while not any(words in caplog.text for words in ("another worker has it", "its lease was lost")):
            await asyncio.sleep(0.01)
        found = await rig.event(event_id)
        assert (found.status, found.reason, found.attempts) == ("pending", "", [])
        assert [one for one in script.heard if one[0] == event_id] == []
        assert (found.queued["lease"], found.queued["crashes"]) == (taken[0].lease, 1)
    assert sent == (["by us"] if late == "after the hand-off" else [])
    assert taken[0].handed_off == ("loft" if late == "after the hand-off" else "")


async def _fails(message: Message, attempt: Attempt) -> Outcome:
    await attempt.hand_off("loft")
    return Failed("loft", "550 no such roof", Scope.ADDRESS, "550")


async def _defers(message: Message, attempt: Attempt) -> Outcome:
    return Deferred("loft", "451 fog", Scope.MESSAGE, "451")


async def _loses(message: Message, attempt: Attempt) -> Outcome:
    await attempt.hand_off("loft")
    return Unknown("loft", "out of sight")


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "sent", "250 flew"),
        ({"deliver": _fails}, "failed", "550 no such roof"),
        ({"deliver": _defers}, "expired", "451 fog"),
        ({"deliver": _loses}, "failed", "out of sight"),
        ({"verdict": Suppress("unsubscribed")}, "ignored", None),
        ({"template": None}, "not_covered", None),
    ],
)
async def test_every_event_ends_once_with_reason_time_and_the_providers_words(
    store: Store, script: Script, changes: dict[str, Any], status: str, words: str | None
) -> None:
    vars(script).update(changes)
    rig = Rig(store, script)
    event_id = await rig.push(expiration=moment(store.now()) + timedelta(days=1))
    async with rig.at_work():
        while (found := await rig.event(event_id)).status == "pending":
            if found.queued is not None and found.queued["state"] == 0:
                await store.shift_clock(700)
            await asyncio.sleep(0.01)
        await rig.queue.promote()
        assert await rig.queue.claim(Queue.REALTIME, 1) == []
    assert (found.status, found.queued) == (status, None)
    assert found.created <= found.processed <= store.now()
    assert found.reason
    assert words is None or words in found.reason
    assert [attempt["text"] for attempt in found.attempts] == ([words] * len(found.attempts) if words else [])
    assert [heard for heard in script.heard if heard[1] != "pending"] == [(event_id, status, found.reason)]


async def test_a_held_message_waits_without_cost(store: Store, script: Script) -> None:
    until = moment(store.now()) + timedelta(hours=1)
    script.verdict = Hold(until, "quiet hours")
    rig = Rig(store, script)
    event_id = await rig.push()
    async with rig.at_work():
        found = await rig.settled(event_id)
        assert (found.status, found.reason, found.errors, found.queued["tries"]) == ("pending", "quiet hours", 0, 0)
        script.verdict = None
        await store.shift_clock(3601)
        await rig.until(event_id, "sent")


async def test_no_answer_after_the_hand_off_is_unknown_and_repeated_once(store: Store, script: Script) -> None:
    async def silent(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        await asyncio.sleep(60)
        return Delivered("loft", "never")

    script.deliver = silent
    rig = Rig(store, script, deadline=0.1)
    event_id = await rig.push()
    async with rig.at_work():
        found = await rig.settled(event_id, attempts=1)
        assert (found.status, found.queued["unknowns"]) == ("pending", 1)
        await store.shift_clock(61)
        found = await rig.until(event_id, "failed")
    assert [attempt["outcome"] for attempt in found.attempts] == ["unknown", "unknown"]
    assert found.reason == "unknown: no answer within 0.1 s"
    assert len({message.key for message in script.messages}) == 1
    assert (rig.doubtful("no_answer"), rig.doubtful("worker_lost")) == (1, 0)


async def test_a_channel_may_hold_what_is_unknown(store: Store, script: Script) -> None:
    async def lost(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Unknown("loft", "the pigeon is out of sight")

    script.deliver, script.unknown = lost, "hold"
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.settled(await rig.push())
    assert (found.status, found.queued["awaits"], found.queued["handed_off"]) == ("pending", 1, "loft")
    assert found.reason == "unknown: the pigeon is out of sight; its receipt is awaited"
    assert 595 < (found.queued["due"] - store.now()) / 1e6 <= 600


async def test_what_is_held_ends_when_no_receipt_comes(store: Store, script: Script) -> None:
    async def lost(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Unknown("loft", "the pigeon is out of sight")

    script.deliver, script.unknown = lost, "hold"
    rig = Rig(store, script, receipt_wait=0.1)
    async with rig.at_work():
        found = await rig.until(await rig.push(), "failed")
    assert (found.reason, len(found.attempts)) == ("unknown: no receipt came from loft in time", 1)
    assert found.queued is None


async def test_a_plugin_that_fails_before_the_hand_off_costs_a_try(store: Store, script: Script) -> None:
    async def broken(message: Message, attempt: Attempt) -> Outcome:
        raise RuntimeError("feather jam")

    script.deliver = broken
    rig = Rig(store, script)
    event_id = await rig.push()
    async with rig.at_work():
        found = await rig.settled(event_id)
    assert (found.status, found.queued["tries"]) == ("pending", 1)
    assert "RuntimeError: feather jam" in found.reason


async def _raises() -> None:
    raise RuntimeError("feather jam")


async def _hangs() -> None:
    await asyncio.sleep(60)


async def _cancels() -> None:
    raise asyncio.CancelledError


async def _exits() -> None:
    raise SystemExit(3)


async def _interrupts() -> None:
    raise KeyboardInterrupt


async def _goes_on() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        (_raises, "RuntimeError: feather jam"),
        (_hangs, "no answer within"),
        (_cancels, "cancelled its own work"),
        (_exits, "SystemExit: 3"),
        (_interrupts, "KeyboardInterrupt: "),
        (_goes_on, "no answer within 1 s, and it goes on though it was cancelled"),
    ],
)
async def test_a_plugin_in_trouble_costs_an_attempt_and_never_the_queue(
    store: Store, script: Script, trouble: Callable[[], Awaitable[None]], cause: str
) -> None:
    """Whatever its hook."""
    hooks = ("enrich_event", "route_event", "resolve_template", "render", "check_message", "deliver")

    async def strike(hook: str, event: Event) -> None:
        if event.external_id == hook:
            await trouble()

    script.trouble = strike
    rig = Rig(store, script, deadline=1.0)
    struck = {hook: await rig.push(external_id=hook) for hook in hooks}
    others = [await rig.push() for _ in range(12)]
    async with rig.at_work():
        for event_id in others:
            await rig.until(event_id, "sent")
        for hook, event_id in struck.items():
            found = await rig.settled(event_id, attempts=1)
            assert f"petitbleu_{hook}: {cause}" in found.reason
            assert (found.status, found.queued["tries"], found.queued["crashes"]) == ("pending", 1, 0)
            assert [(one["outcome"], one["scope"]) for one in found.attempts] == [("deferred", "us")]
    hung = {"delivery.hook_deadline": len(hooks) - 1, "delivery.deadline": 1} if trouble in (_hangs, _goes_on) else {}
    for limit in ("delivery.hook_deadline", "delivery.deadline"):
        labels = {"limit": limit}
        assert rig.metrics.registry.get_sample_value("petitbleu_limits_reached_total", labels) == hung.get(limit)


async def test_after_a_crash_behind_the_hand_off_it_is_repeated_once(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    event_id = await rig.push()
    (dead,) = await rig.queue.claim(Queue.REALTIME, 1)
    await rig.queue.hand_off(dead, "loft")
    await store.shift_clock(LEASE + 1)
    async with rig.at_work():
        found = await rig.until(event_id, "sent")
    assert [attempt["outcome"] for attempt in found.attempts] == ["unknown", "delivered"]
    assert [attempt["number"] for attempt in found.attempts] == [1, 2]
    assert found.attempts[0]["text"] == "the worker stopped after the hand-over"
    assert (rig.doubtful("no_answer"), rig.doubtful("worker_lost")) == (0, 1)


async def test_an_answer_that_comes_when_another_has_the_event_counts_as_a_possible_duplicate(
    store: Store, script: Script
) -> None:
    async def overtaken(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        await store.shift_clock(LEASE + 1)
        assert await rig.queue.rescue() == 1
        script.deliver = fly
        return Delivered("loft", "250 late")

    script.deliver = overtaken
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.until(await rig.push(), "sent")
    assert [attempt["outcome"] for attempt in found.attempts] == ["unknown", "delivered"]
    assert rig.doubtful("lease_lost") == 1


async def test_after_such_a_crash_an_expired_event_still_tells_of_the_hand_over(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    event_id = await rig.push(expiration=moment(store.now()) + timedelta(seconds=LEASE / 2))
    (dead,) = await rig.queue.claim(Queue.REALTIME, 1)
    await rig.queue.hand_off(dead, "loft")
    await store.shift_clock(LEASE + 1)
    async with rig.at_work():
        found = await rig.until(event_id, "expired")
    assert [attempt["outcome"] for attempt in found.attempts] == ["unknown"]
    assert script.messages == []


async def test_one_that_was_handed_off_before_the_third_crash_is_parked_as_unknown(
    store: Store, script: Script
) -> None:
    rig = Rig(store, script)
    event_id = await rig.push()
    for provider in ("", "loft", ""):
        assert await rig.lose(provider) == [event_id]
    async with rig.at_work():
        found = await rig.settled(event_id)
    assert (found.status, found.reason) == ("failed", "unknown: crashed the worker 3 times")
    assert [(one["outcome"], one["provider"]) for one in found.attempts] == [("unknown", "loft")]
    assert script.messages == []


async def test_one_whose_earlier_try_was_unknown_is_parked_as_unknown(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    event_id = await rig.push()
    await store.connection.execute_script("UPDATE queue SET unknowns = 1, crashes = 3")
    async with rig.at_work():
        found = await rig.settled(event_id)
    assert (found.status, found.reason) == ("failed", "unknown: crashed the worker 3 times")
    assert (found.attempts, script.messages) == ([], [])


@pytest.mark.parametrize(
    ("place", "before", "after"), [("after_render", "", ""), ("after_reply", "unknown: ", "; its receipt is awaited")]
)
async def test_an_error_of_ours_sends_nothing_again_that_was_handed_off(
    store: Store, script: Script, place: str, before: str, after: str
) -> None:
    script.unknown = "hold"
    rig = Rig(store, script, failpoints=Failpoints({place: Failpoint(1, "raise")}))
    event_id = await rig.push()
    async with rig.at_work():
        found = await rig.settled(event_id)
    assert (found.status, found.reason) == ("pending", f"{before}FailpointHit: a failpoint struck{after}")
    assert bool(found.queued["awaits"]) == bool(after)


async def test_a_stop_gives_back_at_once_what_is_not_handed_off(store: Store, script: Script) -> None:
    """Nobody renews its lease while the answers to the others are waited for."""
    handed_off, answer = asyncio.Event(), asyncio.Event()

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        if handed_off.is_set():
            await asyncio.Event().wait()
        await attempt.hand_off("loft")
        handed_off.set()
        await answer.wait()
        return Delivered("loft", "250 flew", "250", "ref-1")

    script.deliver = deliver
    rig = Rig(store, script)
    stop = asyncio.Event()
    first = await rig.push()
    task = asyncio.create_task(rig.worker.run(stop))
    await asyncio.wait_for(handed_off.wait(), 5)
    second = await rig.push()
    while len(script.messages) < 2:
        await asyncio.sleep(0.01)
    stop.set()
    while (await rig.event(second)).queued["state"] != 1:
        await asyncio.sleep(0.01)
    assert (await rig.event(first)).queued["state"] == 2
    answer.set()
    await task
    assert (await rig.event(first)).status == "sent"
    given_back = (await rig.event(second)).queued
    assert (given_back["state"], given_back["crashes"], given_back["handed_off"]) == (1, 0, "")


async def test_an_event_that_crashes_its_worker_three_times_is_parked(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    event_id = await rig.push()
    for _ in range(3):
        assert await rig.lose() == [event_id]
    async with rig.at_work():
        found = await rig.settled(event_id)
    assert (found.status, found.reason, script.messages) == ("failed", "crashed the worker 3 times", [])


async def test_stopping_finishes_what_is_handed_off_and_gives_back_the_rest(store: Store, script: Script) -> None:
    started: list[int] = []

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        if message.event.external_id == "quick":
            await attempt.hand_off("loft")
            started.append(message.event.id)
            await asyncio.sleep(0.3)
            return Delivered("loft", "250 landed")
        started.append(message.event.id)
        await asyncio.sleep(60)
        raise AssertionError

    script.deliver = deliver
    rig = Rig(store, script)
    quick, slow = await rig.push(external_id="quick"), await rig.push()
    begun = time.monotonic()
    async with rig.at_work():
        while len(started) < 2:
            await asyncio.sleep(0.01)
    assert time.monotonic() - begun < 2
    assert (await rig.event(quick)).status == "sent"
    left = await rig.event(slow)
    assert (left.status, left.queued["state"], left.queued["crashes"], left.queued["tries"]) == ("pending", 1, 0, 0)


async def test_batch_never_takes_the_places_reserved_for_real_time(store: Store, script: Script) -> None:
    gate = asyncio.Event()

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        if message.event.queue is Queue.BATCH:
            await gate.wait()
        return await fly(message, attempt)

    script.deliver = deliver
    rig = Rig(store, script, concurrency=4)
    batch = [await rig.push(queue=Queue.BATCH) for _ in range(10)]
    async with rig.at_work():
        while len(script.messages) < 2:
            await asyncio.sleep(0.01)
        urgent = await rig.push()
        await rig.until(urgent, "sent")
        assert sum(message.event.queue is Queue.BATCH for message in script.messages) == 2
        gate.set()
        for event_id in batch:
            await rig.until(event_id, "sent")


async def test_a_flood_of_one_type_leaves_its_share_to_another(store: Store, script: Script) -> None:
    order: list[str] = []

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        order.append(message.event.type)
        await asyncio.sleep(0.002)
        return await fly(message, attempt)

    script.deliver = deliver
    rig = Rig(store, script)
    flood = [await rig.push(type="flood") for _ in range(300)]
    others = [await rig.push(type="other") for _ in range(20)]
    async with rig.at_work():
        for event_id in (*others, *flood[-1:]):
            await rig.until(event_id, "sent")
    # first come first served would put all of them behind the flood
    assert max(at for at, name in enumerate(order) if name == "other") < 150


async def test_a_flow_that_hangs_leaves_places_to_the_others(store: Store, script: Script) -> None:
    gate = asyncio.Event()

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        if message.event.type == "slow":
            await gate.wait()
        return await fly(message, attempt)

    script.deliver = deliver
    rig = Rig(store, script, deadline=30)
    for _ in range(30):
        await rig.push(type="slow")
    async with rig.at_work():
        while len(script.messages) < 7:
            await asyncio.sleep(0.01)
        for _ in range(5):
            await rig.until(await rig.push(type="quick"), "sent")
        assert sum(message.event.type == "slow" for message in script.messages) == 7
        gate.set()


async def test_what_comes_while_there_is_room_needs_no_claim(store: Store, script: Script) -> None:
    rig = Rig(store, script)
    async with rig.at_work():
        await asyncio.sleep(0.05)
        claims = rig.queue.claim
        rig.queue.claim = None  # type: ignore[method-assign,assignment]
        event_id = await rig.push()
        found = await rig.until(event_id, "sent")
        rig.queue.claim = claims  # type: ignore[method-assign]
    assert (len(found.attempts), found.queued) == (1, None)


async def test_what_comes_later_overtakes_nobody(store: Store, script: Script) -> None:
    gate = asyncio.Event()

    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        await gate.wait()
        return await fly(message, attempt)

    script.deliver = deliver
    rig = Rig(store, script)
    async with rig.at_work():
        ids = [await rig.push() for _ in range(40)]
        gate.set()
        for event_id in ids:
            await rig.until(event_id, "sent")
        late = await rig.push()
        await rig.until(late, "sent")
    assert [message.event.id for message in script.messages] == [*ids, late]


async def test_what_was_taken_without_a_claim_is_rescued_like_any_other(store: Store, script: Script) -> None:
    """The worker dies with it: the row says whose it is."""
    rig = Rig(store, script)

    class Dying:
        def room(self, events: Any) -> int:
            return len(events)

        def take(self, claimed: Any) -> None:
            """Never begins."""

    rig.queue.taker = Dying()
    event_id = await rig.push()
    assert (await rig.event(event_id)).queued["lease"].startswith(rig.queue.incarnation)
    assert await rig.queue.claim(Queue.REALTIME, 9) == []
    await store.shift_clock(LEASE + 1)
    assert await rig.queue.rescue() == 1
    async with rig.at_work():
        found = await rig.until(event_id, "sent")
    assert len(found.attempts) == 1


async def test_the_lease_is_kept_while_work_goes_on(store: Store, script: Script) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        await rig.worker.heartbeat.beat()
        await store.shift_clock(LEASE - 1)
        await rig.worker.heartbeat.beat()
        await store.shift_clock(LEASE - 1)
        return await fly(message, attempt)

    script.deliver = deliver
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.until(await rig.push(), "sent")
    assert len(found.attempts) == 1
