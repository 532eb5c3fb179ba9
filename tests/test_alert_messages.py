"""Who is told of alerts: people by a provider that is well, past the queue, and other systems by webhooks."""

from __future__ import annotations

import asyncio
import email
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope
from command_line import runner, sample_copy
from hand_clock import Clock
from petitbleu import Alert, Deferred, Event, Failed, Queue, Scope
from petitbleu.alerts.alerting import Alerting
from petitbleu.alerts.notifying import Notifier, Recipients
from petitbleu.alerts.thresholds import Pace, Terms
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.queue.queue import WorkQueue
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment
from petitbleu.testing import RecordingChannel, serving
from webhook_receiver import Receiver

SECOND = 1_000_000
NOTE = {"note/email": {"template.yaml": "subject: Hello\n", "body.txt.j2": "Hello"}}
EVERYBODY = ("ops@example.com", "boss@example.com")


class Relay:
    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 2.0.0 kept"


async def relay(stack: AsyncExitStack) -> tuple[Relay, int]:
    made, loop = Relay(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(made, loop=loop), "127.0.0.1", 0)
    await stack.enter_async_context(server)
    return made, server.sockets[0].getsockname()[1]


async def silent(stack: AsyncExitStack) -> int:
    """A relay that lets everybody in and says nothing."""
    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)

    def close() -> None:
        for writer in held:
            writer.close()

    stack.callback(close)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


async def test_while_a_provider_says_nothing_people_hear_of_it_by_another(tmp_path: Path, sqlite_url: str) -> None:
    async with AsyncExitStack() as stack:
        backup, port = await relay(stack)
        hanging = await silent(stack)
        receiver = Receiver()
        await receiver.server.start_server()
        stack.push_async_callback(receiver.server.close)
        messages = [{"channel": "email", "to": ["ops@example.com"], "fields": {"provider": "backup"}}]
        providers = {"main": {"host": "127.0.0.1", "port": hanging}, "backup": {"host": "127.0.0.1", "port": port}}
        quick = {"every": 0.1, "raise_after": 0.2, "clear_after": 0.2, "queuing": {"warning": 0.3, "alert": 0.6}}
        server = await stack.enter_async_context(
            serving(
                tmp_path / "shop",
                plugins={
                    "email": {"providers": providers},
                    "webhooks": receiver.settings(events=["alert"], types=["none"]),
                },
                event_types={"none": {}},
                templates=NOTE,
                database=sqlite_url,
                settings={
                    "instance": {"brand": "shop"},
                    "brands": {"shop": {"sender": {"name": "Shop", "address": "shop@example.com"}}},
                    "delivery": {"failover": {"email": {"providers": ["main"]}}, "drain": 0.1},
                    "alerts": {**quick, "messages": messages},
                },
            )
        )
        await server.push("note", email="zoe@example.com")
        mine: list[Any] = []
        async with asyncio.timeout(60):
            while not mine:
                await asyncio.sleep(0.05)
                mine = [one for one in backup.mails if "time in queue" in one[1]["subject"]]
        (to, mail) = mine[0]
        assert (to, mail["from"], mail["subject"]) == (
            ["ops@example.com"],
            "Shop <shop@example.com>",
            "[test] time in queue: alert",
        )
        assert "(warning from 0.3 s, alert from 0.6 s)" in mail.get_payload(decode=True).decode()
        await receiver.until(1)
        key, told = next(one for one in receiver.heard if one[1]["data"]["name"] == "queuing")
        assert (key.startswith("queuing-alert-"), told["type"], told["data"]["was"]) == (True, "alert.changed", "ok")
        assert told["data"]["level"] in ("warning", "alert")
        assert (told["data"]["warning"], told["data"]["alert"], told["data"]["unit"]) == (0.3, 0.6, "seconds")


# ------------------------------------------------------------------------------------------------ one process or more


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


def process(store: Store, channel: RecordingChannel, holder: str, *recipients: Recipients) -> Alerting:
    calls = Calls(load(["recorder"], given={"recorder": channel}), 5.0)
    given = recipients or (Recipients("record", ["ops@example.com"], 1, {}),)
    channels = calls.channels()
    notifier = Notifier(given, calls, channels, lambda made: made, lambda: moment(store.now()), 5.0, "shop")
    pace = Pace(0, 0, 1.0)
    return Alerting(store, {"queue": Terms(1, 3)}, pace, 300 * SECOND, 3, 15.0, holder, notifier=notifier)


