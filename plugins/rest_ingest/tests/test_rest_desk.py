"""What operators do over JSON: the same as on the command line, by their rights, and audited."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import petitbleu_rest_ingest
import pytest
from aiohttp import ClientSession
from petitbleu.reload import answer, heard
from petitbleu.serving.app import Server
from petitbleu.testing import RecordingChannel, serving
from rest_known import MC, READER, count, three

pytest_plugins = ("rest_rig",)

TEMPLATE = "/api/v1/templates/welcome/email"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A draft of `welcome/email`, in English and French."""
    folder = tmp_path / "templates" / "welcome" / "email"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "template.yaml").write_text("subject: Welcome\nsubject.fr: Bienvenue\nlabels: [first]\n")
    (folder / "body.txt.j2").write_text("Hello {{ rtEvent.ctx.name }}")
    (folder / "body.fr.txt.j2").write_text("Bonjour {{ rtEvent.ctx.name }}")
    seeds = "seeds:\n  - name: zoe\n    address: zoe@example.com\n    ctx: {name: Zoe}\n"
    (folder / "seeds.yaml").write_text(seeds)
    return folder


async def audited(ask: Any, **wanted: str) -> list[tuple[str, str, Any]]:
    found = await ask("GET", "/api/v1/audit?" + "&".join(f"{name}={value}" for name, value in wanted.items()))
    assert found.status == 200, found.body
    assert {(one["by"], one["origin"], one["address"]) for one in found.json["changes"]} <= {
        ("mc", "rest", "127.0.0.1")
    }
    return [(one["action"], one["object"], one["detail"]) for one in found.json["changes"]]


async def pushed(ask: Any) -> list[str]:
    return [one["id"] for one in (await ask("POST", "/api/v1/events", three())).json["events"]]


# ------------------------------------------------------------------------------------------------------------- events


async def test_one_event_is_changed(ask: Any, rest_server: Server) -> None:
    first, second, _ = await pushed(ask)
    href = f"/api/v1/events/{first}"
    tried = await ask("POST", f"{href}/hold", {"dryRun": True})
    assert (tried.status, tried.json) == (200, {"id": first, "href": href, "ok": True, "text": "is held"})
    assert (await ask("GET", href)).json["status"] == "pending"
    assert (await ask("POST", f"{href}/hold", {"reason": "the shop is down"})).status == 200
    assert (await ask("GET", href)).json["status"] == "paused"
    again = await ask("POST", f"{href}/hold")
    assert (again.status, again.json["type"], again.json["detail"]) == (
        409,
        "/api/#conflict",
        "The event is paused already.",
    )
    assert (await ask("POST", f"{href}/release")).status == 200
    assert (await ask("POST", f"{href}/cancel")).status == 200
    assert (await ask("POST", f"{href}/retry")).status == 200
    there = await ask("POST", f"{href}/reroute", {"to": "sms"})
    assert (there.status, there.json["type"]) == (409, "/api/#conflict")
    assert "mobilePhone" in there.json["detail"]
    copy = await ask("POST", f"/api/v1/events/{int(second) & 0xFFFF}/resend")
    assert copy.json["id"] == second
    assert (await ask("GET", f"/api/v1/events/{copy.json['newId']}")).json["externalId"] == "W-1"
    assert await count(rest_server) == 4
    assert await audited(ask, object=f"event/{first}") == [
        ("events.retry", f"event/{first}", {"was": "ignored"}),
        ("events.cancel", f"event/{first}", {}),
        ("events.release", f"event/{first}", {}),
        ("events.hold", f"event/{first}", {"reason": "the shop is down"}),
    ]
    for path in ("/api/v1/events/99/cancel", "/api/v1/events/welcome/cancel"):
        assert (await ask("POST", path)).status == 404


