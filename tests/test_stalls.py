"""What hangs in a plugin takes no place from the others: of workers, and of those who hear news."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import pytest
from hand_clock import Clock
from petitbleu import Event, hookimpl
from petitbleu.delivery import worker
from petitbleu.delivery.stalls import MOST, SLOW, Stalls
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.conduct import LOST, SILENT, Conduct, Ear
from petitbleu.hosting.plugins import load
from petitbleu.queue.shares import Flow
from petitbleu.store import Store, open_store
from petitbleu.types import Queue
from pigeon_rig import Rig, Script

WALL, MAIL = Flow("wall", "note"), Flow("email", "note")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


# ----------------------------------------------------------------------------------------------------------- a worker


class Hanging(Script):
    """Events of the type `slow` hang in one hook; `quick` ones wait for each other before they are handed over."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hook = hook
        self.gate = asyncio.Event()
        self.at: Counter[str] = Counter()
        """How many are there, by type."""
        self.trouble = self._trouble

    async def _trouble(self, hook: str, event: Event) -> None:
        if (event.type == "slow" and hook == self.hook) or (event.type == "quick" and hook == "deliver"):
            self.at[event.type] += 1
            await self.gate.wait()

    @hookimpl
    async def petitbleu_outcome_recorded(self, event: Event, status: str, reason: str) -> None:
        await self.trouble("outcome_recorded", event)


@pytest.mark.parametrize("hook", ["check_message", "deliver", "outcome_recorded"])
async def test_what_hangs_takes_no_place_from_the_others(store: Store, hook: str) -> None:
    script = Hanging(hook)
    rig = Rig(store, script, deadline=60, hook_deadline=60)
    slow = [await rig.push(type="slow") for _ in range(7)]
    async with rig.at_work(), asyncio.timeout(20):
        while script.at["slow"] < len(slow):
            await asyncio.sleep(0.01)
        await store.shift_clock(2 * SLOW / 1e6)
        quick = [await rig.push(type="quick") for _ in range(12)]
        # a twentieth of the places is what all that hangs may keep: one of eight
        while script.at["quick"] < 7:
            await asyncio.sleep(0.01)
        assert script.at["slow"] == len(slow)
        script.gate.set()
        for one in (*slow, *quick):
            await rig.until(one, "sent")


