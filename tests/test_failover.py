"""Which provider a message is given to, and what happens when that one fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Attempt, Deferred, Delivered, Failed, Message, NotNow, Outcome, Scope, Unknown
from petitbleu.failover import Condition, Failover
from petitbleu.store import Store, open_store
from pigeon_rig import Rig, Script

NAMES = ("loft", "barn", "tower")
WELL = dict.fromkeys(NAMES, Condition())


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


def _pick(failover: Failover, avoid: tuple[str, ...] = (), **conditions: Condition) -> str:
    return failover.pick(NAMES, avoid, lambda name: {**WELL, **conditions}[name], Random(1).random)


def test_without_a_word_the_order_is_the_given_one() -> None:
    assert _pick(Failover()) == "loft"


def test_the_settings_order_counts_and_whoever_they_leave_out_comes_last() -> None:
    assert Failover(("tower", "barn")).ordered(NAMES, Random(1).random) == ["tower", "barn", "loft"]


def test_the_paused_the_slow_and_those_to_avoid_are_passed_over() -> None:
    failover = Failover(slow=2.0)
    assert _pick(failover, ("loft",)) == "barn"
    assert _pick(failover, loft=Condition(paused=True)) == "barn"
    assert _pick(failover, loft=Condition(seconds=2.1)) == "barn"
    assert _pick(failover, ("loft",), barn=Condition(paused=True)) == "tower"
    assert _pick(Failover(), loft=Condition(seconds=60)) == "loft"


@given(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_there_is_always_one_and_no_better_one(avoid: set[str], paused: set[str], slow: set[str]) -> None:
    failover = Failover(slow=1.0)
    conditions = {name: Condition(name in paused, 2.0 * (name in slow)) for name in NAMES}
    found = failover.pick(NAMES, avoid, conditions.__getitem__, Random(1).random)

    def rank(name: str) -> tuple[bool, bool, bool, int]:
        return name in avoid, name in paused, name in slow, NAMES.index(name)

    assert found == min(NAMES, key=rank)


def test_weights_are_kept_over_many_draws() -> None:
    random = Random(7).random
    failover = Failover(("loft", "barn"), {"loft": 3.0, "barn": 1.0})
    drawn = Counter(failover.ordered(NAMES, random)[0] for _ in range(4000))
    assert 2800 < drawn["loft"] < 3200
    assert drawn["barn"] == 4000 - drawn["loft"]


@pytest.mark.parametrize("refusal", [Deferred, Failed])
async def test_who_refuses_for_its_own_sake_is_followed_by_the_next_at_once(
    store: Store, refusal: type[Deferred] | type[Failed]
) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        provider = attempt.pick(NAMES)
        await attempt.admit(provider, "")
        if provider != "tower":
            return refusal(provider, f"{provider} is shut", Scope.PROVIDER)
        await attempt.hand_off(provider)
        return Delivered(provider, "flew")

    script = Script()
    script.deliver = deliver
    rig = Rig(store, script)
    async with rig.at_work():
        found = await rig.until(await rig.push(), "sent")
    assert [(one["provider"], one["outcome"] == "delivered") for one in found.attempts] == [
        ("loft", False),
        ("barn", False),
        ("tower", True),
    ]


async def test_when_all_have_refused_the_event_waits_and_begins_anew(store: Store) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        return Deferred(attempt.pick(NAMES), "shut", Scope.PROVIDER)

    script = Script()
    script.deliver = deliver
    rig = Rig(store, script)
    event_id = await rig.push()
    async with rig.at_work():
        found = await rig.settled(event_id, attempts=3)
        while (found.queued["due"] - store.now()) < 10_000_000:
            found = await rig.settled(event_id, attempts=3)
    assert [one["provider"] for one in found.attempts] == list(NAMES)
    assert (found.status, found.queued["tries"], found.queued["avoid"]) == ("pending", 0, "")


async def test_after_silence_the_second_try_goes_to_another_provider(store: Store) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        provider = attempt.pick(("loft", "barn"))
        await attempt.hand_off(provider)
        return Unknown(provider, "silence") if provider == "loft" else Delivered(provider, "flew")

    script = Script()
    script.deliver = deliver
    rig = Rig(store, script)
    event_id = await rig.push()
    async with rig.at_work():
        await rig.settled(event_id, attempts=1)
        await store.shift_clock(120)
        rig.queue.look_again()
        found = await rig.until(event_id, "sent")
    assert [(one["provider"], one["outcome"]) for one in found.attempts] == [("loft", "unknown"), ("barn", "delivered")]


async def test_a_paused_provider_is_passed_over_without_an_attempt(store: Store) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        provider = attempt.pick(("loft", "barn"))
        await attempt.admit(provider, "")
        if provider == "loft":
            return Deferred(provider, "fog", Scope.PROVIDER)
        await attempt.hand_off(provider)
        return Delivered(provider, "flew")

    script = Script()
    script.deliver = deliver
    rig = Rig(store, script)
    async with rig.at_work():
        for _ in range(30):
            await rig.until(await rig.push(), "sent")
        assert rig.throttle.condition("pigeon", "loft").paused
        found = await rig.until(await rig.push(), "sent")
    assert [one["provider"] for one in found.attempts] == ["barn"]


async def test_an_event_that_is_put_back_remembers_whom_it_failed_with(store: Store) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        provider = attempt.pick(("loft", "barn"))
        if provider == "loft":
            return Deferred(provider, "shut", Scope.PROVIDER)
        raise NotNow("its rate is used up", store.now() + 3_600_000_000)

    script = Script()
    script.deliver = deliver
    rig = Rig(store, script)
    event_id = await rig.push()
    async with rig.at_work():
        found = await rig.settled(event_id, attempts=1)
        while "rate" not in found.reason:
            found = await rig.settled(event_id, attempts=1)
    assert (found.queued["avoid"], len(found.attempts)) == ("loft", 1)