@pytest.mark.parametrize("rest_overrides", [["limits.changes=2"]])
async def test_events_are_changed_by_ids_or_by_filter(ask: Any) -> None:
    ids = await pushed(ask)
    changes = "/api/v1/event-changes"
    body: dict[str, Any] = {"action": "cancel", "filter": {"type": "welcome"}, "reason": "a mistake"}
    tried = await ask("POST", changes, {**body, "dryRun": True})
    assert (tried.json["done"], tried.json["refused"], tried.json["dryRun"]) == (2, 0, True)
    assert [one["id"] for one in tried.json["results"]] == ids[:2]
    first = await ask("POST", changes, body)
    assert [one["text"] for one in first.json["results"]] == ["is cancelled"] * 2
    rest = await ask("POST", changes, {**body, "cursor": first.json["cursor"]})
    assert [one["id"] for one in rest.json["results"]] == ids[2:]
    assert "cursor" not in rest.json
    found = await ask("GET", "/api/v1/events?status=ignored")
    assert [one["reason"] for one in found.json["events"]] == ["cancelled by mc: a mistake"] * 3
    named = await ask("POST", changes, {"action": "retry", "ids": [ids[0], "99"]})
    assert [(one["ok"], one["text"]) for one in named.json["results"]] == [
        (True, "was ignored, is tried now"),
        (False, "there is no such event"),
    ]
    assert len(await audited(ask, action="events.cancel")) == 3
    for body, status, kind in (
        ({"action": "cancel", "ids": ids}, 400, "invalid-parameters"),
        ({"action": "cancel", "filter": {}}, 422, "invalid-fields"),
        ({"action": "cancel"}, 422, "invalid-fields"),
        ({"action": "cancel", "ids": ids[:1], "filter": {"type": "x"}}, 422, "invalid-fields"),
        ({"action": "delete", "ids": ids[:1]}, 422, "invalid-fields"),
        ({"action": "cancel", "filter": {"typ": "welcome"}}, 422, "invalid-fields"),
        ({"action": "cancel", "filter": {"status": "lost"}}, 400, "invalid-parameters"),
        ({"action": "cancel", "filter": {"type": "welcome"}, "cursor": "x"}, 400, "invalid-parameters"),
    ):
        refused = await ask("POST", changes, body)
        assert (refused.status, refused.json["type"]) == (status, f"/api/#{kind}"), refused.body


# ---------------------------------------------------------------------------------------------------------- templates


@pytest.mark.usefixtures("template")
async def test_the_life_of_a_template(ask: Any, template: Path) -> None:
    (listed,) = (await ask("GET", "/api/v1/templates")).json["templates"]
    assert listed == {
        "type": "welcome",
        "channel": "email",
        "href": TEMPLATE,
        "draft": "new",
        "labels": ["first"],
        "seeds": ["zoe"],
        "languages": ["en", "fr"],
    }
    preview = await ask("POST", f"{TEMPLATE}/preview")
    assert (preview.json["address"], preview.json["parts"]["text"]) == ("zoe@example.com", "Hello Zoe")
    french = {"language": "fr", "event": {"email": "ann@example.com", "ctx": {"name": "Ann"}}}
    preview = await ask("POST", f"{TEMPLATE}/preview", french)
    assert (preview.json["address"], preview.json["language"]) == ("ann@example.com", "fr")
    assert (preview.json["fields"]["subject"], preview.json["parts"]["text"]) == ("Bienvenue", "Bonjour Ann")
    refused = await ask("POST", f"{TEMPLATE}/preview", {"event": {"email": "ann", "ctx": {}}})
    assert (refused.status, refused.errors[0][0]) == (422, "/event/email")
    assert (await ask("POST", f"{TEMPLATE}/publish")).json == {"version": 1, "changed": True}
    assert (await ask("POST", f"{TEMPLATE}/publish")).json == {"version": 1, "changed": False}
    (template / "body.txt.j2").write_text("Hi {{ rtEvent.ctx.name }}")
    assert "+Hi {{ rtEvent.ctx.name }}" in (await ask("GET", f"{TEMPLATE}/diff")).json["diff"]
    assert (await ask("POST", f"{TEMPLATE}/publish")).json["version"] == 2
    found = (await ask("GET", f"{TEMPLATE}/versions")).json["versions"]
    assert [(one["number"], one["current"], one["createdBy"]) for one in found] == [(1, False, "mc"), (2, True, "mc")]
    assert (await ask("POST", f"{TEMPLATE}/rollback", {"version": 1})).json == {"version": 1, "changed": True}
    assert (await ask("GET", TEMPLATE)).json["texts"]["text"] == "Hello {{ rtEvent.ctx.name }}"
    assert (await ask("GET", f"{TEMPLATE}?version=draft")).json["texts"]["text"].startswith("Hi")
    unpublished = await ask("POST", f"{TEMPLATE}/unpublish")
    assert (unpublished.status, unpublished.body) == (204, b"")
    for method, path, body, status in (
        ("POST", f"{TEMPLATE}/unpublish", None, 422),
        ("GET", TEMPLATE, None, 422),
        ("GET", f"{TEMPLATE}?version=7", None, 422),
        ("GET", f"{TEMPLATE}?version=newest", None, 400),
        ("POST", f"{TEMPLATE}/preview", {"seed": "nobody"}, 404),
        ("GET", "/api/v1/templates/welcome/pigeon", None, 404),
    ):
        assert (await ask(method, path, body)).status == status, path
    missing = (await ask("GET", "/api/v1/templates/welcome/pigeon")).json["detail"]
    assert missing == "There is no template 'welcome/pigeon' beside welcome/email, or none that the operator may see."
    (template / "body.txt.j2").write_text("{{ rtEvent.ctx.nmae }}")
    broken = await ask("POST", f"{TEMPLATE}/publish")
    assert (broken.status, broken.json["type"]) == (422, "/api/#invalid-template")
    assert "welcome/email/body.txt.j2:1" in broken.json["detail"]
    assert [action for action, _, _ in await audited(ask, object="welcome/email")] == [
        "templates.unpublish",
        "templates.rollback",
        "templates.publish",
        "templates.publish",
    ]


