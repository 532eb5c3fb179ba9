"""What no database can hold is refused, and fails nothing; on PostgreSQL, which is stricter."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest_plugins = ("rest_rig",)


@pytest.fixture
def rest_database(postgres_url: str) -> str:
    return postgres_url


async def test_in_every_parameter(ask: Any) -> None:
    found = (await ask("GET", "/api/openapi.json", auth=None)).json
    asked = 0
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            for one in operation.get("parameters", ()):
                if one["in"] not in ("path", "query"):
                    continue
                for value in ("a%00b", "%ED%A0%80", "9" * 25):
                    given = path.replace(f"{{{one['name']}}}", value)
                    query = f"?{one['name']}={value}" if one["in"] == "query" else ""
                    where = re.sub(r"\{\w+\}", "1", given) + query
                    got = await ask(method.upper(), where)
                    assert got.status < 500, (method, where, got.body)
                    asked += 1
    assert asked > 200


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (r'{"\ud800": "x", "address": "zoe@example.com"}', r"'\ud800' is not a column here"),
        (r'{"text": "a\ud800", "address": "zoe@example.com"}', "text: is too long, or holds a NUL character or half"),
        (r'{"text": "a\u0000", "address": "zoe@example.com"}', "text: is too long, or holds a NUL character or half"),
        (r'{"address": "zoe\ud800@example.com"}', "address: is too long, or holds a NUL character or half"),
    ],
)
async def test_in_a_list_of_suppressions(ask: Any, given: str, told: str) -> None:
    got = await ask("POST", "/api/v1/suppressions/import?channel=email", given.encode())
    assert got.status == 422
    assert told in got.json["errors"][0]["detail"]


async def test_in_an_event(ask: Any) -> None:
    event = rb'{"type": "password_reset", "email": "zoe@example.com", "\ud800": "x", "ctx": {"\ud800": "\u0000"}}'
    got = await ask("POST", "/api/v1/events", event)
    assert got.status in (400, 422)
