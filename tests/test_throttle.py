"""The flow to providers: the arithmetic, and what processes that share a database grant and tell each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Deferred, Delivered, Event, Failed, NotNow, Outcome, Queue, Scope, Unknown
from petitbleu.metrics import Metrics
from petitbleu.queue.shares import Flow
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment
from petitbleu.throttle import Feedback, Limit, ProviderLimits, Shared, Throttle, Ticket
from petitbleu.throttle.quota import GRANT, Holding, grant, share
from petitbleu.throttle.shared import Wish
from petitbleu.throttle.window import Quick, Usual, Window

# ------------------------------------------------------------------------------------------------------ the window


@given(st.integers(1, 50), st.integers(1, 100), st.lists(st.booleans(), max_size=300))
def test_a_window_stays_between_one_and_its_limit(start: int, limit: int, went_well: list[bool]) -> None:
    window = Window(start, limit)
    for well in went_well:
        before = window.size
        if well:
            window.succeeded()
            assert before <= window.size <= before + 1
        else:
            window.failed()
            assert before - 1 <= window.size <= before
        assert 1 <= window.places <= limit


@given(st.integers(1, 40))
def test_a_window_of_successes_opens_it_by_one_and_as_many_failures_are_death(start: int) -> None:
    window = Window(start, 1000)
    for _ in range(start):
        window.succeeded()
    assert start + 0.6 < window.size <= start + 1
    window = Window(start, 1000)
    failures = 1
    while not window.failed():
        failures += 1
    assert failures <= start
    assert failures >= start / 2


def test_what_answers_in_between_is_not_dead() -> None:
    window = Window(4, 20)
    for _ in range(100):
        assert not window.failed() or window.size < 2
        window.answered()
    window.reset()
    assert (window.places, window.lost) == (4, 0.0)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=100))
def test_the_usual_time_lies_within_what_was_seen(times: list[float]) -> None:
    usual = Usual()
    for time in times:
        usual.saw(time)
    assert min(times) * 0.999 <= usual.value <= max(times) * 1.001


def test_one_slow_message_hardly_moves_the_usual_time() -> None:
    usual = Usual()
    for _ in range(100):
        usual.saw(1000)
    usual.saw(60_000_000)
    assert usual.value < 1200


def test_slow_messages_do_not_make_the_quick_ones_slow() -> None:
    quick = Quick()
    for number in range(1000):
        quick.saw(1000 if number % 3 == 0 else 3_000_000)
    assert 900 < quick.value < 3000
    for _ in range(1000):
        quick.saw(5000)
    assert quick.value == 5000


# ------------------------------------------------------------------------------------------------------- the quotas


@given(st.floats(0.5, 5000), st.lists(st.integers(0, 400_000), min_size=1, max_size=200))
def test_no_more_is_granted_than_the_rate_allows_in_any_time(rate: float, steps: list[int]) -> None:
    now, due = 1_000_000_000, 0
    granted: list[tuple[int, int]] = []
    for step in steps:
        now += step
        count, due = grant(due, now, rate)
        granted.append((now, count))
    for first in range(len(granted)):
        given_out = 0
        for then, count in granted[first:]:
            given_out += count
            assert given_out <= rate * (then - granted[first][0] + GRANT) / 1e6 + 1 + 1e-3 * len(granted)


@given(st.floats(1, 5000))
def test_who_keeps_asking_gets_the_whole_rate(rate: float) -> None:
    now, due, granted = 1_000_000_000, 0, 0
    for _ in range(1000):
        count, due = grant(due, now, rate)
        granted += count
        now += 10_000
    assert granted == pytest.approx(rate * 10, rel=0.02, abs=1 + rate * GRANT / 1e6)


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=60))
def test_places_are_never_lent_twice(limit: int, asked: list[tuple[int, int]]) -> None:
    held: dict[int, Holding] = {}
    for who, wanted in asked:
        others = [one for name, one in held.items() if name != who]
        held[who] = Holding(share(limit, wanted, 0, others), wanted)
        assert sum(one.held for one in held.values()) <= limit
        assert held[who].held <= wanted


@given(st.integers(4, 50), st.lists(st.integers(1, 60), min_size=2, max_size=4))
def test_everybody_comes_to_a_fair_part(limit: int, wishes: list[int]) -> None:
    held = dict.fromkeys(range(len(wishes)), Holding(0, 0))
    for _ in range(3):
        for who, wanted in enumerate(wishes):
            others = [one for name, one in held.items() if name != who]
            held[who] = Holding(share(limit, wanted, 0, others), wanted)
    for who, wanted in enumerate(wishes):
        assert held[who].held >= min(wanted, limit // len(wishes))
    assert sum(one.held for one in held.values()) == min(limit, sum(wishes))


def test_who_has_messages_under_way_keeps_their_places() -> None:
    assert share(10, wanted=3, used=8, others=[Holding(2, 10)]) == 8
    assert share(10, wanted=20, used=8, others=[Holding(0, 20)]) == 8
    assert share(10, wanted=20, used=2, others=[Holding(0, 20)]) == 5


# --------------------------------------------------------------------------------------------------------- processes

LEASE = 30.0
QUICK = Feedback(places=40, window=4, pause=10.0, pause_cap=40.0, wait=0.03, back_cap=30.0, lease=LEASE)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


def process(
    store: Store,
    name: str = "one",
    feedback: Feedback = QUICK,
    limits: Mapping[tuple[str, str], ProviderLimits] | None = None,
    metrics: Metrics | None = None,
) -> Throttle:
    """A throttle as one process has it; its pauses are as long as they can be."""
    shared = Shared(store, name, LEASE)
    return Throttle(shared, feedback, limits or {}, store.now, lambda: 1.0, metrics or Metrics())


def event(event_type: str = "note", queue: Queue = Queue.REALTIME) -> Event:
    return Event(0, event_type, queue, "email", {}, moment(0))


class Under:
    """Messages under way at one throttle, each until it is told how it went."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self.open: list[Ticket] = []

    async def enter(self, provider: str = "main", destination: str = "a.example", **changes: Any) -> Ticket:
        ticket = self._throttle.ticket("email", event(**changes))
        try:
            await self._throttle.admit(ticket, provider, destination)
        except BaseException:
            self._throttle.close(ticket)
            raise
        self.open.append(ticket)
        return ticket

    def end(self, outcome: Outcome | None, ticket: Ticket | None = None) -> None:
        """Of the one that is longest under way, if none is named."""
        ended = ticket or self.open[0]
        self.open.remove(ended)
        if outcome is not None:
            self._throttle.learn(ended, outcome)
        self._throttle.close(ended)