async def look(store: Store, *processes: Alerting, events: int | None = None) -> None:
    """Every process looks once, 15 s later, with so many events in the queue."""
    if events is not None:
        await store.connection.execute_query("DELETE FROM queue")
        event = Event(0, "note", Queue.REALTIME, "record", {}, moment(store.now()))
        if events:
            await WorkQueue(store, 1, 30.0).put([event] * events)
    await store.shift_clock(15)
    for one in processes:
        await one.turn()
        await one.current()
    await asyncio.gather(*(one.tell() for one in processes))


def titles(channel: RecordingChannel) -> list[str]:
    return [message.content.fields["subject"] for message in channel.messages]


async def test_of_several_processes_one_sends(store: Store) -> None:
    channel = RecordingChannel()
    processes = [process(store, channel, name) for name in ("one", "two", "three")]
    for events in (1, 2, 4, 0, 0):
        await look(store, *processes, events=events)
    assert titles(channel) == ["[shop] queue: warning", "[shop] queue: alert", "[shop] queue: ok"]
    first, last = channel.messages[0], channel.messages[-1]
    assert (first.address, first.channel, first.event.addresses) == (
        "ops@example.com",
        "record",
        {"email": "ops@example.com"},
    )
    assert (
        "1 events of the real-time queue are due and not sent (warning from 1, alert from 3)"
        in first.content.parts["text"]
    )
    assert "was alert, since " in last.content.parts["text"]
    assert len({message.key for message in channel.messages}) == 3


async def test_whoever_wants_alerts_alone_hears_of_their_end_too(store: Store) -> None:
    channel = RecordingChannel()
    one = process(store, channel, "one", Recipients("record", EVERYBODY, 2, {}))
    for events in (2, 4, 2, 0):
        await look(store, one, events=events)
    assert titles(channel) == ["[shop] queue: alert"] * 2 + ["[shop] queue: warning"] * 2
    assert sorted(message.address for message in channel.messages[:2]) == sorted(EVERYBODY)


async def test_what_could_not_be_sent_is_sent_later(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "petitbleu.alerts")
    channel = RecordingChannel()
    channel.answers += [Deferred("recorder", "no, ops@example.com", Scope.PROVIDER), RuntimeError("gone")]
    one = process(store, channel, "one")
    await look(store, one, events=4)
    for _ in range(10):
        await look(store, one)
    # tried again a minute after its time was over, until it was sent
    assert len(channel.messages) == 3
    told = [record.getMessage() for record in caplog.records if record.name == "petitbleu.alerts"]
    assert told[1:] == [
        "a message about queue was not sent: no, ***",
        "a message about queue was not sent: plugin recorder, petitbleu_deliver: RuntimeError: gone",
        "a message about queue was sent",
    ]
    # what is refused for good is not tried again
    channel.answers.append(Failed("recorder", "never", Scope.ADDRESS))
    await look(store, one, events=0)
    for _ in range(10):
        await look(store, one)
    assert len(channel.messages) == 4


async def test_without_a_database_each_process_tells(store: Store) -> None:
    channel, clock = RecordingChannel(), [0.0]
    channel.answers.append(Deferred("recorder", "busy", Scope.PROVIDER))
    one = process(store, channel, "one")
    one._terms["database"], one._clock = Terms(30, 60), lambda: clock[0]
    one._answered, one._answers = 0.0, False
    for clock[0] in (10, 45, 50, 70, 80):
        one.judge_database()
        await one.tell_database()
    one._answered, one._answers = 90.0, True
    clock[0] = 90.0
    one.judge_database()
    await one.tell_database()
    assert titles(channel) == [f"[shop] database: {level}" for level in ("warning", "warning", "alert", "ok")]


