"""Events pushed and asked about over JSON."""

from __future__ import annotations

import gzip
import json
from typing import Any

import orjson
import pytest
from petitbleu import Element
from petitbleu.serving.app import Server
from rest_known import LINES, READER, count, three

pytest_plugins = ("rest_rig",)

HIGH = 1 << 56
LINK = {"link": "https://shop.example.com/r"}


async def kept(server: Server, event_id: str) -> Any:
    """What templates will see of the event."""
    event = await server.instance.services.load_event(int(event_id))
    assert event is not None
    return event


# ------------------------------------------------------------------------------------------------------- one event


async def test_an_event_is_stored_and_told_about(ask: Any) -> None:
    event = {"email": "zoe@example.com", "externalId": "A-1", "ctx": LINK}
    pushed = await ask("POST", "/api/v1/events/password_reset", event)
    assert pushed.status == 202
    known = pushed.json
    assert int(known["id"]) > HIGH
    assert pushed.headers["Location"] == known["href"] == f"/api/v1/events/{known['id']}"
    assert known["externalId"] == "A-1"
    assert pushed.headers["Cache-Control"] == "no-store"
    found = await ask("GET", known["href"])
    assert found.status == 200
    assert found.json["status"] == "pending"
    assert found.json["type"] == "password_reset"
    short = await ask("GET", f"/api/v1/events/{int(known['id']) - HIGH}")
    assert short.json == found.json


async def test_an_event_says_in_json_what_it_says_in_xml(ask: Any, rest_server: Server) -> None:
    event = {
        "type": "welcome",
        "mobilePhone": "0612345678",
        "country": "FR",
        "channel": "sms",
        "externalId": 30201,
        "priority": 2,
        "scheduled": "2030-01-01T10:00:00Z",
        "points": 12.5,
        "vip": True,
        "nothing": None,
        "ctx": {
            "order": {"number": 30201, "total": 12.5, "paid": True, "note": None},
            "line": [{"@num": "1", "#text": "Ink"}, {"@num": "2", "#text": "Paper"}],
        },
        "mobileApp": {"uuid": "com.example.shop"},
    }
    pushed = await ask("POST", "/api/v1/events/welcome", event)
    assert pushed.status == 202, pushed.body
    stored = await kept(rest_server, pushed.json["id"])
    assert (stored.channel, stored.queue, stored.priority, stored.external_id) == ("sms", "realtime", 2, "30201")
    assert stored.addresses == {"mobilePhone": "+33612345678"}
    # attributes are text, what is in ctx keeps its type
    assert (stored.data["points"], stored.data["vip"], stored.data["externalId"]) == ("12.5", "true", "30201")
    assert "nothing" not in stored.data
    assert stored.data["ctx"]["order"] == {"number": 30201, "total": 12.5, "paid": True, "note": None}
    assert isinstance(stored.data["ctx"]["order"], Element)
    assert [str(line) for line in stored.data["ctx"]["line"]] == ["Ink", "Paper"]
    assert stored.data["mobileApp"] == {"uuid": "com.example.shop"}