DELIVERED = Delivered("main", "250 taken")
DOWN = Deferred("main", "connection refused", Scope.PROVIDER)
NO_SUCH = Failed("main", "550 no such user", Scope.ADDRESS)


async def fail(throttle: Throttle, times: int, outcome: Outcome = DOWN) -> None:
    under = Under(throttle)
    for _ in range(times):
        await under.enter()
        under.end(outcome)


async def test_the_window_is_the_most_at_once_and_what_waits_follows(store: Store) -> None:
    throttle = process(store)
    under = Under(throttle)
    for number in range(4):
        await under.enter(destination="a.example" if number % 2 else "b.example")
    later = asyncio.create_task(under.enter(destination="c.example"))
    await asyncio.sleep(0.005)
    assert not later.done()
    under.end(DELIVERED)
    await asyncio.wait_for(later, 1)
    (state,) = throttle.states()
    assert (state.in_use, state.window, state.waiting) == (4, 4, 0)


async def test_who_finds_it_full_is_put_back_with_growing_delays(store: Store) -> None:
    throttle = process(store)
    under = Under(throttle)
    for _ in range(4):
        await under.enter()
    await store.shift_clock(8)
    dues = []
    for _ in range(5):
        with pytest.raises(NotNow, match=r"email/main takes no more at once \(window\)") as refused:
            await under.enter()
        dues.append((refused.value.due - store.now()) / 1e6)
    # four messages that take 8 s: every 2 s there is room for one
    assert dues == pytest.approx([2.5, 5, 7.5, 10, 12.5], rel=0.1)
    for _ in range(20):
        with pytest.raises(NotNow) as refused:
            await under.enter()
    assert refused.value.due - store.now() <= QUICK.back_cap * 1.25e6


