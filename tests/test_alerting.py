"""Alerts of an installation: measured from what all processes share, judged by one of them, read by all."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from command_line import runner, sample_copy
from hand_clock import Clock
from petitbleu import AccessDenied, Alert, Event, Operator, Queue
from petitbleu.alerts.alerting import Alerting
from petitbleu.alerts.thresholds import WATCHED, Pace, Terms
from petitbleu.queue.queue import WorkQueue
from petitbleu.reports.tally import Fact, Tally
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment

SECOND, MINUTE = 1_000_000, 60_000_000
TERMS = {
    "queue": Terms(2, 3),
    "error_rate": Terms(1, 5),
    "queuing": Terms(4, 8),
    "sending": Terms(6, 12),
    "processing": Terms(10, 20),
    "database": Terms(30, 60),
}
NAMES = [name for name in WATCHED if name != "watchdog"]
"""Where there is no watchdog."""
READER = Operator("ann", frozenset({"read"}))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


def alerting(store: Store, holder: str = "one", clock: Clock | None = None, **more: Any) -> Alerting:
    pace = Pace(60 * SECOND, 300 * SECOND, 0.8)
    return Alerting(store, TERMS, pace, 5 * MINUTE, 3, 15.0, holder, clock=clock or Clock(), **more)


async def put(store: Store, events: int, queue: Queue = Queue.REALTIME, **more: Any) -> None:
    event = Event(0, "note", queue, "pigeon", {}, moment(store.now()), **more)
    await WorkQueue(store, 1, 30.0).put([event] * events)


async def count(store: Store, **ended: int) -> None:
    """So many events ended so, within this minute."""
    async with store.transaction() as on:
        facts = [
            Fact(store.now(), fact, "note", "pigeon", "", "") for fact, times in ended.items() for _ in range(times)
        ]
        await Tally().count(store, facts, on)


async def looked(store: Store, one: Alerting, seconds: int, times: int = 1) -> Mapping[str, Alert]:
    """After `times` looks, one every `seconds`."""
    for _ in range(times):
        await store.shift_clock(seconds)
        await one.turn()
    return {alert.name: alert for alert in await one.current()}


async def test_a_queue_that_stands_still_is_told_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "petitbleu.alerts")
    one = alerting(store)
    await put(store, 3)
    # what is not due yet, and the other queue, are none of its business
    await put(store, 5, scheduled=moment(store.now() + 3600 * SECOND))
    await put(store, 5, Queue.BATCH)
    found = await looked(store, one, 1)
    assert [(alert.level, alert.since) for alert in found.values()] == [("ok", None)] * 6
    assert found["queue"].value == 3
    found = await looked(store, one, 15, 6)
    assert (found["queue"].level, found["queue"].was) == ("alert", "ok")
    # nothing was sent, and yet it is known how long sending takes at least
    assert (found["queuing"].level, found["processing"].level, found["sending"].level) == ("alert", "alert", "ok")
    assert found["queuing"].value is not None
    assert 91 <= found["queuing"].value < 120
    assert found["queuing"].text.startswith(f"{found['queuing'].value:.1f} s between")
    lines = [record for record in caplog.records if record.name == "petitbleu.alerts"]
    assert sorted((line.__dict__["alert"], line.levelname) for line in lines) == [
        ("processing", "ERROR"),
        ("processing", "WARNING"),
        ("queue", "ERROR"),
        ("queuing", "ERROR"),
    ]
    await store.connection.execute_query("DELETE FROM queue")
    caplog.clear()
    found = await looked(store, one, 15, 20)
    assert {alert.level for alert in found.values()} == {"alert", "ok"}
    found = await looked(store, one, 15, 2)
    assert [(alert.level, alert.was) for alert in found.values() if alert.since] == [("ok", "alert")] * 3
    assert {record.levelname for record in caplog.records} == {"INFO"}


async def test_the_rate_of_errors_and_the_times_are_those_of_the_last_minutes(store: Store) -> None:
    one = alerting(store)
    await count(store, sent=38, failed=1, expired=1, ignored=100, retried=100)
    assert (await looked(store, one, 1))["error_rate"].value == 0  # two are no rate
    await count(store, not_covered=1, sent=9)
    assert (await looked(store, one, 15))["error_rate"].value == pytest.approx(6.0)
    await store.connection.execute_query(
        "INSERT INTO statistics (span, start, fact, type, channel, brand, origin, events, timed, queuing, sending, "
        f"processing) VALUES (60, {store.now() - 2 * MINUTE}, 'sent', 'note', 'pigeon', '', '', 4, 4, "
        f"{20 * SECOND}, {40 * SECOND}, {60 * SECOND})"
    )
    found = await looked(store, one, 15)
    assert [found[name].value for name in ("queuing", "sending", "processing")] == [5.0, 10.0, 15.0]
    assert (await looked(store, one, 600))["error_rate"].value == 0


async def test_of_several_processes_one_judges(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "petitbleu.alerts")
    both = [alerting(store, "one"), alerting(store, "two")]
    await put(store, 3)
    turns = []
    for _ in range(6):
        await store.shift_clock(15)
        turns.append(sorted(await asyncio.gather(*(one.turn() for one in both))))
    assert turns == [[False, True]] * 6
    assert len([record for record in caplog.records if record.__dict__.get("alert") == "queue"]) == 1
    assert [alert.level for alert in await both[0].current()] == [alert.level for alert in await both[1].current()]
    # one that stood still for longer than its lease comes too late with what it measured
    late = both[0]._judged((await store.rows("alerts"))[0], 1.0, store.now())
    assert await store.rows("note_alerts", [{**late, "seen": late["seen"] - 1}]) == []
    assert len(await store.rows("note_alerts", [late])) == 1


async def test_after_a_long_pause_it_counts_anew(store: Store) -> None:
    one = alerting(store)
    await put(store, 3)
    await looked(store, one, 1)
    assert (await looked(store, one, 3600))["queue"].level == "ok"
    assert (await looked(store, one, 15, 4))["queue"].level == "alert"


async def test_a_database_that_does_not_answer(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "petitbleu.alerts")
    clock = Clock()
    looks = 0

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            await store.connection.execute_query("ALTER TABLE alerts RENAME TO away")
        if looks == 8:
            await store.connection.execute_query("ALTER TABLE away RENAME TO alerts")
        if looks == 10:
            raise asyncio.CancelledError
        clock.now += seconds
        await store.shift_clock(seconds)
        silent.extend(alert.value or 0.0 for alert in one.known() if alert.name == "database")

    silent: list[float] = []
    one = alerting(store, clock=clock, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await one.watch()
    # between two looks that were answered it was not silent
    assert silent[0] == silent[-1] == 0
    assert silent[1:-1] == sorted(silent[1:-1])
    assert silent[-2] > 60
    told = [record for record in caplog.records if record.__dict__.get("alert") == "database"]
    assert [record.__dict__["alert_level"] for record in told] == ["warning", "alert", "ok"]
    assert {alert.name: alert.level for alert in one.known()}["database"] == "ok"


async def test_who_may_read(store: Store) -> None:
    assert [alert.name for alert in await alerting(store).read(READER)] == NAMES
    with pytest.raises(AccessDenied):
        await alerting(store).read(Operator("mc", frozenset({"push"})))


def test_the_command(tmp_path: Any, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    shown = run("alerts", "--set", "alerts.sending.warning=null")
    assert shown.code == 0
    assert shown.out.splitlines()[4].split() == ["sending", "ok", "-", "12", "s", "was", "not", "measured", "yet"]
    known = {one["name"]: one for one in json.loads(run("alerts", "--json").out)}
    assert [*known] == NAMES
    assert (known["queue"]["warning"], known["queue"]["unit"], known["queue"]["value"]) == (100, "events", None)
    refused = run("alerts", "--set", "alerts.queue.warning=500")
    assert (refused.code, "alerts.queue: warning (500) should not be above alert (400)" in refused.err) == (1, True)