@pytest.mark.usefixtures("template")
async def test_a_proof_tells_what_became_of_it(ask: Any) -> None:
    """Nobody listens where the provider should be."""
    sent = await ask("POST", f"{TEMPLATE}/proof", {"to": "ann@example.com"})
    (proof,) = sent.json["proofs"]
    assert (proof["seed"], proof["address"], proof["outcome"]) == ("zoe", "ann@example.com", "deferred")
    assert await audited(ask, action="templates") == [
        ("templates.proof", "welcome/email", {"seeds": ["zoe"], "to": "ann@example.com"})
    ]


# ------------------------------------------------------------------------------------------------------- suppressions


async def test_the_suppression_list(ask: Any) -> None:
    root = "/api/v1/suppressions"
    for name in ("zoe", "omid", "lina"):
        added = await ask("POST", root, {"channel": "email", "address": f"{name.upper()}@example.com", "text": "asked"})
        assert (added.status, added.json["address"]) == (201, f"{name}@example.com")
    assert "brand" not in added.json
    first = await ask("GET", f"{root}?limit=2")
    assert [one["address"] for one in first.json["suppressions"]] == ["lina@example.com", "omid@example.com"]
    link = first.headers["Link"].partition(">")[0].removeprefix("<")
    assert [one["address"] for one in (await ask("GET", link)).json["suppressions"]] == ["zoe@example.com"]
    found = await ask("GET", f"{root}?channel=email&address=Zoe@Example.com")
    assert [(one["by"], one["reason"]) for one in found.json["suppressions"]] == [("mc", "manual")]
    exported = await ask("GET", f"{root}/export?form=csv")
    assert exported.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert len(exported.body.splitlines()) == 4
    assert len((await ask("GET", f"{root}/export")).json) == 3
    gone = await ask("POST", f"{root}/remove", {"channel": "email", "addresses": ["zoe@example.com", "x@example.com"]})
    assert [one["address"] for one in gone.json["removed"]] == ["zoe@example.com"]
    assert gone.json["missing"] == ["x@example.com"]
    path = f"{root}/import?channel=email&reason=unsubscribed"
    tried = await ask("POST", f"{path}&dryRun=true", exported.body, Content_Type="text/csv")
    assert tried.json == {"imported": 3, "dryRun": True}
    assert (await ask("POST", path, exported.body, Content_Type="text/csv")).json["imported"] == 3
    assert (await ask("POST", path, [{"address": "kim@example.com"}])).json == {"imported": 1, "dryRun": False}
    lines = b'{"address": "x@example.com"}\n{"address": "nobody"}\n'
    broken = await ask("POST", path, lines, Content_Type="application/x-ndjson")
    assert (broken.status, broken.json["type"]) == (422, "/api/#invalid-fields")
    assert broken.json["errors"][0]["detail"].startswith("line 2: address: is not an email address")
    assert [action for action, _, _ in await audited(ask, object="email/zoe@example.com")] == [
        "suppressions.import",
        "suppressions.remove",
        "suppressions.add",
    ]
    for method, path, body, status in (
        ("POST", root, {"channel": "email", "address": "zoe"}, 422),
        ("POST", root, {"channel": "pigeon", "address": "zoe@example.com"}, 422),
        ("POST", root, {"channel": "email", "address": "z@example.com", "expires": "2020-01-01T00:00:00Z"}, 422),
        ("POST", root, {"channel": "email", "address": "z@example.com", "expires": "9999-12-31T23:59:59-14:00"}, 422),
        ("POST", root, {"channel": "email", "address": "z@example.com", "brand": "none"}, 422),
        ("GET", f"{root}?address=zoe@example.com", None, 400),
        ("GET", f"{root}/export?address=zoe@example.com", None, 400),
        ("GET", f"{root}?reason=because", None, 400),
        ("GET", f"{root}?channel=%00", None, 400),
    ):
        assert (await ask(method, path, body)).status == status, (path, body)


