"""Webhooks of a whole server, on both databases: what is told, outages of a day, kill -9, and the commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from petitbleu import Deferred, Failed, IncomingEvent, Queue, Scope, SubscriptionState
from petitbleu.cli import main
from petitbleu.instance import open_instance
from petitbleu.testing import EVERYTHING, RecordingChannel, Server, serving
from petitbleu.testing.instances import OPERATORS, write_instance
from webhook_receiver import Receiver

NOTE = {"note/record": {"body.txt.j2": "Hello"}}
SCOPE = Scope.MESSAGE
EMAIL = {"providers": {"main": {"host": "127.0.0.1", "port": 9}}}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.server.start_server()
    yield made
    await made.server.close()


@asynccontextmanager
async def telling(
    folder: Path, receiver: Receiver, url: str, channel: RecordingChannel | None = None, **more: Any
) -> AsyncIterator[Server]:
    plugins = {"webhooks": receiver.settings(**more)}
    modules = {"recorder": channel or RecordingChannel()}
    async with serving(folder / "shop", plugins=plugins, modules=modules, templates=NOTE, database=url) as server:
        yield server


async def all_told(server: Server) -> SubscriptionState:
    async with asyncio.timeout(10):
        while (state := (await server.services.outbox.states())[0]).waiting:
            await asyncio.sleep(0.02)
    return state


async def test_what_becomes_of_an_event_is_told(tmp_path: Path, receiver: Receiver, database_url: str) -> None:
    channel = RecordingChannel()
    channel.answers.append(Deferred("recorder", "450 busy", SCOPE, "450"))
    events = ["accepted", "deferred", "sent", "failed"]
    async with telling(tmp_path, receiver, database_url, channel, events=events, include=["address"]) as server:
        event = await server.push("note", email="zoe@example.com", wishedChannel="record", externalId="A-1")
        assert (await server.settled(event)).next_try
        # what is under way when the clock is moved would be taken for lost, and told again
        await all_told(server)
        await server.travel_to_next_try(event)
        found = await server.settled(event)
        await receiver.until(3)
        channel.answers.append(Failed("recorder", "550 never", SCOPE, "550"))
        other = await server.push("note", email="zoe@example.com", wishedChannel="record")
        await receiver.until(5)
    assert found.status == "sent"
    told = [(message["type"], message["data"]["id"]) for _, message in receiver.heard]
    assert sorted(told) == sorted(
        [
            ("event.accepted", str(event)),
            ("event.deferred", str(event)),
            ("event.sent", str(event)),
            ("event.accepted", str(other)),
            ("event.failed", str(other)),
        ]
    )
    by_type = {message["type"]: message["data"] for _, message in receiver.heard}
    assert by_type["event.deferred"]["reason"] == "450 busy"
    assert (by_type["event.deferred"]["code"], by_type["event.deferred"]["statusName"]) == ("450", "pending")
    assert (by_type["event.sent"]["attempt"], by_type["event.sent"]["statusName"]) == (2, "processed")
    assert (by_type["event.failed"]["status"], by_type["event.failed"]["statusCode"]) == ("failed", 4)
    assert by_type["event.sent"]["addresses"] == {"email": "zoe@example.com"}
    assert len({key for key, _ in receiver.heard}) == 5


async def test_a_receiver_that_is_down_for_a_day_misses_nothing(
    tmp_path: Path, receiver: Receiver, database_url: str
) -> None:
    receiver.answer, receiver.moved = receiver.down, True
    async with telling(tmp_path, receiver, database_url) as server:
        events = [await server.push("note", email="zoe@example.com", wishedChannel="record") for _ in range(20)]
        await server.all_settled(events)
        for _ in range(8):
            before = receiver.requests
            async with asyncio.timeout(20):
                while receiver.requests == before:
                    await server.travel(3 * 3600)
                    await asyncio.sleep(0.3)
        receiver.answer = receiver.well
        await server.restart()
        async with asyncio.timeout(30):
            while {int(message["data"]["id"]) for _, message in receiver.heard} != {*events}:
                await server.travel(3600)
                await asyncio.sleep(0.3)
        state = await all_told(server)
        assert (state.given_up, state.failures) == (0, 0)
    # what was under way while the clock was moved may have come twice
    assert len({key for key, _ in receiver.heard}) == 20
    # it was left alone: far fewer requests than tries of twenty messages in a day
    assert receiver.requests < 60


async def test_commands(
    tmp_path: Path, receiver: Receiver, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = {"email": EMAIL, "webhooks": receiver.settings()}
    (tmp_path / "shop" / "templates").mkdir(parents=True)
    async with serving(tmp_path / "shop", plugins=plugins, database=sqlite_url) as server:
        configuration = ("--config", str(server.folder))

        async def run(*words: str) -> tuple[int, str]:
            code = await asyncio.to_thread(main, ["webhooks", *words, *configuration])
            captured = capsys.readouterr()
            return code, captured.out or captured.err

        # without a template it ends at once
        event = await server.push("note", email="zoe@example.com")
        await server.settled(event)
        await receiver.until(1)
        await asyncio.sleep(0.1)
        code, text = await run("list", "--json")
        (state,) = json.loads(text)
        assert (code, state["name"], state["waiting"], state["failures"]) == (0, "shop", 0, 0)
        assert state["told"] is not None
        code, text = await run("list")
        assert text.splitlines()[0].split()[:2] == ["SUBSCRIPTION", "WAITING"]
        assert text.splitlines()[1].endswith("ok")

        assert await run("test", "shop") == (0, "shop: took it: 200\n")
        assert receiver.heard[-1][1]["type"] == "webhook.test"
        assert await run("test", "shopp") == (1, "no subscription shopp; plugins.webhooks.subscriptions has shop\n")

        assert (await run("replay", "shop"))[0] == 2
        short = str(event & 0xFFFFFF)
        assert await run("replay", "shop", short, "--dry-run") == (0, "1 messages would be sent again\n")
        assert await run("replay", "shop", "--until", "2020-01-01") == (0, "0 messages are sent again\n")
        assert await run("replay", "shop", short, "--by", "ann") == (0, "1 messages are sent again\n")
        await receiver.until(3)
        assert receiver.heard[0] == receiver.heard[2], "the same message, under the same id"

        async def gone(request: Any) -> Any:
            answered = await receiver.down(request)
            answered.set_status(410)
            return answered

        receiver.answer = gone
        assert await run("test", "shop") == (1, "shop: did not take it: 410 closed for the day\n")
        await server.push("note", email="zoe@example.com")
        async with asyncio.timeout(10):
            while (await server.services.outbox.states())[0].ended is None:
                await asyncio.sleep(0.05)
        assert "ended at" in (await run("list"))[1]
        receiver.answer = receiver.well
        assert await run("enable", "shop", "--by", "ann") == (0, "shop is sent to again\n")
        await receiver.until(4)
        assert await run("enable", "shop") == (0, "shop was not ended, and does not fail\n")
        rows = await server.instance.store.read('SELECT action, object, "by", origin FROM audit ORDER BY id', [])
        assert [tuple(row.values()) for row in rows if row["action"].startswith("outbox")] == [
            ("outbox.replay", "webhooks/shop", "ann", "cli"),
            ("outbox.enable", "webhooks/shop", "ann", "cli"),
        ]


async def test_a_kill_between_outcome_and_post_loses_nothing(
    tmp_path: Path, receiver: Receiver, database_url: str
) -> None:
    folder = tmp_path / "shop"
    write_instance(
        folder,
        plugins={"email": EMAIL, "webhooks": receiver.settings()},
        database=database_url,
        event_types={"note": {}},
        templates={},
        operators=OPERATORS,
        settings={"instance": {"name": "shop"}},
    )
    (folder / "templates").mkdir()
    async with open_instance(folder, []) as instance:
        pushed = IncomingEvent(Queue.REALTIME, {"type": "note", "email": "zoe@example.com"})
        (event,) = await instance.intake([pushed], EVERYTHING)
    dying = await _serve(folder, {"PETITBLEU_FAILPOINTS": "after_result:1:kill"})
    assert await asyncio.wait_for(dying.wait(), 30) == -signal.SIGKILL
    assert receiver.requests == 0
    async with open_instance(folder, []) as instance:
        (row,) = await instance.store.read("SELECT status FROM events", [])
        (waiting,) = await instance.services.outbox.states()
    assert (row["status"], waiting.waiting) == ("not_covered", 1)
    living = await _serve(folder, {})
    try:
        await receiver.until(1)
    finally:
        living.terminate()
        assert await asyncio.wait_for(living.wait(), 30) == 0
    ((key, message),) = receiver.heard
    assert (message["type"], message["data"]["id"]) == ("event.not_covered", str(event))
    assert key.startswith(f"{event}-not_covered-")


async def _serve(folder: Path, more: Mapping[str, str]) -> asyncio.subprocess.Process:
    words = ("-m", "petitbleu", "serve", "--config", str(folder))
    null = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=null, stdout=null, stderr=null, env={**os.environ, **more}
    )