async def test_a_provider_that_only_fails_is_paused_and_one_message_probes_it(store: Store) -> None:
    metrics = Metrics()
    throttle = process(store, metrics=metrics)
    await fail(throttle, 4)
    under = Under(throttle)
    with pytest.raises(NotNow, match=r"email/main is paused until .* UTC, because: connection refused") as refused:
        await under.enter()
    assert 10 <= (refused.value.due - store.now()) / 1e6 + 0.1 <= 11.2
    (check,) = throttle.checks()
    assert (check.name, check.ok) == ("email/main", False)
    assert throttle.blocked() == {Flow("email", "note")}

    await store.shift_clock(10.1)
    assert throttle.room(Flow("email", "note")) == 1
    await under.enter()
    assert throttle.room(Flow("email", "note")) == 0
    with pytest.raises(NotNow):
        await under.enter()
    assert throttle.room(Flow("email", "note")) == 0
    under.end(DOWN)
    with pytest.raises(NotNow) as refused:
        await under.enter()
    assert 20 <= (refused.value.due - store.now()) / 1e6 + 0.1 <= 21.2

    await store.shift_clock(20.2)
    await under.enter()
    under.end(DELIVERED)
    for _ in range(4):
        await under.enter()
    assert throttle.checks() == []
    assert throttle.blocked() == frozenset()
    for result, count in (("failed", 1.0), ("delivered", 1.0)):
        labels = {"channel": "email", "provider": "main", "result": result}
        assert metrics.registry.get_sample_value("petitbleu_probes_total", labels) == count
    labels = {"channel": "email", "provider": "main", "reason": "paused"}
    assert metrics.registry.get_sample_value("petitbleu_put_backs_total", labels) == 3


