"""Who is let in, and what a call is that is none."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from aiohttp import encode_basic_auth
from petitbleu import Operator
from petitbleu.operating import Actor
from petitbleu.serving.app import Server
from rest_known import READER, count

pytest_plugins = ("rest_rig",)

WELCOME = "/api/v1/events/welcome"
EVENT = {"email": "zoe@example.com"}
ANN = Actor(Operator("ann", frozenset({"admin"})), "cli")


async def test_whoever_is_not_known_hears_always_the_same(ask: Any, rest_server: Server) -> None:
    refused = [
        await ask("POST", WELCOME, EVENT, auth=auth)
        for auth in (
            None,
            encode_basic_auth("mc", "wrong"),
            encode_basic_auth("nobody", "demo"),
            encode_basic_auth("far", "demo"),
            "Basic !",
            "Basic " + base64.b64encode(b"mc").decode(),
            "Bearer",
            "Bearer x",
            "Bearer pb_" + "0" * 49,
            "Bearer mc/wrong",
            "Digest x",
        )
    ]
    assert {one.status for one in refused} == {401}
    assert len({one.body for one in refused}) == 1
    assert {one.headers["WWW-Authenticate"].split()[0] for one in refused} == {"Bearer"}
    assert await count(rest_server) == 0


async def test_tokens_and_sessions_let_in(ask: Any, rest_server: Server) -> None:
    session = await rest_server.instance.auth.logon("far", "demo", "192.0.2.7")
    assert (await ask("POST", WELCOME, EVENT, auth=f"Bearer {session.token}")).status == 202
    await rest_server.instance.auth.logoff(session.token)
    assert (await ask("POST", WELCOME, EVENT, auth=f"Bearer {session.token}")).status == 401
    tokens = rest_server.instance.tokens
    new = await tokens.create("mc", "erp", ANN, rights=["push"], event_types=["welcome"])
    token = f"bearer {new.token}"
    pushed = await ask("POST", WELCOME, EVENT, auth=token)
    assert pushed.status == 202
    for method, path, body in (
        ("GET", pushed.json["href"], None),
        ("POST", "/api/v1/events/account_statement", EVENT),
        ("POST", "/api/v1/events", [{"type": "account_statement", **EVENT}]),
    ):
        refused = await ask(method, path, body, auth=token)
        assert (refused.status, refused.json["type"]) == (403, "/api/#forbidden")
    mixed = [{"type": one, **EVENT} for one in ("account_statement", "welcome")]
    partial = await ask("POST", "/api/v1/events?partial=true", mixed, auth=token)
    assert [one["status"] for one in partial.json["events"]] == [403, 202]
    await tokens.revoke(new.known.id, ANN)
    await rest_server.instance.store.shift_clock(1)
    assert (await ask("POST", WELCOME, EVENT, auth=token)).status == 401


async def test_a_right_that_lacks_is_told_to_who_is_known(ask: Any) -> None:
    refused = await ask("POST", WELCOME, EVENT, auth=READER)
    assert refused.status == 403
    assert refused.json["detail"] == "The operator lacks the right 'push'."
    assert "WWW-Authenticate" not in refused.headers


@pytest.mark.parametrize("rest_overrides", [["operators.mc.trusted_from=[127.0.0.0/8]"]])
async def test_no_page_calls_in_its_visitors_name(ask: Any, rest_server: Server) -> None:
    """Though this address is trusted, and a browser would send a cookie along."""
    assert (await ask("POST", WELCOME, EVENT, auth=None)).status == 202
    own = await ask("POST", WELCOME, EVENT, auth=None, Origin=rest_server.url)
    assert own.status == 202
    for origin in ("https://evil.example.com", "null"):
        refused = await ask("POST", WELCOME, EVENT, auth=None, Origin=origin)
        assert (refused.status, refused.json["type"]) == (403, "/api/#forbidden")
    plain = await ask("POST", WELCOME, b'{"email": "zoe@example.com"}', auth=None, Content_Type="text/plain")
    assert (plain.status, plain.headers["Accept"]) == (415, "application/json")
    asked = await ask("OPTIONS", WELCOME, auth=None, Origin="https://evil.example.com")
    assert not [name for name in asked.headers if name.lower().startswith("access-control")]


async def test_cookies_count_for_nothing(ask: Any, rest_server: Server) -> None:
    session = await rest_server.instance.auth.logon("mc", "demo", "127.0.0.1")
    more = {"Cookie": f"__sessiontoken={session.token}", "X_Security_Token": session.security_token}
    assert (await ask("POST", WELCOME, EVENT, auth=None, **more)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/api/v1/evnts", 404, "/api/ lists what there is"),
        ("GET", "/api/v2", 404, "/api/ lists"),
        ("DELETE", WELCOME, 405, "The methods here are GET, HEAD, POST"),
        ("PUT", "/acme/campaign/mc/welcome", 405, "The methods here are POST"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(ask: Any, method: str, path: str, status: int, words: str) -> None:
    refused = await ask(method, path)
    assert refused.status == status
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert words in refused.json["detail"]
    assert refused.json["instance"] == path
    assert ("Allow" in refused.headers) == (status == 405)


async def test_parameters_that_are_not_known_are_refused_with_a_guess(ask: Any) -> None:
    refused = await ask("POST", f"{WELCOME}?partal=true", EVENT)
    assert refused.errors == [("partal", "is no query parameter here; known are none")]
    refused = await ask("POST", "/api/v1/events?partal=true&partial=x", [])
    assert refused.status == 400
    assert [where for where, _ in refused.errors] == ["partal", "partial"]
    assert "did you mean partial?" in refused.errors[0][1]
    twice = await ask("POST", "/api/v1/events?partial=true&partial=false", [])
    assert twice.errors == [("partial", "is given more than once")]


async def test_other_content_types_and_sizes(ask: Any) -> None:
    for media in ("application/xml", "application/json; charset=utf-16"):
        assert (await ask("POST", WELCOME, b"{}", Content_Type=media)).status == 415
    large = await ask("POST", WELCOME, b'{"ctx": "' + b"a" * 100_000 + b'"}')
    assert (large.status, large.json["type"]) == (413, "/api/#too-large")
