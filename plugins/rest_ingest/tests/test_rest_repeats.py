"""Calls that are made again, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from petitbleu.serving.app import Server
from rest_known import count, three

pytest_plugins = ("rest_rig",)


@pytest.fixture(params=["sqlite", "postgres"])
def rest_database(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


async def test_a_call_that_is_repeated_gets_the_same_answer(ask: Any, rest_server: Server) -> None:
    key = {"Idempotency_Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
    first = await ask("POST", "/api/v1/events", three(), **key)
    again = await ask("POST", "/api/v1/events", three(), Idempotency_Key="8e03978e-40d5-43e8-bc93-6894a57f9324")
    assert (again.status, again.json) == (first.status, first.json)
    twins = await asyncio.gather(*(ask("POST", "/api/v1/events", three(), Idempotency_Key="twin") for _ in range(4)))
    assert len({one.body for one in twins}) == 1
    assert await count(rest_server) == 6
    for other in (three(country="FR"), three()[:2]):
        refused = await ask("POST", "/api/v1/events", other, **key)
        assert (refused.status, refused.json["type"]) == (422, "/api/#key-reused")
    assert await count(rest_server) == 6
    one = await ask("POST", "/api/v1/events/welcome", {"email": "zoe@example.com"}, Idempotency_Key="one")
    same = await ask("POST", "/api/v1/events/welcome", {"email": "zoe@example.com"}, Idempotency_Key="one")
    assert one.json == same.json
    assert same.headers["Location"] == one.headers["Location"]


async def test_a_repeat_of_a_partial_success_changes_nothing(ask: Any, rest_server: Server) -> None:
    events = three(email="omid")
    first = await ask("POST", "/api/v1/events?partial=true", events, Idempotency_Key="p")
    again = await ask("POST", "/api/v1/events?partial=true", events, Idempotency_Key="p")
    assert again.json == first.json
    assert await count(rest_server) == 2
    mended = await ask("POST", "/api/v1/events?partial=true", three(), Idempotency_Key="p")
    ids = [[one.get("id") for one in told.json["events"]] for told in (mended, first)]
    assert ids[0][::2] == ids[1][::2]
    assert await count(rest_server) == 3


async def test_both_doors_know_an_event_by_its_own_key(ask: Any, rest_server: Server) -> None:
    """As SOAP has it: origin, type and externalId."""
    event = {"email": "zoe@example.com", "externalId": "K-1", "origin": "shop"}
    first = await ask("POST", "/api/v1/events/keyed", event)
    again = await ask("POST", "/api/v1/events/keyed", event, Idempotency_Key="anything")
    assert again.json == first.json
    other = await ask("POST", "/api/v1/events/keyed", event | {"country": "FR"})
    assert other.errors[0][0] == "/externalId"
    assert await count(rest_server) == 1


@pytest.mark.parametrize("key", ["", "é", "x" * 256])
async def test_a_key_that_is_none(ask: Any, key: str) -> None:
    refused = await ask("POST", "/api/v1/events/welcome", {"email": "zoe@example.com"}, Idempotency_Key=key)
    assert refused.status == 400
    assert refused.errors == [("Idempotency-Key", "should be 1 to 255 printable ASCII characters")]
