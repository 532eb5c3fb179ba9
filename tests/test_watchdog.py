"""An event of the server's own goes through all that an event goes through, and is missed when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiohttp import ClientSession
from command_line import runner, sample_copy
from petitbleu import Event, IncomingEvent, Operator, Queue
from petitbleu.alerts.alerting import Alerting
from petitbleu.alerts.thresholds import Pace, Terms
from petitbleu.alerts.watchdog import Beat, Watchdog
from petitbleu.queue.queue import WorkQueue
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment
from petitbleu.testing import RecordingChannel, serving

SECOND = 1_000_000


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


class Door:
    """Stores what is pushed, without a look at it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue = WorkQueue(store, 1, 30.0)
        self.pushed: list[tuple[int, IncomingEvent]] = []

    async def __call__(self, events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> list[int]:
        assert operator.rights == {"push"}
        now = moment(self._store.now())
        ids = await self._queue.put([Event(0, one.attributes["type"], one.queue, "record", {}, now) for one in events])
        self.pushed += zip(ids, events, strict=True)
        return ids

    async def ended(self, status: str, after: float) -> None:
        """So ends the last event, that many seconds after it came."""
        await self._store.connection.execute_query(
            f"UPDATE events SET status = '{status}', processed = created + {int(after * SECOND)} "
            f"WHERE id = {self.pushed[-1][0]}"
        )


async def beat_of(dog: Watchdog) -> Beat:
    beat = await dog.look()
    assert beat is not None
    return beat


def watchdog(store: Store, holder: str = "one") -> Watchdog:
    attributes = {"email": "watchdog@example.com", "origin": "us"}
    return Watchdog(store, "pulse", Queue.REALTIME, attributes, {"link": "x"}, 60.0, holder)


async def test_one_process_pushes_one_event_a_minute(store: Store) -> None:
    door, dogs = Door(store), [watchdog(store, name) for name in ("one", "two", "three")]
    for _ in range(25):
        await asyncio.gather(*(dog.turn(door) for dog in dogs))
        await store.shift_clock(5)
    assert len(door.pushed) == 3
    (_, first), (_, second), _ = door.pushed
    assert first.attributes["type"] == "pulse"
    assert (first.attributes["email"], first.attributes["origin"]) == ("watchdog@example.com", "us")
    seconds = [int(one.attributes["externalId"].removeprefix("watchdog-")) for one in (first, second)]
    assert 60 <= seconds[1] - seconds[0] <= 61
    assert first.attributes["expiration"].startswith(moment((seconds[0] + 600) * SECOND).isoformat()[:16])
    assert first.children == {"ctx": {"link": "x"}}


async def test_its_age_is_that_of_the_last_one_that_got_through(store: Store) -> None:
    door, dog = Door(store), watchdog(store)
    assert await dog.look() is None
    ages = []
    ends = [("sent", 10.0), ("failed", 1.0), ("pending", 1.0), ("sent", 20.0), ("pending", 1.0)]
    for status, after in [*ends, *[("pending", 1.0)] * 12]:
        await dog.turn(door)
        await door.ended(status, after)
        await store.shift_clock(60.1)
        beat = await beat_of(dog)
        ages.append((round(beat.age(store.now()) / 60), round((beat.took or 0) / 10)))
    assert ages[:5] == [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)]
    assert ages[-1] in ((14, 2), (15, 2))
    # one that comes late proves something as well, but not what an earlier one would have proved
    await door.ended("sent", 50.0)
    assert (await beat_of(dog)).took == pytest.approx(50, abs=8)
    # who was away for a night begins anew
    await store.shift_clock(36_000)
    assert (await beat_of(dog)).age(store.now()) > 36_000
    await dog.turn(door)
    assert (await beat_of(dog)).age(store.now()) < 60


async def test_one_that_was_never_sent_is_missed_and_counts_for_nothing_else(store: Store) -> None:
    door, dog = Door(store), watchdog(store)
    terms = {"error_rate": Terms(1, 2), "watchdog": Terms(180, 300)}
    pace = Pace(0, 0, 1.0)
    alerting = Alerting(store, terms, pace, 300 * SECOND, 1, 15.0, "one", watchdog=dog)
    levels = []
    for _ in range(7):
        await dog.turn(door)
        await door.ended("failed", 1.0)
        await store.connection.execute_query(
            "INSERT INTO statistics (span, start, fact, type, channel, brand, origin, events) "
            f"VALUES (60, {store.now()}, 'failed', 'pulse', 'record', '', '', 1)"
        )
        await alerting.turn()
        levels.append([one.level for one in await alerting.current()])
        await store.shift_clock(60.1)
    assert [watched for _, watched in levels] == ["ok"] * 3 + ["warning"] * 2 + ["alert"] * 2
    assert {rate for rate, _ in levels} == {"ok"}


async def test_a_server_pushes_it_by_itself(tmp_path: Path, sqlite_url: str) -> None:
    channel = RecordingChannel()
    async with (
        serving(
            tmp_path / "shop",
            modules={"recorder": channel},
            templates={"pulse/record": {"body.txt.j2": "{{ rtEvent.ctx.word }}"}},
            database=sqlite_url,
            settings={
                "alerts": {"every": 0.1},
                "watchdog": {
                    "type": "pulse",
                    "attributes": {"email": "watchdog@example.com", "wishedChannel": "record"},
                    "ctx": {"word": "woof"},
                    "every": 0.2,
                },
            },
        ) as server,
        ClientSession() as client,
    ):

        async def until(*words: str) -> str:
            async with asyncio.timeout(60):
                while True:
                    async with client.get(f"{server.url}/metrics") as response:
                        page = await response.text()
                    if all(word in page for word in words):
                        return page
                    await asyncio.sleep(0.1)

        page = await until("\npetitbleu_watchdog_seconds ", 'petitbleu_alert_level{alert="watchdog"}')
        assert "\npetitbleu_watchdog_age_seconds " in page
        assert {message.content.parts["text"] for message in channel.messages} == {"woof"}


def test_one_that_would_be_refused_is_refused_at_once(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    for given, text in (
        ("{type: pasword_reset}", "watchdog.type: 'pasword_reset' is not declared in event_types; did you mean"),
        ("{type: password_reset, attributes: {email: nobody}}", "watchdog.email: is not an email address"),
        ("{attributes: {email: a@example.com}}", "watchdog: needs a type; without one there is no watchdog"),
    ):
        refused = run("check", "--set", f"watchdog={given}")
        assert (refused.code, text in refused.err) == (1, True), refused.err
