"""The whole server with its database behind the SOAP door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from lxml import etree
from petitbleu.serving.app import Server, running

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
HIGH = 1 << 56
CONFIG = """
instance: {name: test, cell: 1, time_zone: UTC, brand: shop}
database: sqlite://unused.db
http: {port: 0}
plugins: [soap_ingest]
event_types:
  welcome: {label: Welcome}
  order_confirmation: {label: Order confirmation}
  password_reset: {label: Password reset}
  account_statement: {label: Account statement, queue: batch}
brands:
  shop: {sender: {name: Shop, address: shop@example.com}}
operators:
  mc:
    password: "%s"
    rights: [push, read]
    password_token_from: [127.0.0.0/8]
  reader:
    password: "%s"
    rights: [read]
    password_token_from: [127.0.0.0/8]
sessions: {cache: 0.05s, guess_delay: 0.01s}
"""
DEMO = "$argon2id$v=19$m=65536,t=3,p=4$/uPgM1/N5jXnEwk17hShSA$pHXDKaTGYLB0gmqt2vhVZG8/72/qFskHn7XzijD8YgY"


@pytest.fixture
def overrides() -> list[str]:
    return []


@pytest.fixture
async def server(tmp_path: Path, sqlite_url: str, overrides: list[str]) -> AsyncIterator[Server]:
    (tmp_path / "templates").mkdir()
    (tmp_path / "petitbleu.yaml").write_text(CONFIG % (DEMO, DEMO))
    async with running(tmp_path, [f"database={sqlite_url}", *overrides], role="intake") as started:
        yield started


async def send(server: Server, body: str | bytes) -> tuple[int, Any]:
    data = body.encode() if isinstance(body, str) else body
    async with (
        ClientSession() as session,
        session.post(
            f"{server.url}/nl/jsp/soaprouter.jsp", data=data, headers={"Content-Type": "text/xml"}
        ) as response,
    ):
        return response.status, etree.fromstring(await response.read())[0][0]


def call(urn: str, method: str, *parameters: str) -> str:
    inner = "".join(f"<p{n}>{text}</p{n}>" for n, text in enumerate(parameters))
    body = f'<u:{method} xmlns:u="urn:{urn}">{inner}</u:{method}>'
    return f'<e:Envelope xmlns:e="{SOAP}"><e:Body>{body}</e:Body></e:Envelope>'


async def pending(server: Server) -> int:
    query = '<queryDef schema="nms:{}" operation="count"/>'
    total = 0
    for name in ("rtEvent", "batchEvent"):
        _, answer = await send(server, call("xtk:queryDef", "ExecuteQuery", "mc/demo", query.format(name)))
        total += int(answer[0][0].get("count"))
    return total


async def test_sample_envelopes(server: Server, sample: Any) -> None:
    for name in ("pushevent-literal", "pushevent-encoded"):
        status, answer = await send(server, sample(name))
        assert status == 200
        assert int(answer[0].text) > HIGH
    status, answer = await send(server, sample("pushevents-literal"))
    assert [each.get("externalId") for each in answer[0][0]] == ["ST-1", "ST-2", "ST-3"]
    assert await pending(server) == 5


@pytest.mark.parametrize("how", ["password", "token"])
async def test_adobe_client(server: Server, node: Any, how: str) -> None:
    seen = json.loads(await node("adobe.js", server.url, how))
    key = int(seen["id"]) - HIGH
    assert 0 < key < HIGH
    assert (seen["event"]["id"], seen["event"]["status"]) == (seen["id"], "0")
    assert seen["event"]["processed"] == ""
    assert [event["id"] for event in seen["list"]["rtEvent"]] == [seen["id"]]
    assert (seen["none"], seen["missing"], seen["count"]) == ({"rtEvent": []}, None, {"count": "1"})


async def test_one_fault_for_three_bad_events_in_a_thousand(server: Server) -> None:
    bad = {
        17: 'type="nope" email="a@example.com" externalId="A"',
        500: 'type="welcome" email="nowhere" externalId="B"',
        999: 'type="welcome" email="a@example.com" wishedChannel="231" scheduled="tomorrow" externalId="C"',
    }
    good = 'type="welcome" email="a@example.com"'
    events = "".join(f"<rtEvent {bad.get(n, good)}/>" for n in range(1, 1001))
    status, fault = await send(server, call("nms:rtEvent", "PushEvents", "mc/demo", f"<Events>{events}</Events>"))
    assert (status, fault[1].text) == (500, "The event is invalid.")
    named = [line.split(": ")[:2] for line in fault[2].text.splitlines()]
    assert named == [
        ["event 17 (externalId A)", "type"],
        ["event 500 (externalId B)", "email"],
        ["event 999 (externalId C)", "wishedChannel"],
        ["event 999 (externalId C)", "scheduled"],
    ]
    assert await pending(server) == 0


@pytest.mark.parametrize("overrides", [["limits.pending=2", "event_types.order_confirmation.idempotency=1h"]])
async def test_a_full_queue_refuses_early_and_tells_it_everywhere(server: Server) -> None:
    order = '<rtEvent type="order_confirmation" email="a@example.com" externalId="A"/>'
    event = '<rtEvent type="welcome" email="a@example.com"/>'
    _, first = await send(server, call("nms:rtEvent", "PushEvent", "mc/demo", order))
    assert (await send(server, call("nms:rtEvent", "PushEvent", "mc/demo", event)))[0] == 200
    async with ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(server.url + path) as response:
                return response.status, await response.text()

        for method, body in (("PushEvent", event), ("PushEvents", f"<Events>{event}{event}</Events>")):
            envelope = call("nms:rtEvent", method, "mc/demo", body)
            async with session.post(f"{server.url}/nl/jsp/soaprouter.jsp", data=envelope) as response:
                assert (response.status, response.headers["Retry-After"]) == (500, "5")
                fault = etree.fromstring(await response.read())[0][0]
            assert [part.text for part in fault] == [
                "SOAP-ENV:Server",
                "The server cannot take the call now.",
                "The queue is full (2/2)",
            ]
        status, told = await get("/nl/jsp/mcPing.jsp")
        assert (told.splitlines()[0], told.splitlines()[2]) == ("Error", "The queue is full (2/2)")
        status, told = await get("/readyz")
        assert (status, [one["ok"] for one in json.loads(told)["checks"] if one["name"] == "queue"]) == (503, [False])
        assert (await get("/healthz"))[0] == 200
    assert await pending(server) == 2
    # what it has already is answered
    _, again = await send(server, call("nms:rtEvent", "PushEvent", "mc/demo", order))
    assert again[0].text == first[0].text


@pytest.mark.parametrize("overrides", [["sessions.lifetime=1s"]])
async def test_a_session_ends(server: Server) -> None:
    event = '<rtEvent type="welcome" email="a@example.com"/>'
    _, answer = await send(server, call("xtk:session", "Logon", "", "mc", "demo"))
    token = answer[0].text
    assert (await send(server, call("nms:rtEvent", "PushEvent", token, event)))[0] == 200
    await asyncio.sleep(1.1)
    status, fault = await send(server, call("nms:rtEvent", "PushEvent", token, event))
    assert (status, fault[2].text) == (500, "XSV-350008 Session has expired or is invalid. Please reconnect.")
    _, answer = await send(server, call("xtk:session", "Logon", "", "mc", "demo"))
    token = answer[0].text
    assert (await send(server, call("xtk:session", "Logoff", token)))[0] == 200
    assert (await send(server, call("nms:rtEvent", "PushEvent", token, event)))[0] == 500