async def test_the_queue_is_the_types_unless_the_event_names_one(ask: Any) -> None:
    async def queue(event_type: str, **more: str) -> Any:
        pushed = await ask("POST", f"/api/v1/events/{event_type}", {"email": "zoe@example.com", **more})
        return (await ask("GET", pushed.json["href"])).json["queue"]

    assert await queue("account_statement") == "batch"
    assert await queue("account_statement", queue="realtime") == "realtime"
    assert await queue("welcome", queue="batch") == "batch"


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"email": "zoe"}, [("/email", "is not an email address"), ("/ctx/link", "is missing")]),
        ({"ctx": LINK}, [("/email", "has no address")]),
        ({"Email": "zoe", "ctx": LINK}, [("/Email", "is not an email address")]),
        ({"email": 5, "ctx": LINK}, [("/email", "should be text")]),
        ({"email": "zoe@example.com", "channel": "fax", "ctx": LINK}, [("/channel", "is not a channel")]),
        ({"email": "zoe@example.com", "type": "welcome", "ctx": LINK}, [("/type", "is not 'password_reset'")]),
        (
            {"email": "zoe@example.com", "priority": 101, "queue": "fast", "ctx": {"link": 1 << 70}},
            [("/priority", "less than or equal to 100"), ("/queue", "'realtime' or 'batch'"), ("/ctx/link", "64 bits")],
        ),
        ({"email": "zoe@example.com", "ctx": {"link": "x", "a": [1, {"b/c": 1 << 64}]}}, [("/ctx/a/1/b~1c", "64 b")]),
        (5, [("", "should be an object such as")]),
    ],
)
async def test_every_field_that_is_wrong_is_named(
    ask: Any, rest_server: Server, body: Any, errors: list[tuple[str, str]]
) -> None:
    refused = await ask("POST", "/api/v1/events/password_reset", json.dumps(body).encode())
    assert refused.status == 422, refused.body
    assert refused.headers["Content-Type"] == "application/problem+json"
    told = refused.json
    assert (told["type"], told["status"]) == ("/api/#invalid-event", 422)
    assert told["instance"] == "/api/v1/events/password_reset"
    found = refused.errors
    assert [where for where, _ in found] == [where for where, _ in errors]
    for (_, said), (_, words) in zip(found, errors, strict=True):
        assert words in said
    assert await count(rest_server) == 0


async def test_an_unknown_type_is_refused_with_a_guess(ask: Any) -> None:
    refused = await ask("POST", "/api/v1/events/welcom", {"email": "zoe@example.com"})
    assert refused.errors == [("/type", "'welcom' is not a declared event type; did you mean 'welcome'?")]


@pytest.mark.parametrize("nested", ["[" * 70 + "]" * 70, '{"a":' * 70 + "1" + "}" * 70])
async def test_what_is_nested_too_deeply_is_refused(ask: Any, nested: str) -> None:
    body = f'{{"email": "zoe@example.com", "ctx": {nested}}}'.encode()
    refused = await ask("POST", "/api/v1/events/welcome", body)
    assert refused.status == 422
    assert "is nested too deeply" in refused.errors[0][1]
    abyss = b'{"ctx":' + b"[" * 40_000 + b"]" * 40_000 + b"}"
    assert (await ask("POST", "/api/v1/events/welcome", abyss)).status == 400


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"email": "zoe@example.com",\n "ctx": }', "line 2, column 9"),
        (b"", "line 1, column 1"),
        (b'{"email": "\xff"}', "line 1"),
        (b'{"email": "\\ud800"}', "line 1"),
        (b'{"ctx": NaN}', "line 1"),
    ],
)
async def test_what_is_not_json_is_told_where(ask: Any, body: bytes, detail: str) -> None:
    refused = await ask("POST", "/api/v1/events/welcome", body)
    assert (refused.status, refused.json["type"]) == (400, "/api/#invalid-body")
    assert detail in refused.json["detail"]


# --------------------------------------------------------------------------------------------------------------- many


async def test_many_events_are_stored_in_order_or_not_at_all(ask: Any, rest_server: Server) -> None:
    pushed = await ask("POST", "/api/v1/events", three())
    assert pushed.status == 202
    told = pushed.json["events"]
    assert [one["externalId"] for one in told] == ["W-0", "W-1", "W-2"]
    assert [int(one["id"]) for one in told] == sorted(int(one["id"]) for one in told)
    refused = await ask("POST", "/api/v1/events", three(email="omid", priority="x"))
    assert refused.status == 422
    assert [where for where, _ in refused.errors] == ["/1/priority", "/1/email"]
    assert refused.json["detail"] == "1 of 3 events cannot be used; nothing is stored."
    assert await count(rest_server) == 3
    assert (await ask("POST", "/api/v1/events", [])).json == {"events": []}
    assert (await ask("POST", "/api/v1/events", {"email": "zoe@example.com"})).status == 422