# -------------------------------------------------------------------------------------------------------------- others


async def test_health_is_told_with_the_limits(ask: Any) -> None:
    health = (await ask("GET", "/api/v1/health")).json
    assert health["status"] in ("ok", "warning")
    assert ("core", "database", True) in [(one["plugin"], one["name"], one["ok"]) for one in health["checks"]]
    assert health["limits"]["limits.changes"] == 100


@pytest.mark.usefixtures("template")
async def test_every_right_is_asked_for(ask: Any, rest_server: Server) -> None:
    """`reader` has the right `read` for one event type, and no other."""
    ids = await pushed(ask)
    for method, path, body in (
        ("POST", f"/api/v1/events/{ids[0]}/cancel", None),
        ("POST", "/api/v1/event-changes", {"action": "cancel", "ids": ids}),
        ("POST", f"{TEMPLATE}/preview", None),
        ("POST", f"{TEMPLATE}/proof", None),
        ("POST", f"{TEMPLATE}/publish", None),
        ("POST", f"{TEMPLATE}/unpublish", None),
        ("POST", f"{TEMPLATE}/rollback", {"version": 1}),
        ("GET", "/api/v1/suppressions", None),
        ("GET", "/api/v1/suppressions/export", None),
        ("POST", "/api/v1/suppressions", {"channel": "email", "address": "zoe@example.com"}),
        ("POST", "/api/v1/suppressions/remove", {"channel": "email", "addresses": ["zoe@example.com"]}),
        ("POST", "/api/v1/suppressions/import", []),
        ("GET", "/api/v1/audit", None),
    ):
        refused = await ask(method, path, body, auth=READER)
        assert (refused.status, refused.json["type"]) == (403, "/api/#forbidden"), path
        assert (await ask(method, path, body, auth=None)).status == 401
    assert (await ask("GET", "/api/v1/templates", auth=READER)).status == 200
    assert await audited(ask) == []
    assert (await ask("GET", "/api/v1/events?status=open", auth=MC)).json["events"][0]["status"] == "pending"


# ------------------------------------------------------------------------------------------------------- installation


async def test_servers_are_asked_to_reload_and_what_they_answer_is_told(ask: Any, rest_server: Server) -> None:
    asked = await ask("POST", "/api/v1/reload")
    request = asked.json["request"]
    assert (asked.status, asked.json["href"]) == (202, asked.headers["Location"])
    assert (await ask("GET", asked.json["href"])).json == {"servers": []}
    await heard(rest_server.instance.store, request)
    ((server,),) = (await ask("GET", asked.json["href"])).json.values()
    assert server == {"server": f"{socket.gethostname()}/{os.getpid()}"}
    await answer(rest_server.instance.store, request, "http.port: is changed; that takes a restart")
    ((refused,),) = (await ask("GET", asked.json["href"])).json.values()
    assert refused == server | {"done": False, "reason": "http.port: is changed; that takes a restart"}
    assert await audited(ask, by="mc") == [("reload.request", "servers", {"request": request})]
    for method, path in (("POST", "/api/v1/reload"), ("GET", asked.json["href"])):
        assert (await ask(method, path, auth=READER)).status == 403