async def test_a_message_that_hangs_does_not_look_like_a_silent_database(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    clock, looks, asked = Clock(), 0, asyncio.Event()

    class Hanging(Notifier):
        async def tell(self, alert: Alert, told: int) -> bool:
            clock.now += 100
            asked.set()
            raise TimeoutError

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            async with asyncio.timeout(10):
                await asked.wait()
            raise asyncio.CancelledError
        clock.now += seconds
        await store.shift_clock(seconds)

    calls = Calls(load([], given={}), 5.0)
    notifier = Hanging((), calls, {}, lambda made: made, lambda: moment(store.now()), 5.0, "shop")
    terms = {"queue": Terms(1, 3), "database": Terms(30, 60)}
    one = Alerting(
        store, terms, Pace(0, 0, 1.0), 300 * SECOND, 3, 15.0, "one", notifier=notifier, clock=clock, sleep=sleep
    )
    await WorkQueue(store, 1, 30.0).put([Event(0, "note", Queue.REALTIME, "record", {}, moment(store.now()))])
    with pytest.raises(asyncio.CancelledError):
        await one.watch()
    assert {alert.name: alert.level for alert in one.known()} == {"queue": "warning", "database": "ok"}
    told = [record.getMessage() for record in caplog.records if record.name == "petitbleu.alerts"]
    assert {*told} == {
        "queue is warning: 1 events of the real-time queue are due and not sent",
        "nobody can be told of alerts: TimeoutError: ",
    }


async def test_a_message_takes_as_long_as_it_may_and_holds_up_no_look(store: Store) -> None:
    clock, asked, free = Clock(), asyncio.Event(), asyncio.Event()
    told: list[str] = []

    class Slow(Notifier):
        async def tell(self, alert: Alert, told_before: int) -> bool:
            asked.set()
            await free.wait()
            told.append(alert.level)
            return True

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now < 100:
            await asked.wait()
            assert told == []
        else:
            free.set()
            async with asyncio.timeout(10):
                while (await store.rows("alerts"))[0]["told"] == 0:
                    await asyncio.sleep(0.01)
            raise asyncio.CancelledError
        await store.shift_clock(seconds)

    notifier = Slow(
        (), Calls(load([], given={}), 5.0), {}, lambda made: made, lambda: moment(store.now()), 120.0, "shop"
    )
    one = Alerting(
        store, {"queue": Terms(1, 3)}, Pace(0, 0, 1.0), 300 * SECOND, 3, 15.0, "one", None, notifier, None, clock, sleep
    )
    await WorkQueue(store, 1, 30.0).put([Event(0, "note", Queue.REALTIME, "record", {}, moment(store.now()))])
    with pytest.raises(asyncio.CancelledError):
        await one.watch()
    assert told == ["warning"]


async def test_a_message_about_the_database_holds_up_none_about_the_rest(store: Store) -> None:
    clock, told = Clock(), list[str]()

    class Hanging(Notifier):
        async def tell(self, alert: Alert, told_before: int) -> bool:
            if alert.name == "database":
                await asyncio.Event().wait()
            told.append(f"{alert.name} {alert.level}")
            return True

    class Away(Alerting):
        async def _look(self) -> None:
            if clock.now < 1050:
                raise ConnectionError("the database is away")
            await super()._look()

    async def sleep(seconds: float) -> None:
        clock.now += max(seconds, 20)
        await store.shift_clock(max(seconds, 20))
        await asyncio.sleep(0.01)
        if told:
            raise asyncio.CancelledError

    notifier = Hanging(
        (), Calls(load([], given={}), 5.0), {}, lambda made: made, lambda: moment(store.now()), 120.0, "shop"
    )
    terms = {"queue": Terms(1, 3), "database": Terms(30, 60)}
    one = Away(store, terms, Pace(0, 0, 1.0), 300 * SECOND, 3, 15.0, "one", None, notifier, None, clock, sleep)
    await WorkQueue(store, 1, 30.0).put([Event(0, "note", Queue.REALTIME, "record", {}, moment(store.now()))])
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await one.watch()
    assert told == ["queue warning"]


# ------------------------------------------------------------------------------------------------------ configuration


def test_a_rehearsal_and_what_check_says(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)

    def given(**message: Any) -> str:
        return "alerts.messages=" + json.dumps([message])

    wrong: dict[str, dict[str, Any]] = {
        "alerts.messages.0.channel: no plugin here serves the channel 'emial'; did you mean 'email'?": {
            "channel": "emial",
            "to": ["ops@example.com"],
        },
        "alerts.messages.0.to.0: is not an email address": {"channel": "email", "to": ["ops"]},
        "alerts.messages.0.fields.senders: Extra inputs are not permitted": {
            "channel": "email",
            "to": ["ops@example.com"],
            "fields": {"senders": "shop@example.com"},
        },
    }
    for text, message in wrong.items():
        refused = run("check", "--set", given(**message))
        assert (refused.code, text in refused.err) == (1, True), refused.err
    ailing = run("check", "--set", given(channel="email", to=["ops@example.com"]))
    assert (ailing.code, "alerts.messages.0.fields: names no provider" in ailing.err) == (0, True)
    # nobody listens there
    good = given(channel="email", to=["ops@example.com"], fields={"provider": "main", "sender": "a@example.com"})
    tried = run("alerts", "--test", "--set", good, "--set", "plugins.email.providers.main.port=9")
    assert (tried.code, "email    ops@example.com  NO" in tried.out) == (1, True)
