"""Events pushed and asked about over JSON."""

from __future__ import annotations

from typing import Any

pytest_plugins = ("rest_rig",)

HIGH = 1 << 56


async def test_an_event_is_stored_and_told_about(ask: Any) -> None:
    event = {"email": "zoe@example.com", "externalId": "A-1", "ctx": {"link": "https://shop.example.com/r"}}
    pushed = await ask("POST", "/api/v1/events/password_reset", event)
    assert pushed.status == 202
    known = pushed.json
    assert int(known["id"]) > HIGH
    assert pushed.headers["Location"] == known["href"] == f"/api/v1/events/{known['id']}"
    assert known["externalId"] == "A-1"
    found = await ask("GET", known["href"])
    assert found.status == 200
    assert found.json["status"] == "pending"
    assert found.json["type"] == "password_reset"
    short = await ask("GET", f"/api/v1/events/{int(known['id']) - HIGH}")
    assert short.json == found.json