# ------------------------------------------------------------------------------------------------------------ reports


async def test_reports_count_what_the_operator_may_read(ask: Any) -> None:
    ids = await pushed(ask)
    found = (await ask("GET", "/api/v1/reports/history?by=status")).json
    counted = {line["keys"]["status"]: line["values"]["events"] for line in found["lines"]}
    assert (found["kind"], counted["accepted"]) == ("history", len(ids))
    level = (await ask("GET", "/api/v1/reports/service-level")).json
    assert level["lines"][0]["values"]["incoming"] == len(ids)
    other = (await ask("GET", "/api/v1/reports/history?channel=sms")).json
    assert [line["values"]["events"] for line in other["lines"]] == [0]


async def test_what_is_no_report_is_refused(ask: Any) -> None:
    for asked, status in (
        ("history?by=colour", 400),
        ("service-level?by=status", 400),
        ("history?since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", 400),
        ("history?since=yesterday", 400),
        ("history?until=0.5", 400),
        ("history?until=0001-01-01T00:00:00Z", 400),
        ("history?until=0001-01-01T00:00:00%2B14:00", 400),
        ("history?since=9999-12-31T23:59:59-14:00", 400),
        ("weather", 404),
    ):
        assert (await ask("GET", f"/api/v1/reports/{asked}")).status == status, asked


# ------------------------------------------------------------------------------------------------------- installation


async def test_operators_sessions_and_tokens_are_looked_at_and_ended(ask: Any, rest_server: Server) -> None:
    auth = rest_server.instance.services.auth
    for login in ("reader", "mc", "reader"):
        await auth.logon(login, "demo", "192.0.2.7")
    operators = (await ask("GET", "/api/v1/operators")).json["operators"]
    assert operators[1] == {
        "login": "reader",
        "rights": ["read"],
        "eventTypes": ["welcome"],
        "sessions": 2,
    }
    sessions = (await ask("GET", "/api/v1/sessions?login=reader")).json["sessions"]
    assert [(one["login"], one["address"]) for one in sessions] == [("reader", "192.0.2.7")] * 2
    ended = await ask("POST", f"/api/v1/sessions/{sessions[0]['id']}/end")
    assert (ended.status, ended.json["id"]) == (200, sessions[0]["id"])
    for path in (f"sessions/{sessions[0]['id']}/end", "sessions/________________/end", "operators/nobody/sign-out"):
        assert (await ask("POST", f"/api/v1/{path}")).status == 404
    out = await ask("POST", "/api/v1/operators/reader/sign-out")
    assert out.json == {"login": "reader", "sessions": 1}
    assert [one["login"] for one in (await ask("GET", "/api/v1/sessions")).json["sessions"]] == ["mc"]
    asked = {"login": "mc", "name": "erp", "rights": ["push"], "eventTypes": ["keyed"], "expires": "2999-01-01T00:00Z"}
    made = await ask("POST", "/api/v1/tokens", asked)
    assert (made.status, made.json["rights"], made.json["state"]) == (201, ["push"], "valid")
    pushed = await ask("POST", "/api/v1/events/keyed", {"email": "zoe@example.com"}, f"Bearer {made.json['token']}")
    assert pushed.status == 202
    listed = (await ask("GET", "/api/v1/tokens?login=mc")).json["tokens"]
    assert [(one["name"], one["eventTypes"], one["createdBy"]) for one in listed] == [("erp", ["keyed"], "mc")]
    assert made.json["token"] not in str(listed)
    revoked = f"/api/v1/tokens/{made.json['id']}/revoke"
    assert (await ask("POST", revoked)).json["state"] == "revoked"
    assert (await ask("POST", revoked)).status == 404
    assert (await ask("GET", "/api/v1/tokens")).json == {"tokens": []}
    assert len((await ask("GET", "/api/v1/tokens?all=true")).json["tokens"]) == 1
    for wrong, pointer in (
        ({"eventTypes": ["lost"]}, "/eventTypes"),
        ({"rights": ["all"]}, "/rights"),
        ({"login": "nobody"}, "/login"),
        ({"expires": "2000-01-01T00:00:00Z"}, "/expires"),
        ({"expires": "9999-12-31T23:59:59-14:00"}, "/expires"),
    ):
        refused = await ask("POST", "/api/v1/tokens", {"login": "mc", "name": "crm", **wrong})
        assert (refused.status, refused.errors[0][0]) == (422, pointer), refused.body
    assert [(action, about) for action, about, _ in await audited(ask)] == [
        ("tokens.revoke", "mc/erp"),
        ("tokens.create", "mc/erp"),
        ("sessions.end", "reader"),
        ("sessions.end", "reader"),
    ]