async def test_why_it_is_paused_names_nobody(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    throttle = process(store)
    await fail(throttle, 4, Deferred("main", "rcpt: 450 <Zoe@Example.com>: too much mail", Scope.PROVIDER))
    (check,) = throttle.checks()
    assert check.text.endswith("because: rcpt: 450 <***>: too much mail")
    assert "is left alone for 10 s, pause 1 in a row: rcpt: 450 <***>" in caplog.text
    assert "example.com" not in caplog.text.lower().replace("a.example", "")


async def test_pauses_double_up_to_a_cap(store: Store) -> None:
    throttle = process(store)
    await fail(throttle, 4)
    lengths = []
    for _ in range(4):
        (pause,) = throttle.pauses().values()
        lengths.append(round((pause.until - store.now()) / 1e6))
        await store.shift_clock(lengths[-1] + 0.2)
        await fail(throttle, 1)
    assert lengths == [10, 20, 40, 40]
    assert pause.number == 4


@pytest.mark.parametrize("outcome", [NO_SUCH, Deferred("main", "450 grey", Scope.MESSAGE)])
async def test_an_answer_about_a_message_says_that_the_provider_lives(store: Store, outcome: Outcome) -> None:
    throttle = process(store)
    await fail(throttle, 3)
    await fail(throttle, 20, outcome)
    await fail(throttle, 1)
    assert throttle.pauses() == {}
    while not throttle.pauses():
        await fail(throttle, 1)
    await store.shift_clock(10.1)
    await fail(throttle, 1, outcome)
    assert throttle.pauses() == {}


async def test_what_is_our_own_fault_says_nothing_and_frees_the_probe(store: Store) -> None:
    throttle = process(store)
    await fail(throttle, 20, Deferred("main", "no sender", Scope.US))
    assert throttle.pauses() == {}
    await fail(throttle, 4, Unknown("main", "no answer"))
    await store.shift_clock(10.1)
    await fail(throttle, 1, Deferred("main", "no sender", Scope.US))
    assert len(throttle.pauses()) == 1
    await throttle.exchange.look()
    await fail(throttle, 1, DELIVERED)
    assert throttle.pauses() == {}


async def test_a_provider_may_ask_for_a_longer_pause(store: Store) -> None:
    throttle = process(store)
    await fail(throttle, 4, Deferred("main", "throttled", Scope.PROVIDER, retry_after=100))
    (pause,) = throttle.pauses().values()
    assert round((pause.until - store.now()) / 1e6) == 100
    assert throttle.due("email", "main", 7) == pause.until
    assert throttle.due("email", "other", 7) == 7


async def test_a_destination_that_alone_fails_is_paused_alone(store: Store) -> None:
    throttle = process(store)
    under = Under(throttle)
    for _ in range(4):
        await under.enter(destination="good.example")
        under.end(DELIVERED)
        await under.enter(destination="bad.example")
        under.end(Unknown("main", "no answer"))
    with pytest.raises(NotNow, match=r"email/main/bad\.example is paused"):
        await under.enter(destination="bad.example")
    await under.enter(destination="good.example")
    (check,) = throttle.checks()
    assert (check.name, check.ok) == ("email/main/bad.example", True)
    assert throttle.states()[0].destinations == 1


async def test_a_slow_destination_leaves_room_for_the_others(store: Store) -> None:
    throttle = process(store, feedback=Feedback(places=40, window=20, wait=0.02))
    under = Under(throttle)

    async def fill(destination: str) -> tuple[list[Ticket], str]:
        found: list[Ticket] = []
        while True:
            try:
                found.append(await under.enter(destination=destination))
            except NotNow as refused:
                return found, str(refused)

    for _ in range(600):
        under.end(DELIVERED, await under.enter(destination="quick.example"))
    under.end(DELIVERED, await under.enter(destination="other.example"))
    most = throttle.states()[0].window
    assert most > 30
    slow, reason = await fill("slow.example")
    assert len(slow) == most // 2
    assert reason == "email/main/slow.example takes no more at once (destination)"
    quick, reason = await fill("quick.example")
    assert len(slow) + len(quick) == most
    assert reason == "email/main takes no more at once (window)"
    # what one of them gives back the others get, until it has no more than a tenth
    for ticket in quick:
        under.end(DELIVERED, ticket)
    await store.shift_clock(5)
    quick = [await under.enter(destination="quick.example") for _ in quick]
    while len(slow) > most // 10:
        under.end(DELIVERED, slow.pop())
        with pytest.raises(NotNow, match="destination"):
            await under.enter(destination="slow.example")
        quick.append(await under.enter(destination=f"{len(slow)}.example"))
    assert throttle.blocked() == frozenset()


async def test_a_destination_that_takes_a_little_longer_may_have_what_nobody_needs(store: Store) -> None:
    throttle = process(store, feedback=Feedback(places=40, window=20, wait=0.02))
    under = Under(throttle)
    for _ in range(600):
        under.end(DELIVERED, await under.enter(destination="quick.example"))
    ahead = 0.0
    for _ in range(10):
        ticket = await under.enter(destination="big.example")
        ahead += 0.2
        await store.shift_clock(ahead)
        under.end(DELIVERED, ticket)
    assert throttle.states()[0].window > 30
    for _ in range(20):
        await under.enter(destination="big.example")
        under.end(DELIVERED, await under.enter(destination="quick.example"))


async def test_whoever_leaves_frees_everything(store: Store) -> None:
    throttle = process(store)
    ticket = throttle.ticket("email", event())
    await throttle.admit(ticket, "main", "a.example")
    assert throttle.states()[0].in_use == 1
    await throttle.admit(ticket, "other", "a.example")
    assert [state.in_use for state in throttle.states()] == [0, 1]
    throttle.close(ticket)
    assert [state.in_use for state in throttle.states()] == [0, 0]


async def test_who_gives_up_waiting_waits_no_more(store: Store) -> None:
    throttle = process(store)
    under = Under(throttle)
    for _ in range(4):
        await under.enter()
    waiting = asyncio.create_task(under.enter())
    await asyncio.sleep(0.005)
    assert throttle.states()[0].waiting == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert throttle.states()[0].waiting == 0


async def test_a_flow_with_more_than_one_way_is_never_blocked(store: Store) -> None:
    throttle = process(store)
    await fail(throttle, 4)
    under = Under(throttle)
    await under.enter("other")
    for _ in range(3):
        with pytest.raises(NotNow):
            await under.enter("main")
    assert throttle.blocked() == frozenset()
    with pytest.raises(NotNow):
        await under.enter("main", event_type="statement")
    assert throttle.blocked() == {Flow("email", "statement")}


async def test_beyond_its_stake_a_provider_takes_no_place(store: Store) -> None:
    throttle = process(store, feedback=Feedback(places=40, window=20, wait=0.02))
    under = Under(throttle)
    for _ in range(8):
        await under.enter(queue=Queue.BATCH)
    for number in range(4):
        await under.enter(destination=f"{number}.example")
    assert (throttle.parked(), throttle.parked(Queue.BATCH)) == (10, 8)
    await under.enter("other")
    assert throttle.parked() == 10


async def test_few_wait_for_a_busy_provider_where_there_is_another_one(store: Store) -> None:
    throttle = process(store, feedback=Feedback(places=40, window=2, wait=5.0))
    under = Under(throttle)
    await under.enter("other")
    for number in range(2):
        await under.enter(destination=f"{number}.example")
    await store.shift_clock(5)
    waiting = [asyncio.create_task(under.enter(destination=f"{number}.example")) for number in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(NotNow):
        await under.enter()
    assert throttle.room(Flow("email", "note")) == 0
    for _ in range(2):
        under.end(DELIVERED, under.open[1])
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


# ------------------------------------------------------------------------------------------------- several processes


@pytest.fixture
async def stores(postgres_url: str) -> AsyncIterator[tuple[Store, Store]]:
    async with open_store(postgres_url) as one, open_store(postgres_url) as two:
        yield one, two


def limited(
    rate: float | None = None, concurrency: int | None = None, destinations: Mapping[str, Limit] = MappingProxyType({})
) -> dict[tuple[str, str], ProviderLimits]:
    return {("email", "main"): ProviderLimits(Limit(rate, concurrency), destinations)}


async def test_a_pause_is_known_to_all_and_only_one_probes(stores: tuple[Store, Store]) -> None:
    one, two = (process(store, name) for store, name in zip(stores, ("one", "two"), strict=True))
    await fail(two, 1, DELIVERED)
    await fail(one, 4)
    await one.exchange.look()
    await two.exchange.look()
    with pytest.raises(NotNow, match="because: connection refused"):
        await Under(two).enter()
    for store in stores:
        await store.shift_clock(10.1)
    under = Under(one), Under(two)
    found = await asyncio.gather(*(each.enter() for each in under for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found].count(Ticket) == 1
    assert len(under[0].open) + len(under[1].open) == 1
    (winner,) = [each for each in under if each.open]
    winner.end(DELIVERED)
    for throttle in (one, two, one):
        await throttle.exchange.look()
    assert one.pauses() == two.pauses() == {}
    await under[0].enter()
    await under[1].enter()


async def test_a_provider_met_later_is_known_to_be_paused(stores: tuple[Store, Store]) -> None:
    one, two = (process(store, name) for store, name in zip(stores, ("one", "two"), strict=True))
    await fail(one, 4)
    await one.exchange.look()
    await two.exchange.look()
    assert [check.ok for check in two.checks()] == [False]
    with pytest.raises(NotNow, match="paused"):
        await Under(two).enter()


async def test_the_probe_of_a_process_that_died_is_free_after_a_lease(stores: tuple[Store, Store]) -> None:
    one, two = (process(store, name) for store, name in zip(stores, ("one", "two"), strict=True))
    await fail(one, 4)
    await one.exchange.look()
    for store in stores:
        await store.shift_clock(10.1)
    await Under(one).enter()
    await two.exchange.look()
    with pytest.raises(NotNow):
        await Under(two).enter()
    await stores[1].shift_clock(10.1 + LEASE + 1)
    await two.exchange.look()
    await Under(two).enter()


async def test_concurrency_is_that_of_all_processes_and_moves_to_where_it_is_needed(
    stores: tuple[Store, Store],
) -> None:
    limits = limited(concurrency=6)
    feedback = Feedback(places=40, window=40, wait=0.25, lease=LEASE)
    one, two = (process(store, name, feedback, limits) for store, name in zip(stores, ("one", "two"), strict=True))
    first, second = Under(one), Under(two)
    for number in range(6):
        await first.enter(destination=f"{number}.example")
    for under in (first, second):
        with pytest.raises(NotNow, match="takes no more at once"):
            await under.enter()
    for _ in range(3):
        first.end(DELIVERED)
    # what was of no use since the look before
    await one.exchange.look()
    await one.exchange.look()
    for number in range(3):
        await second.enter(destination=f"{number}.example")
    for under in (first, second):
        with pytest.raises(NotNow, match="concurrency"):
            await under.enter()
    assert len(first.open) + len(second.open) == 6


async def test_nothing_begins_in_a_place_while_it_is_given_back(stores: tuple[Store, Store]) -> None:
    """The answer takes its time, and others have the places already."""
    answered = asyncio.Event()
    answered.set()

    class Slow(Shared):
        async def places(self, wishes: Sequence[Wish]) -> dict[str, int]:
            held = await super().places(wishes)
            await answered.wait()
            return held

    limits, feedback = limited(concurrency=6), Feedback(places=40, window=40, wait=0.25, lease=LEASE)
    one = Throttle(Slow(stores[0], "one", LEASE), feedback, limits, stores[0].now, lambda: 1.0, Metrics())
    first, second = Under(one), Under(process(stores[1], "two", feedback, limits))
    for number in range(6):
        await first.enter(destination=f"{number}.example")
    with pytest.raises(NotNow):
        await second.enter()
    for _ in range(3):
        first.end(DELIVERED)
    await one.exchange.look()
    answered.clear()
    looking = asyncio.create_task(one.exchange.look())
    async with asyncio.timeout(5):
        while len(second.open) < 3:
            with suppress(NotNow):
                await second.enter(destination=f"{len(second.open)}.example")
    with pytest.raises((NotNow, TimeoutError)):
        async with asyncio.timeout(0.5):
            await first.enter()
    answered.set()
    await looking
    assert len(first.open) + len(second.open) == 6


async def test_what_a_dead_process_had_is_free_after_a_lease(stores: tuple[Store, Store]) -> None:
    limits = limited(concurrency=4)
    one, two = (process(store, name, QUICK, limits) for store, name in zip(stores, ("one", "two"), strict=True))
    under = Under(one)
    for number in range(4):
        await under.enter(destination=f"{number}.example")
    with pytest.raises(NotNow):
        await Under(two).enter()
    await stores[1].shift_clock(LEASE + 1)
    await Under(two).enter()


async def test_what_a_process_had_is_free_at_once_when_it_stops(stores: tuple[Store, Store]) -> None:
    limits = limited(concurrency=4)
    one, two = (process(store, name, QUICK, limits) for store, name in zip(stores, ("one", "two"), strict=True))
    async with one.exchange.running():
        under = Under(one)
        for number in range(4):
            await under.enter(destination=f"{number}.example")
    await Under(two).enter()


async def test_a_rate_is_that_of_all_processes(stores: tuple[Store, Store]) -> None:
    feedback = Feedback(places=40, window=40, wait=5.0)
    throttles = [process(store, name, feedback, limited(rate=80)) for store, name in zip(stores, "ab", strict=True)]
    going = True
    passed: list[float] = []
    clock = asyncio.get_running_loop().time

    async def send(throttle: Throttle) -> None:
        while going:
            under = Under(throttle)
            await under.enter()
            passed.append(clock())
            under.end(DELIVERED)

    tasks = [asyncio.create_task(send(throttle)) for throttle in throttles for _ in range(5)]
    await asyncio.sleep(2)
    going = False
    await asyncio.gather(*tasks)
    seconds = passed[-1] - passed[0]
    # a fifth of a second's worth may be on its way in each process when the clock starts
    assert 80 * seconds * 0.8 <= len(passed) <= 80 * (seconds + 0.3 + 0.2) + 2


async def test_a_destination_has_limits_of_its_own(stores: tuple[Store, Store]) -> None:
    limits = limited(destinations={"small.example": Limit(concurrency=1), "*": Limit(concurrency=2)})
    one, two = (process(store, name, QUICK, limits) for store, name in zip(stores, ("one", "two"), strict=True))
    first, second = Under(one), Under(two)
    await first.enter(destination="small.example")
    for name in ("x.example", "y.example"):
        await first.enter(destination=name)
        await second.enter(destination=name)
    for name in ("small.example", "x.example"):
        with pytest.raises(NotNow, match="email/main/" + name):
            await second.enter(destination=name)


async def test_many_limited_destinations_are_asked_for_together_and_forgotten(stores: tuple[Store, Store]) -> None:
    limits = limited(destinations={"*": Limit(rate=50, concurrency=2)})
    feedback = Feedback(places=400, window=400, wait=0.2, lease=LEASE)
    one, two = (process(store, name, feedback, limits) for store, name in zip(stores, ("one", "two"), strict=True))
    first, second = Under(one), Under(two)
    names = [f"{number}.example" for number in range(50)]
    for name in names:
        await first.enter(destination=name)
        await second.enter(destination=name)
    await asyncio.gather(*(throttle.exchange.look() for throttle in (one, two) for _ in range(3)))
    (held,) = await stores[0].read("SELECT count(*) AS rows, sum(held) AS held FROM quota_holders", [])
    assert (held["rows"], held["held"]) == (100, 100)
    for under in (first, second):
        while under.open:
            under.end(DELIVERED)
    for throttle in (one, one, two, two):
        await throttle.exchange.look()
    (held,) = await stores[0].read("SELECT sum(held) AS held FROM quota_holders", [])
    assert held["held"] == 0
    for store in stores:
        await store.shift_clock(7200)
    await Shared(stores[0], "one", LEASE).purge()
    for table in ("quotas", "quota_holders"):
        assert await stores[0].read(f"SELECT * FROM {table}", []) == []


async def test_a_pause_of_a_provider_nobody_has_any_more_is_forgotten(store: Store) -> None:
    throttle = process(store)
    await fail(throttle, 4)
    await throttle.exchange.look()
    await store.shift_clock(3500)
    await Shared(store, "one", LEASE).purge()
    assert len(await Shared(store, "one", LEASE).pauses()) == 1
    await store.shift_clock(3700)
    await Shared(store, "one", LEASE).purge()
    await throttle.exchange.look()
    assert throttle.checks() == []


async def test_a_probe_given_up_before_it_began_is_free_for_the_next(store: Store) -> None:
    throttle = process(store)
    await fail(throttle, 4)
    await store.shift_clock(10.1)
    for turns in range(1, 40):
        task = asyncio.create_task(Under(throttle).enter())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Ticket):
            throttle.close(ended)
        await throttle.exchange.look()
        await store.shift_clock(10.1 + turns * 2)
    await fail(throttle, 1, DELIVERED)
    assert throttle.pauses() == {}


async def test_a_probe_that_goes_elsewhere_is_free_for_the_next(store: Store) -> None:
    throttle = process(store)
    await fail(throttle, 4)
    await store.shift_clock(10.1)
    ticket = throttle.ticket("email", event())
    await throttle.admit(ticket, "main", "a.example")
    await throttle.admit(ticket, "other", "a.example")
    throttle.learn(ticket, Delivered("other", "250 taken"))
    throttle.close(ticket)
    assert len(throttle.pauses()) == 1
    await throttle.exchange.look()
    await fail(throttle, 1, DELIVERED)
    assert throttle.pauses() == {}


async def test_who_is_not_limited_asks_the_database_nothing(store: Store) -> None:
    throttle = process(store)
    asked: list[str] = []
    rows = store.rows

    async def counted(query: str, *values: Any, **more: Any) -> Any:
        asked.append(query)
        return await rows(query, *values, **more)

    store.rows = counted  # type: ignore[method-assign]
    under = Under(throttle)
    for _ in range(100):
        await under.enter()
        under.end(DELIVERED)
    running = throttle.admit(throttle.ticket("email", event()), "main", "a.example")
    with pytest.raises(StopIteration):
        running.send(None)
    assert asked == []
