"""Each recipe of docs/recipes.md does in a server what the page says of it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from aiohttp import web
from petitbleu import Failed, Receipt, ReceiptState, Scope
from petitbleu.testing import RecordingChannel, Serve, Server

PAGE = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^<!-- recipe: (\w+) -->\n```python\n(.*?)^```$", PAGE, re.M | re.S))
TO: dict[str, Any] = {"email": "zoe@example.com", "wishedChannel": "record"}
HELLO = {"body.txt.j2": "Hello {{ rtEvent.ctx.customer.name | default('you') }}"}


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A recipe as the module somebody has saved it as."""

    def load(name: str) -> ModuleType:
        made = ModuleType(f"recipe_{name}")
        monkeypatch.setitem(sys.modules, made.__name__, made)
        exec(compile(RECIPES[name], f"{name}.py", "exec"), vars(made))
        return made

    return load


@pytest.fixture
def serve(petitbleu_server: Serve, recipe: Callable[[str], ModuleType], petitbleu_channel: RecordingChannel) -> Any:
    """A server with one recipe and its settings, and a channel that keeps what it gets."""

    def serve(name: str, own: Any, modules: Any = (), templates: Any = (), **more: Any) -> Any:
        return petitbleu_server(
            plugins={name: own} if own else {},
            modules={name: recipe(name), "recorder": petitbleu_channel, **dict(modules)},
            templates={"note/record": HELLO, **dict(templates)},
            **more,
        )

    return serve


def test_every_recipe_is_tried_here() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [name for name in RECIPES if not re.search(rf'serve\(\s*"{name}"', source)] == []
    assert len(RECIPES) > 5


async def test_routing(serve: Any, petitbleu_channel: RecordingChannel) -> None:
    own = {"brands": {"12": "club"}, "above": 500, "channel": "counter"}
    counter = RecordingChannel("counter")
    async with serve(
        "routing", own, {"counter": counter}, {"note/counter": HELLO}, settings={"brands": {"club": {}}}
    ) as server:
        orders: list[Any] = [{"shop": "12", "total": "499.90"}, {"shop": "12", "total": 501}, {"total": "x"}]
        ids = [await server.push("note", {"order": order}, **TO) for order in orders]
        plain = await server.push("note", {}, **TO)
        found = await server.all_settled([*ids, plain])
        assert [(one.channel, one.status) for one in found] == [
            ("record", "sent"),
            ("counter", "sent"),
            ("record", "pending"),
            ("record", "sent"),
        ]
    assert sorted((one.event.id, one.brand) for one in petitbleu_channel.messages) == [(ids[0], "club"), (plain, "")]
    assert [one.brand for one in counter.messages] == ["club"]


async def test_enrichment(serve: Any, aiohttp_server: Any, petitbleu_channel: RecordingChannel) -> None:
    async def customer(request: web.Request) -> web.Response:
        if request.match_info["number"] == "500":
            raise web.HTTPServiceUnavailable
        return web.json_response({"name": f"Zoé {request.match_info['number']}"})

    app = web.Application()
    app.router.add_get("/customers/{number}", customer)
    service = await aiohttp_server(app)
    async with serve("enrichment", {"url": str(service.make_url("")).rstrip("/")}) as server:
        await _customers(server, petitbleu_channel)
        late = await server.settled(await server.push("note", {"customer": "500"}, **TO))
        assert (late.status, late.tries[0].outcome, late.tries[0].scope) == ("pending", "deferred", "us")
        assert "enrichment" in late.reason


async def test_a_database(serve: Any, postgres_url: str, petitbleu_channel: RecordingChannel) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE customers (number int PRIMARY KEY, name text)")
    await connection.execute("INSERT INTO customers VALUES (7, 'Zoé 7')")
    await connection.close()
    async with serve("database", {"address": postgres_url}) as server:
        await _customers(server, petitbleu_channel)