async def test_an_observer_that_hangs_delays_no_claim(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of one flow, more than its places: whoever waits for the observer makes room at once, unasked."""
    monkeypatch.setattr(worker, "LOOK", 60)
    script = Hanging("outcome_recorded")
    rig = Rig(store, script, deadline=60, hook_deadline=60, poll=60)
    slow = [await rig.push(type="slow") for _ in range(20)]
    async with rig.at_work(), asyncio.timeout(20):
        while script.at["slow"] < len(slow):
            await asyncio.sleep(0.01)
        script.gate.set()
        for one in slow:
            await rig.until(one, "sent")


async def test_a_flow_that_hangs_gets_no_more_places_than_any_other(store: Store) -> None:
    script = Hanging("deliver")
    rig = Rig(store, script, deadline=60, hook_deadline=60)
    slow = [await rig.push(type="slow") for _ in range(20)]
    async with rig.at_work(), asyncio.timeout(20):
        while script.at["slow"] < 7:
            await asyncio.sleep(0.01)
        await store.shift_clock(2 * SLOW / 1e6)
        for _ in range(3):
            before = script.at["quick"]
            await rig.push(type="quick")
            while script.at["quick"] == before:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert script.at["slow"] == 7
        script.gate.set()
        for one in slow:
            await rig.until(one, "sent")


@dataclass(frozen=True)
class Moving:
    """An event under way."""

    flow: Flow = WALL
    queue: Queue = Queue.REALTIME
    started: int = 1
    asked: int = 0
    told: bool = False


def _parked(stalls: Stalls, under_way: dict[Any, Any], now: int) -> int:
    stalls.look(under_way.items(), now)
    return stalls.parked()


def test_what_hangs_is_parked_but_for_a_twentieth() -> None:
    stalls = Stalls(40)
    under_way = {number: Moving() for number in range(10)}
    assert _parked(stalls, under_way, SLOW) == 0
    assert _parked(stalls, under_way, SLOW + 2) == 8
    assert (stalls.slow, stalls.parked(Queue.REALTIME), stalls.parked(Queue.BATCH)) == ({WALL}, 8, 0)
    # whoever comes later in that flow is taken to hang, others are not
    under_way |= {10: Moving(started=SLOW), 11: Moving(MAIL, started=SLOW)}
    assert _parked(stalls, under_way, SLOW + 2) == 9
    assert stalls.without(Queue.REALTIME, Counter({WALL: 11, MAIL: 1})) == {WALL: 2, MAIL: 1}
    stalls.ended(9, under_way.pop(9), lambda: SLOW + 3)
    assert (stalls.parked(), stalls.slow) == (8, {WALL})


def test_what_has_asked_for_a_provider_is_the_throttles() -> None:
    asked = {number: Moving(asked=2 * SLOW) for number in range(10)}
    assert _parked(Stalls(40), asked, 9 * SLOW) == 0


def test_what_is_told_keeps_no_place_at_all() -> None:
    assert _parked(Stalls(40), {number: Moving(asked=5, told=True) for number in range(10)}, 6) == 10
    many = {number: Moving(told=True) for number in range(MOST * 2 + 5)}
    assert _parked(Stalls(2), many, 6) == MOST * 2
    # from the moment on, whenever somebody looks
    stalls = Stalls(2)
    for number, one in many.items():
        stalls.told(number, one)
        stalls.told(number, one)
    assert stalls.parked() == stalls.parked(Queue.REALTIME) == MOST * 2
    for number, one in many.items():
        stalls.ended(number, one, lambda: 6)
    assert stalls.parked() == stalls.parked(Queue.REALTIME) == 0


@pytest.mark.parametrize("ends", [True, False])
def test_one_that_does_not_hang_clears_its_flow(ends: bool) -> None:
    stalls = Stalls(40)
    stalls.look([(0, Moving())], SLOW + 2)
    assert stalls.slow == {WALL}
    late = replace(Moving(), started=5 * SLOW)
    if ends:
        stalls.ended(1, late, lambda: 5 * SLOW + 9)
    else:
        stalls.look([(1, replace(late, asked=5 * SLOW + 9))], 5 * SLOW + 10)
    assert not stalls.slow


# ------------------------------------------------------------------------------------------------------------ observers


def test_who_answers_is_told_however_many_calls_are_open() -> None:
    clock = Clock()
    ear = Ear(2, 10.0, clock)
    for _ in range(50):
        assert ear.open()
    clock.now += SILENT - 0.1
    ear.closed(hung=False)
    clock.now += SILENT - 0.1
    assert ear.open()


def test_who_does_not_answer_is_told_no_more_until_it_does() -> None:
    clock = Clock()
    ear = Ear(2, 10.0, clock)
    assert [ear.open(), ear.open()] == [True, True]
    clock.now += SILENT + 0.1
    assert not ear.open()
    ear.closed(hung=False)
    assert ear.open()


def test_who_hangs_again_and_again_is_tried_now_and_then() -> None:
    clock = Clock()
    ear = Ear(2, 10.0, clock)
    for _ in range(LOST):
        assert ear.open()
        ear.closed(hung=True)
    assert not ear.open()
    clock.now += 10.1
    assert [ear.open(), ear.open()] == [True, False]
    ear.closed(hung=False)
    assert [ear.open(), ear.open()] == [True, True]


async def test_an_observer_that_hangs_keeps_nobody_waiting_and_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, heard = Clock(), []
    gate = asyncio.Event()

    async def hangs(event: Any) -> None:
        await gate.wait()

    async def hears(event: Any) -> None:
        heard.append(event)

    modules = {}
    for name, function in {"deaf": hangs, "well": hears}.items():
        modules[name] = ModuleType(f"stalls_{name}")
        vars(modules[name])["petitbleu_event_accepted"] = hookimpl(function)
        monkeypatch.setitem(sys.modules, f"stalls_{name}", modules[name])
    conduct = Conduct(clock=clock)
    calls = Calls(load(list(modules), [], modules), 60.0, conduct=conduct, unheard=2)
    event: Any = object()
    waiting = [asyncio.create_task(calls.event_accepted(event)) for _ in range(2)]
    await asyncio.sleep(0.01)
    clock.now += SILENT + 0.1
    async with asyncio.timeout(5):
        await calls.event_accepted(event)
    assert len(heard) == 1
    assert conduct.unheard == {("deaf", "petitbleu_event_accepted"): 1}
    (check,) = conduct.checks()["deaf"]
    assert "hears nothing of what happens, since it does not answer" in check.text
    assert "plugin deaf, petitbleu_event_accepted, does not answer and misses news until it does" in caplog.text
    gate.set()
    await asyncio.gather(*waiting)
    await calls.event_accepted(event)
    assert len(heard) == 4