async def test_the_installation_is_shown_to_those_who_may_do_everything(ask: Any) -> None:
    plugins = (await ask("GET", "/api/v1/plugins")).json["plugins"]
    assert [one["name"] for one in plugins] == ["email", "sms", "rest_ingest"]
    assert {"name": "petitbleu_check_event", "order": ["email"], "deadline": 10.0} in plugins[0]["hooks"]
    settings = {one["path"]: one for one in (await ask("GET", "/api/v1/configuration")).json["settings"]}
    assert settings["http.body_limit"]["value"] == "100000"
    assert settings["http.body_limit"]["place"].endswith("petitbleu.yaml:4:17")
    assert (settings["operators.mc.password"]["value"], "place" in settings["http.requests"]) == ("***", False)
    assert (await ask("GET", "/api/v1/queue")).json == {"queues": []}
    await pushed(ask)
    # a token whose rights are narrowed has less than its operator
    made = await ask("POST", "/api/v1/tokens", {"login": "mc", "name": "erp", "eventTypes": ["welcome"]})
    narrowed = f"Bearer {made.json['token']}"
    for path in ("plugins", "configuration", "operators", "sessions", "tokens"):
        assert (await ask("GET", f"/api/v1/{path}", None, READER)).status == 403
        assert (await ask("GET", f"/api/v1/{path}", None, narrowed)).status == 403
    assert (await ask("GET", "/api/v1/queue", None, narrowed)).status == 200


async def test_a_message_is_shown_as_it_was_sent(tmp_path: Path, sqlite_url: str) -> None:
    async with (
        serving(
            tmp_path / "instance",
            modules={"recorder": RecordingChannel(), "rest_ingest": petitbleu_rest_ingest},
            templates={"note/record": {"body.txt.j2": "Hello {{ rtEvent.ctx.name }}, {{ rtEvent.ctx.order.id }}"}},
            operators={"chief": {"rights": ["read", "data"], "trusted_from": ["127.0.0.0/8"]}},
            event_types={"note": {"rendered": True}},
            database=sqlite_url,
        ) as server,
        ClientSession() as client,
    ):
        event = await server.push(
            "note", {"name": "Zoé", "order": {"id": "7"}}, email="zoe@example.com", wishedChannel="record"
        )
        await server.settled(event)
        other = await server.push("note", {"name": "Omid"}, email="omid@example.com", wishedChannel="record")
        await server.settled(other)

        async def ask(path: str) -> Any:
            async with client.get(f"{server.url}/api/v1/{path}") as answer:
                return {**await answer.json(content_type=None), "status": answer.status}

        assert (await ask(f"events/{event}"))["attempts"][0]["rendered"]
        for path in (f"events/{event}/message", f"events/{event}/message?attempt=1"):
            told = await ask(path)
            assert (told["parts"], told["template"]) == ({"text": "Hello Zoé, 7"}, "note/record v1")
        assert (await ask(f"events/{event}/message?attempt=2"))["status"] == 404
        assert (await ask("events/77/message"))["status"] == 404
        needs = (await ask("templates/note/record/needs"))["needs"]
        assert needs == [{"path": "name", "lacking": []}, {"path": "order.id", "lacking": [str(other)]}]