async def _customers(server: Server, channel: RecordingChannel) -> None:
    """One that is known, none, and what somebody hopes to get by with."""
    numbers = ["7", "", "7/../8 OR 1=1"]
    ids = [await server.push("note", {"customer": number} if number else {}, **TO) for number in numbers]
    found = await server.all_settled(ids)
    assert found[0].status == "sent"
    assert ids[0] in [one.event.id for one in channel.messages]
    texts = {one.event.id: one.content.parts["text"] for one in channel.messages}
    assert (texts[ids[0]], texts[ids[1]]) == ("Hello Zoé 7", "Hello you")
    # what is stored is what came
    assert (await server.event(ids[0])).data["ctx"] == {"customer": "7"}


async def test_quiet_hours(serve: Any, petitbleu_channel: RecordingChannel) -> None:
    own = {"channels": ["record"], "urgent": ["alarm"]}
    async with serve(
        "quiet",
        own,
        templates={"alarm/record": HELLO},
        event_types={"note": {}, "alarm": {}},
        settings={"instance": {"time_zone": "Europe/Paris"}},
    ) as server:
        await server.travel(_next(server, 14))
        assert (await server.settled(await server.push("note", **TO))).status == "sent"
        for hour in (22, 3):
            await server.travel(_next(server, hour))
            held = await server.settled(await server.push("note", **TO))
            assert (held.status, held.reason, held.tries) == ("pending", "quiet hours", ())
            assert held.next_try is not None
            morning = held.next_try.astimezone(ZoneInfo("Europe/Paris"))
            assert (morning.hour, morning.minute) == (8, 0)
            assert timedelta() < held.next_try - server.now() <= timedelta(hours=11)
            assert (await server.settled(await server.push("alarm", **TO))).status == "sent"
            await server.travel_to_next_try(held.id)
            assert (await server.settled(held.id)).status == "sent"


def _next(server: Server, hour: int) -> datetime:
    """When it is that hour the next time in Paris, and a bit."""
    now = server.now().astimezone(ZoneInfo("Europe/Paris"))
    then = now.replace(hour=hour, minute=5, second=0)
    return then if then > now else then + timedelta(days=1)


async def test_an_audit_trail(serve: Any, petitbleu_channel: RecordingChannel, tmp_path: Path) -> None:
    petitbleu_channel.answers.append(Failed("recorder", "nobody there", Scope.ADDRESS))
    async with serve("trail", {"path": str(tmp_path / "trail.jsonl")}) as server:
        failed = await server.push("note", **TO, origin="shop")
        await server.settled(failed)
        sent = await server.push("note", email="eve@example.com", wishedChannel="record")
        await server.settled(sent)
        receipt = Receipt("record", "recorder", ReceiptState.RECEIVED, "seen", event=sent, attempt=1)
        await server.services.record_receipts([receipt])

        def steps() -> list[tuple[str, str, str]]:
            lines = (tmp_path / "trail.jsonl").read_text("utf-8").splitlines()
            return sorted((one["event"], one["step"], one["by"]) for one in map(json.loads, lines))

        await _until(lambda: len(steps()) == 5)
    assert steps() == [
        (str(failed), "accepted", "shop"),
        (str(failed), "failed", "recorder"),
        (str(sent), "accepted", ""),
        (str(sent), "received", "recorder"),
        (str(sent), "sent", "recorder"),
    ]
    assert "example.com" not in (tmp_path / "trail.jsonl").read_text("utf-8")


async def test_every_outcome(serve: Any, aiohttp_server: Any, petitbleu_channel: RecordingChannel) -> None:
    heard: list[Any] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.Response(status=503 if len(heard) == 1 else 204)

    app = web.Application()
    app.router.add_post("/", hear)
    receiver = await aiohttp_server(app)
    petitbleu_channel.answers.append(Failed("recorder", "nobody there", Scope.MESSAGE))
    async with serve("outcomes", {"url": str(receiver.make_url("/"))}) as server:
        event = await server.push("note", **TO)
        await server.settled(event)
        await _until(lambda: len(heard) == 1)
        # told again, as the same news
        await server.travel(60)
        await _until(lambda: len(heard) == 2)
    assert [(one["event"], one["status"], one["reason"]) for one in heard] == [
        (str(event), "failed", "nobody there")
    ] * 2
    assert heard[0]["key"] == heard[1]["key"]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():
            await asyncio.sleep(0.02)