async def test_json_lines(ask: Any, rest_server: Server) -> None:
    lines = b"\n".join(map(orjson.dumps, three())) + b"\n\n"
    pushed = await ask("POST", "/api/v1/events", lines, Content_Type=LINES)
    assert len(pushed.json["events"]) == 3
    torn = await ask("POST", "/api/v1/events", b'{"type": "welcome"}\n\n{"type": }\n', Content_Type=LINES)
    assert "line 3, column 10" in torn.json["detail"]
    assert await count(rest_server) == 3


async def test_partial_success_tells_of_each_event(ask: Any, rest_server: Server) -> None:
    mixed = await ask("POST", "/api/v1/events?partial=true", three(email="omid"))
    assert mixed.status == 207
    assert (mixed.json["stored"], mixed.json["refused"]) == (2, 1)
    first, second, _ = mixed.json["events"]
    assert (first["status"], first["externalId"], second["status"]) == (202, "W-0", 422)
    assert second["errors"][0]["pointer"] == "/email"
    assert "id" not in second
    assert await count(rest_server) == 2
    whole = await ask("POST", "/api/v1/events?partial=true", three())
    assert (whole.status, whole.json["stored"]) == (202, 3)


@pytest.mark.parametrize("rest_overrides", [["limits.events=2"]])
@pytest.mark.parametrize("query", ["", "?partial=true"])
async def test_more_events_than_the_limit(ask: Any, rest_server: Server, query: str) -> None:
    refused = await ask("POST", f"/api/v1/events{query}", three())
    assert refused.status == 422
    assert "the limit is 2" in str(refused.json)
    assert await count(rest_server) == 0


@pytest.mark.parametrize("rest_overrides", [["limits.pending=1"]])
async def test_a_full_queue_says_when_to_come_back(ask: Any) -> None:
    refused = await ask("POST", "/api/v1/events", three())
    assert (refused.status, refused.json["type"]) == (503, "/api/#unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert "The queue is full" in refused.json["detail"]


# ---------------------------------------------------------------------------------------------------------- compressed


async def test_a_compressed_body_counts_by_what_it_becomes(ask: Any, rest_server: Server) -> None:
    body = gzip.compress(orjson.dumps({"email": "zoe@example.com", "ctx": {"text": "a" * 50_000}}))
    assert (await ask("POST", "/api/v1/events/welcome", body, Content_Encoding="gzip")).status == 202
    bomb = gzip.compress(b'{"ctx": "' + b"a" * 20_000_000 + b'"}')
    assert len(bomb) < 100_000
    refused = await ask("POST", "/api/v1/events/welcome", bomb, Content_Encoding="gzip")
    assert (refused.status, refused.json["type"]) == (413, "/api/#too-large")
    torn = await ask("POST", "/api/v1/events/welcome", b"no gzip", Content_Encoding="gzip")
    assert torn.status == 400
    other = await ask("POST", "/api/v1/events/welcome", b"{}", Content_Encoding="compress")
    assert (other.status, other.headers["Accept-Encoding"]) == (415, "gzip, deflate")
    assert await count(rest_server) == 1


# ------------------------------------------------------------------------------------------------------------- reading


async def test_an_operator_reads_what_the_rights_reach(ask: Any) -> None:
    mine = await ask("POST", "/api/v1/events/welcome", {"email": "zoe@example.com"})
    other = await ask("POST", "/api/v1/events/password_reset", {"email": "zoe@example.com", "ctx": LINK})
    assert (await ask("GET", mine.json["href"], auth=READER)).status == 200
    hidden = await ask("GET", other.json["href"], auth=READER)
    absent = await ask("GET", "/api/v1/events/99", auth=READER)
    assert hidden.status == absent.status == 404
    for wrong in ("x", "-1", "1.5", str(1 << 63), "0" * 25):
        assert (await ask("GET", f"/api/v1/events/{wrong}")).status == 404


async def test_an_event_is_told_with_its_whole_way(ask: Any, rest_server: Server) -> None:
    event = {"email": "zoe@example.com", "mobilePhone": "+33612345678", "channel": "sms", "ctx": LINK | {"minutes": 30}}
    pushed = await ask("POST", "/api/v1/events/password_reset", event)
    store, number = rest_server.instance.store, int(pushed.json["id"])
    now = store.now()
    for statement in (
        "INSERT INTO attempts (event, number, channel, provider, started, ended, outcome, text, reference, feedback) "
        f"VALUES ({number}, 1, 'sms', 'main', {now - 1000}, {now}, 'delivered', 'taken as 2', '2', 'bounced')",
        "INSERT INTO receipts (channel, provider, names, event, number, state, text, received) "
        f"VALUES ('sms', 'main', '[]', {number}, 1, 'bounced', 'UNDELIVERABLE', {now + 1})",
        "INSERT INTO recyclings (event, at, number, origin, target, reason) "
        f"VALUES ({number}, {now + 2}, 1, 'sms', 'email', 'it did not arrive')",
    ):
        await store.connection.execute_script(statement)
    told = (await ask("GET", pushed.json["href"])).json
    (attempt,) = told["attempts"]
    assert (attempt["outcome"], attempt["provider"], attempt["text"]) == ("delivered", "main", "taken as 2")
    assert (attempt["feedback"], "scope" in attempt) == ("bounced", False)
    assert [(one["state"], one["text"]) for one in told["receipts"]] == [("bounced", "UNDELIVERABLE")]
    assert [(one["origin"], one["target"]) for one in told["recyclings"]] == [("sms", "email")]
    assert "data" not in told
    assert (await ask("GET", pushed.json["href"] + "?include=data")).json["data"]["ctx"] == event["ctx"]
    refused = await ask("GET", pushed.json["href"] + "?include=all")
    assert refused.errors == [("include", "should be 'data'")]
    mine = await ask("POST", "/api/v1/events/welcome", {"email": "zoe@example.com"})
    assert (await ask("GET", mine.json["href"] + "?include=data", auth=READER)).status == 403


async def test_lists_go_on_where_they_ended(ask: Any, rest_server: Server) -> None:
    for number in range(5):
        await ask("POST", "/api/v1/events", [{"type": "welcome", "email": "zoe@example.com", "externalId": number}])
    await ask("POST", "/api/v1/events/account_statement", {"email": "lina@example.com", "origin": "erp"})
    seen: list[str] = []
    path = "/api/v1/events?type=welcome&limit=2"
    while path:
        piece = await ask("GET", path)
        assert piece.status == 200
        seen += [one["externalId"] for one in piece.json["events"]]
        # what comes meanwhile shifts nothing
        await ask("POST", "/api/v1/events/welcome", {"email": "omid@example.com", "externalId": "late"})
        path = piece.headers.get("Link", "").removeprefix("<").partition(">")[0]
        assert ("cursor" in piece.json) == bool(path)
    assert seen == ["4", "3", "2", "1", "0"]
    assert len((await ask("GET", "/api/v1/events", auth=READER)).json["events"]) == 8


@pytest.mark.parametrize("rest_overrides", [["limits.rows=2"]])
async def test_where_few_rows_are_allowed_lists_have_few_rows(ask: Any, rest_server: Server) -> None:
    for number in range(3):
        event = {"email": f"zoe{number}@example.com", "externalId": number}
        assert (await ask("POST", "/api/v1/events/welcome", event)).status == 202
        added = {"channel": "email", "address": f"omid{number}@example.com"}
        assert (await ask("POST", "/api/v1/suppressions", added)).status == 201
    for path, name in (("events", "events"), ("suppressions", "suppressions"), ("audit", "changes")):
        piece = await ask("GET", f"/api/v1/{path}")
        assert (piece.status, len(piece.json[name])) == (200, 2)
        link = piece.headers["Link"].removeprefix("<").partition(">")[0]
        assert len((await ask("GET", link)).json[name]) == 1
        refused = await ask("GET", f"/api/v1/{path}?limit=3")
        assert (refused.status, "between 1 and 2" in refused.json["detail"]) == (400, True)
    assert (await ask("GET", "/api/v1/sessions")).status == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("email=lina@example.com", ["B"]),
        ("externalId=A", ["A"]),
        ("origin=erp&queue=batch", ["B"]),
        ("queue=realtime", ["A"]),
        ("channel=sms", []),
        ("status=pending", ["A"]),
        ("status=deliveryFailed", ["B"]),
        ("status=failed", ["B"]),
        ("status=4", ["B"]),
        ("status=open", ["A"]),
        ("createdSince=2020-01-01T00:00", ["B", "A"]),
        ("createdBefore=2020-01-01T00:00:00Z", []),
        ("template=welcome/email%20v3", []),
    ],
)
async def test_lists_are_narrowed(ask: Any, rest_server: Server, query: str, found: list[str]) -> None:
    await ask("POST", "/api/v1/events/welcome", {"email": "zoe@example.com", "externalId": "A"})
    more = {"externalId": "B", "origin": "erp"}
    await ask("POST", "/api/v1/events/account_statement", {"email": "lina@example.com", **more})
    store = rest_server.instance.store
    await store.connection.execute_script("UPDATE events SET status = 'failed' WHERE external_id = 'B'")
    await store.connection.execute_script("DELETE FROM queue WHERE lane = 1")
    answered = await ask("GET", f"/api/v1/events?{query}")
    assert [one["externalId"] for one in answered.json["events"]] == found


@pytest.mark.parametrize(
    ("query", "parameter", "words"),
    [
        ("status=sending", "status", "'sending' is not a status"),
        ("createdSince=yesterday", "createdSince", "is not a date and time"),
        ("queue=fast", "queue", "'fast' should be one of realtime, batch"),
        ("limit=0", "limit", "greater than or equal to 1"),
        ("externalid=A", "externalid", "did you mean externalId?"),
    ],
)
async def test_what_narrows_nothing_is_refused(ask: Any, query: str, parameter: str, words: str) -> None:
    refused = await ask("GET", f"/api/v1/events?{query}")
    assert (refused.status, refused.json["type"]) == (400, "/api/#invalid-parameters")
    assert [where for where, _ in refused.errors] == [parameter]
    assert words in refused.errors[0][1]


async def test_a_cursor_of_nobody_is_refused(ask: Any) -> None:
    for cursor in ("x", "1-", "1-2-3", "9" * 30):
        assert (await ask("GET", f"/api/v1/events?cursor={cursor}")).status == 400


# ------------------------------------------------------------------------------------------------------ Adobe's shape


async def test_the_shape_of_campaigns_calls(ask: Any, rest_server: Server) -> None:
    event = {"email": "zoe@example.com", "wishedChannel": 0, "ctx": LINK}
    pushed = await ask("POST", "/acme/campaign/mcAcme/password_reset", event)
    assert pushed.status == 202
    assert set(pushed.json) == {"PKey", "href", "status"}
    assert pushed.json["status"] == "pending"
    assert pushed.json["href"] == f"{rest_server.url}/acme/campaign/mcAcme/password_reset/{pushed.json['PKey']}"
    found = await ask("GET", pushed.json["href"].removeprefix(rest_server.url))
    assert (found.status, found.json) == (200, pushed.json)
    assert (await ask("GET", f"/acme/campaign/mcAcme/welcome/{pushed.json['PKey']}")).status == 404
    await rest_server.instance.store.connection.execute_script("UPDATE events SET status = 'not_covered'")
    again = await ask("GET", pushed.json["href"].removeprefix(rest_server.url))
    assert again.json["status"] == "routingFailed"
    told = await ask("GET", f"/api/v1/events/{pushed.json['PKey']}")
    assert (told.json["status"], told.json["restStatus"], told.json["statusCode"]) == (
        "not_covered",
        "routingFailed",
        5,
    )
    refused = await ask("POST", "/acme/campaign/mcAcme/password_reset", {"email": "zoe@example.com"})
    assert refused.errors[0][0] == "/ctx/link"
