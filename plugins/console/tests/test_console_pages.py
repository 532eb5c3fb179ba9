"""What operators see and do in the console, who may, and what forged or hostile input comes to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from console_rig import EVERY_RIGHT, HOSTILE, OPERATORS, TEMPLATES, Visitor, modules
from petitbleu import AccessDenied, Credentials, Deferred, EventFilter, Failed, Operator, Scope
from petitbleu.testing import EVERYTHING, RecordingChannel, Server, serving
from petitbleu_console.pages import VIEWS
from petitbleu_console.site import SECTIONS


@pytest.fixture
async def channel() -> RecordingChannel:
    return RecordingChannel()


@pytest.fixture
async def server(tmp_path: Any, channel: RecordingChannel, petitbleu_database: str) -> AsyncIterator[Server]:
    async with serving(
        tmp_path / "instance",
        modules=modules(channel),
        templates=TEMPLATES,
        operators=OPERATORS,
        event_types={"other": {}, "note": {"brand": "shop", "rendered": True}},
        database=petitbleu_database,
        settings={"sessions": {"guess_delay": 0.01}, "brands": {"shop": {}}},
    ) as running:
        yield running


@pytest.fixture
async def visit(server: Server) -> AsyncIterator[Callable[[], Visitor]]:
    sessions: list[aiohttp.ClientSession] = []

    def somebody() -> Visitor:
        sessions.append(aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)))
        return Visitor(server, sessions[-1])

    yield somebody
    for session in sessions:
        await session.close()


@pytest.fixture
async def chief(visit: Callable[[], Visitor]) -> Visitor:
    visitor = visit()
    await visitor.sign_in("chief")
    assert visitor.status == 200
    return visitor


async def pushed(server: Server, name: str = "Zoé", **attributes: Any) -> int:
    ctx = {"name": name, "order": {"id": "7"}}
    event = await server.push("note", ctx, wishedChannel="record", **{"email": "zoe@example.com", **attributes})
    await server.settled(event)
    return event


# --------------------------------------------------------------------------------------------------------- the entrance


async def test_whoever_is_not_in_is_asked_to_sign_in_and_brought_where_they_wanted(visit: Any) -> None:
    visitor = visit()
    assert "Password" in await visitor.go("templates/note/record")
    assert visitor.path == "/console/sign-in"
    await visitor.sign_in("chief", to="/console/templates/note/record")
    assert visitor.path == "/console/templates/note/record"


@pytest.mark.parametrize(
    ("login", "password"), [("chief", "wrong"), ("nobody", "petitbleu"), ("pusher", "petitbleu"), ("", "")]
)
async def test_a_wrong_password_login_or_right_look_the_same(visit: Any, login: str, password: str) -> None:
    visitor = visit()
    assert "Wrong login or password." in await visitor.sign_in(login, password)
    assert visitor.status == 403
    assert "Password" in await visitor.go("events")


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("sign-in", {"Origin": "http://["}, b"login=chief", 403),
        ("language", {"Origin": "http://["}, b"language=fr", 303),
        ("sign-in", {"Content-Type": "multipart/form-data"}, b"x", 403),
        ("sign-in", {"Content-Type": "multipart/form-data; boundary=x"}, b"x", 403),
        ("language", {"Content-Type": "multipart/form-data; boundary=x"}, b"x", 303),
        ("sign-in", {"Content-Encoding": "gzip"}, b"no gzip", 400),
    ],
)
async def test_what_no_page_of_ours_sends_is_refused(
    server: Server, visit: Any, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    session = visit().session
    async with session.post(
        f"{server.url}/console/{path}", data=body, headers={**form, **headers}, allow_redirects=False
    ) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    "to", ["https://evil.example.com/", "//evil.example.com", "/console//evil", "/console/\\evil", ""]
)
async def test_signing_in_leads_nowhere_else(visit: Any, to: str) -> None:
    visitor = visit()
    await visitor.sign_in("chief", to=to)
    assert visitor.path == "/console/now"


async def test_the_cookie_goes_nowhere_else_and_ends_with_the_session(visit: Any, chief: Visitor) -> None:
    (cookie,) = [one for one in chief.session.cookie_jar if one.key == "petitbleu_console"]
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/console/", "Strict", True)
    thief = visit()
    stolen = {"Cookie": f"petitbleu_console={cookie.value}"}
    assert "Event" in await thief.go("events", headers=stolen)
    await chief.post("sign-out", {})
    assert chief.path == "/console/sign-in"
    assert "Password" in await thief.go("events", headers=stolen)


async def test_a_cookie_that_was_changed_is_none(visit: Any, chief: Visitor) -> None:
    (cookie,) = [one for one in chief.session.cookie_jar if one.key == "petitbleu_console"]
    token, security, seen, mac = cookie.value.split(".")
    for forged in (f"{token}.{security}.{int(seen) + 9}.{mac}", f"{token}.x.{seen}.{mac}", token, "....", "a.b.c.d"):
        visitor = visit()
        assert "Password" in await visitor.go("events", headers={"Cookie": f"petitbleu_console={forged}"})


async def test_who_is_idle_signs_in_anew_and_who_is_not_stays(server: Server, chief: Visitor) -> None:
    for _ in range(3):
        await server.travel(1000)
        assert "Sign out" in await chief.go("events")
    await server.travel(1801)
    assert "Password" in await chief.go("events")


async def test_a_form_without_our_key_or_from_elsewhere_does_nothing(server: Server, chief: Visitor) -> None:
    await chief.go("templates/note/record")
    refused: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"key": ""}, {}),
        ({"key": chief.key + "x"}, {}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Origin": "https://evil.example.com"}),
    ]
    key = chief.key
    for form, headers in refused:
        assert "Nothing is done" in await chief.post(
            "templates/note/record/unpublish", {"key": key, **form}, headers=headers
        )
        assert chief.status == 403
    states = await server.services.desk.templates.list(EVERYTHING)
    assert [one.version for one in states] == [1, 1]


async def test_every_answer_is_sealed_against_scripts_and_frames(server: Server, chief: Visitor) -> None:
    event = await pushed(server)
    for path in ("events", f"events/{event}", "templates", "nothing-here", "sign-in"):
        await chief.go(path)
        if chief.status == 404 and path == "nothing-here":
            continue
        policy = chief.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert chief.headers["Cache-Control"] == "no-store"
        assert "<script>" not in chief.html
        assert " style=" not in chief.html
        assert " onclick" not in chief.html


# --------------------------------------------------------------------------------------------------------------- rights


async def test_a_page_is_for_who_has_the_right(visit: Any) -> None:
    visitor = visit()
    await visitor.sign_in("reader")
    await visitor.go("events")
    parts = {"id": "1", "action": "retry", "type": "note", "channel": "record", "login": "chief", "number": "1"}
    for view in VIEWS:
        path = view.path.format(session="0123456789abcdef", request="1", **parts)
        key = visitor.key
        text = await (visitor.go(path) if view.method == "GET" else visitor.post(path, {"key": key}))
        assert ("You have no right to this." in text) == (view.right != "read"), f"{view.method} {view.path}"
        assert visitor.status < 500
        await visitor.go("events")


async def test_the_menu_has_what_the_operator_may_see(visit: Any, chief: Visitor) -> None:
    reader = visit()
    await reader.sign_in("reader")
    for section in SECTIONS:
        assert f'href="/console/{section.path}"' in chief.html
        assert (f'href="/console/{section.path}"' in reader.html) == (section.right == "read")
    assert {section.right for section in SECTIONS} <= set(EVERY_RIGHT)


async def test_what_rights_do_not_reach_does_not_exist(server: Server, visit: Any) -> None:
    event = await pushed(server)
    visitor = visit()
    await visitor.sign_in("elsewhere")
    assert str(event) not in await visitor.go("events")
    await visitor.go(f"events/{event}")
    assert visitor.status in (404, 409)
    assert "zoe@example.com" not in visitor.text


@pytest.mark.parametrize("number", ["0", "9223372036854775807", "9999999999999999999", "9" * 30, "٣", "x"])
async def test_a_number_that_no_event_has_is_told_as_such(chief: Visitor, number: str) -> None:
    await chief.go(f"events/{number}")
    assert chief.status in (404, 409)
    await chief.go("events", params={"find": number})
    assert chief.status == 200


async def test_what_callers_sent_needs_the_right_data(server: Server, visit: Any) -> None:
    event = await pushed(server, "Anaïs")
    reader = visit()
    await reader.sign_in("reader")
    text = await reader.go(f"events/{event}")
    assert "need the right data" in text
    assert "Anaïs" not in text


# --------------------------------------------------------------------------------------------------------------- events


@pytest.mark.parametrize("find", ["order-7", "zoe@example.com", "{id}", "{key}"])
async def test_one_box_finds_an_event(server: Server, chief: Visitor, find: str) -> None:
    event = await pushed(server, externalId="order-7")
    await pushed(server, externalId="order-8", email="other@example.com")
    text = await chief.go("events", params={"find": find.format(id=event, key=event & 0xFFFFFFFFFFFFFF)})
    assert "order-7" in text
    assert "order-8" not in text


async def test_a_line_of_a_report_leads_to_its_events(
    server: Server, chief: Visitor, channel: RecordingChannel
) -> None:
    channel.answers += [Failed("recorder", "550 no", Scope.MESSAGE, "550")]
    failed, sent = await pushed(server, externalId="no"), await pushed(server, externalId="yes")
    await chief.go("reports", params={"kind": "service_level", "span": "hour", "by": "channel"})
    links = {unescape(one) for one in re.findall(r'href="/console/(events[?][^"]+)"', chief.html)}
    (of_errors,) = [one for one in links if "cause=message" in one]
    assert "ended_since=" in of_errors
    await chief.go(of_errors)
    assert (f"events/{failed}" in chief.html, f"events/{sent}" in chief.html) == (True, False)
    # what was asked for stands in the form, and is asked again with it
    form = dict(re.findall(r'name="(\w+)" value="([^"]+)"', chief.html))
    assert form["cause"] == "message"
    await chief.go("events", params={"ended_since": form["ended_since"], "cause": "message"})
    assert (f"events/{failed}" in chief.html, f"events/{sent}" in chief.html) == (True, False)
    await chief.go("events", params={"ended_before": form["ended_since"]})
    assert f"events/{failed}" not in chief.html


async def test_events_can_be_asked_for_by_every_filter(chief: Visitor) -> None:
    await chief.go("events")
    asked = set(re.findall(r'<(?:input|select)[^>]* name="(\w+)"', chief.html))
    assert {one.name for one in fields(EventFilter)} - asked == {"external_id", "email", "mobile_phone"}
    assert "find" in asked


async def test_events_are_found_by_brand(server: Server, chief: Visitor) -> None:
    event = await pushed(server)
    for brand, found in (("shop", True), ("outlet", False)):
        await chief.go("events", params={"brand": brand})
        assert (f"events/{event}" in chief.html) == found


async def test_an_event_goes_by_another_channel(server: Server, chief: Visitor) -> None:
    event, other = await pushed(server, mobilePhone="+33612345678"), await pushed(server)
    await chief.go(f"events/{other}")
    assert "send by letter" not in chief.text
    await chief.go(f"events/{event}")
    assert "send by letter" in chief.text
    text = await chief.post("events/bulk", {"action": "reroute", "to": "letter", "status": "sent"})
    assert "was sent by record, goes on by letter" in text
    assert "has no mobilePhone, which the channel letter needs" in text
    await chief.post(f"events/{event}/reroute", {"to": "letter"})
    await server.settled(event)
    assert "goes on by letter, sent there by chief" in await chief.go(f"events/{event}")
    assert "attempt 2 by letter/recorder" in chief.text


async def test_an_events_way_is_told(server: Server, chief: Visitor, channel: RecordingChannel) -> None:
    channel.answers += [Deferred("recorder", "450 later", Scope.MESSAGE, "450")]
    event = await pushed(server, externalId="order-7")
    await server.travel_to_next_try(event)
    await server.settled(event)
    text = await chief.go(f"events/{event}")
    for part in ("accepted into the queue realtime", "attempt 1 by record/recorder", "450 later", "attempt 2", "Sent"):
        assert part in text
    assert "Hello Zoé, order 7" in text


async def test_the_message_is_shown_as_it_was_sent_while_its_copy_is_kept(server: Server, chief: Visitor) -> None:
    event = await pushed(server)
    assert "As it was sent, word for word. text Hello Zoé, order 7" in await chief.go(f"events/{event}")
    await server.instance.store.connection.execute_script("DELETE FROM rendered")
    assert "Rendered again from what is stored" in await chief.go(f"events/{event}")
    assert "Hello Zoé, order 7" in chief.text


async def test_hostile_data_is_shown_as_it_is(server: Server, chief: Visitor) -> None:
    event = await pushed(server, HOSTILE, externalId=HOSTILE[:100], origin=HOSTILE[:60])
    for path in ("events", f"events/{event}"):
        await chief.go(path)
        assert chief.status == 200
        assert "<script>alert" not in chief.html
        assert "&lt;script&gt;alert(1)" in chief.html


async def test_an_event_is_resent_and_the_audit_says_who(server: Server, chief: Visitor) -> None:
    event = await pushed(server)
    await chief.go(f"events/{event}")
    await chief.post(f"events/{event}/resend", {})
    assert chief.path != f"/console/events/{event}"
    new = int(chief.path.rsplit("/", 1)[1])
    assert (await server.settled(new)).status == "sent"
    text = await chief.go("audit")
    for part in ("chief", "console 127.0.0.1", "events.resend"):
        assert part in text


async def test_many_are_changed_after_a_look_at_what_would_happen(
    server: Server, chief: Visitor, channel: RecordingChannel
) -> None:
    channel.answers += [Failed("recorder", "550 no", Scope.MESSAGE, "550")] * 3
    events = [await pushed(server) for _ in range(4)]
    await chief.go("events", params={"status": "failed"})
    text = await chief.post("events/bulk", {"action": "retry", "status": "failed"})
    assert all(str(event) in text for event in events[:3])
    assert [(await server.record(event)).status for event in events[:3]] == ["failed"] * 3
    text = await chief.post("events/bulk", {"action": "retry", "status": "failed", "sure": "yes"})
    assert "retry: 3 events, 0 left as they are" in text
    assert [(await server.settled(event)).status for event in events] == ["sent"] * 4


async def test_every_event_there_is_is_not_changed_by_an_empty_search(server: Server, chief: Visitor) -> None:
    await pushed(server)
    await chief.go("events")
    assert "Narrow the search first" in await chief.post("events/bulk", {"action": "resend", "sure": "yes"})
    assert len(await server.stored()) == 1


# -------------------------------------------------------------------------------------------------------------- limits


async def test_pages_ask_for_no_more_lines_than_the_server_gives(tmp_path: Path, channel: RecordingChannel) -> None:
    async with (
        serving(
            tmp_path / "instance",
            modules=modules(channel),
            templates=TEMPLATES,
            operators={"chief": OPERATORS["chief"]},
            settings={"limits": {"rows": 3, "changes": 2}},
        ) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        visitor = Visitor(server, session)
        await visitor.sign_in("chief")
        for _ in range(4):
            await pushed(server)
        for section in SECTIONS:
            await visitor.go(section.path)
            assert visitor.status == 200, section.path
        await visitor.go("events")
        assert visitor.html.count("<tr") == 4
        text = await visitor.post("events/bulk", {"action": "resend", "type": "note", "find": ""})
        assert (visitor.status, "What would happen" in text) == (200, True)


# ------------------------------------------------------------------------------------------------------------ templates


async def test_a_template_is_looked_at_previewed_published_and_rolled_back(server: Server, chief: Visitor) -> None:
    body = server.folder / "templates" / "note" / "record" / "body.txt.j2"
    body.write_text("Salut {{ rtEvent.ctx.name }} {{ rtEvent.ctx.nick }}")
    await pushed(server)
    text = await chief.go("templates/note/record")
    assert "changed" in text
    assert "+Salut" in text
    assert "ctx.nick" in text
    assert str(body.parent) in text
    assert "Salut {{ rtEvent.ctx.name }}" in await chief.go("templates/note/record/source?version=draft")
    text = await chief.go("templates/note/record/source?version=1")
    assert "Hello {{ rtEvent.ctx.name }}" in text
    text = await chief.go("templates/note/record/preview", params={"seed": "zoe", "version": "1"})
    assert "Hello Zoé, order 7" in text
    event = '{"email": "a@example.com", "ctx": {"name": "Léa", "nick": "L"}}'
    assert "Salut Léa L" in await chief.post("templates/note/record/preview", {"version": "draft", "event": event})
    seeds = server.folder / "templates" / "note" / "record" / "seeds.yaml"
    seeds.write_text("seeds:\n  - name: zoe\n    address: zoe@example.com\n    ctx: {name: Zoé, nick: Z}\n")
    await chief.go("templates/note/record")
    assert "Version 2 is published" in await chief.post("templates/note/record/publish", {})
    assert "Version 1 is published" in await chief.post("templates/note/record/rollback", {"version": "1"})
    assert "Unpublished" in await chief.post("templates/note/record/unpublish", {})
    audit = await chief.go("audit")
    for action in ("templates.publish", "templates.rollback", "templates.unpublish"):
        assert action in audit


async def test_a_proof_goes_out(chief: Visitor, channel: RecordingChannel) -> None:
    await chief.go("templates/note/record")
    assert "delivered" in await chief.post("templates/note/record/proof", {"seed": "zoe", "to": "me@example.com"})
    assert [message.address for message in channel.messages] == ["me@example.com"]


@pytest.mark.parametrize(
    "event", ["no json", "[1]", '{"ctx": {"name": {{', '{"priority": "x"}', r'{"\ud800": "x"}', "[" * 100_000]
)
async def test_a_pasted_event_that_is_wrong_says_so(chief: Visitor, event: str) -> None:
    await chief.go("templates/note/record/preview")
    await chief.post("templates/note/record/preview", {"version": "draft", "event": event})
    assert chief.status == 200
    assert 'role="alert"' in chief.html


# --------------------------------------------------------------------------------------------------------- suppressions


async def test_an_address_is_suppressed_found_and_taken_off(chief: Visitor) -> None:
    await chief.go("suppressions")
    assert "is suppressed" in await chief.post(
        "suppressions/add", {"channel": "record", "address": "zoe@example.com", "text": "asked <b>us</b>"}
    )
    text = await chief.go("suppressions", params={"channel": "record", "address": "zoe@example.com"})
    assert "asked <b>us</b>" in text
    await chief.go("suppressions/export", params={"form": "csv"})
    assert "zoe@example.com" in chief.html
    await chief.go("suppressions")
    assert "may be written to again" in await chief.post(
        "suppressions/remove", {"channel": "record", "address": "zoe@example.com", "brand": ""}
    )


async def test_a_list_is_imported_whole_or_not_at_all(chief: Visitor) -> None:
    await chief.go("suppressions")
    await chief.post(
        "suppressions/import", {"form": "csv", "list": "channel,address\nrecord,a@example.com\nrecord,nonsense\n"}
    )
    assert chief.status == 409
    await chief.go("suppressions")
    assert "a@example.com" not in chief.text
    text = await chief.post("suppressions/import", {"form": "csv", "list": "channel,address\nrecord,a@example.com\n"})
    assert "1 entries are on the list" in text


# ------------------------------------------------------------------------------------------------------ now and reports


async def test_now_and_the_reports_tell_what_went_on(server: Server, chief: Visitor, channel: RecordingChannel) -> None:
    channel.answers += [Failed("recorder", "550 no", Scope.MESSAGE, "550")]
    for _ in range(3):
        await pushed(server)
    text = await chief.go("now")
    assert "error rate" in text
    assert "33.3 %" in text
    assert "orange from 1 %, red from 5 %" in text
    assert "Nothing waits." in text
    channel.answers += [Deferred("recorder", "450 later", Scope.MESSAGE, "450")]
    waiting = await pushed(server)
    await server.travel(2)
    async with asyncio.timeout(10):
        while "realtime record" not in await chief.go("now"):
            await asyncio.sleep(0.2)
    await chief.go(next(unescape(one) for one in re.findall(r'href="/console/(events[?][^"]+)"', chief.html)))
    assert f"events/{waiting}" in chief.html
    async with chief.session.get(f"{server.url}/console/now/throughput") as answer:
        series = await answer.json()
    assert series["labels"] == ["in", "out", "errors"]
    assert [sum(values) for values in series["data"][1:]] == [4, 2, 1]
    text = await chief.go("reports", params={"kind": "history", "by": "status", "span": "hour"})
    assert "failed" in text
    # boxes of one report are ticked still when another one is chosen
    text = await chief.go("reports", params={"kind": "service_level", "by": "status", "span": "hour"})
    assert (chief.status, "incoming" in text) == (200, True)
    text = await chief.go("reports", params={"kind": "history", "by": "period", "span": "week"})
    assert f"{server.services.now():%Y-%m-%d} " in text.partition("period events")[2]
    await chief.go("reports", params={"kind": "service_level", "form": "csv", "span": "hour"})
    header, line = chief.html.splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True))["incoming"] == "4"


async def test_a_live_page_asks_for_a_sign_in_by_script_too(visit: Any) -> None:
    visitor = visit()
    await visitor.go("now/live", headers={"HX-Request": "true"})
    assert visitor.status == 401
    assert visitor.headers["HX-Redirect"] == "/console/sign-in"


async def test_the_pages_speak_french(chief: Visitor) -> None:
    await chief.go("events")
    assert "Se déconnecter" in await chief.post("language", {"language": "fr", "to": "/console/events"})
    assert 'lang="fr"' in chief.html


# --------------------------------------------------------------------------------------------------------- installation


async def test_plugins_are_told_with_hooks_settings_and_checks(chief: Visitor) -> None:
    text = await chief.go("plugins")
    for part in ("1. recorder", "2. console", "petitbleu_deliver", "plugins.console.idle", "default"):
        assert part in text


async def test_the_configuration_tells_where_each_setting_is_from_and_no_secret(server: Server, chief: Visitor) -> None:
    text = await chief.go("configuration")
    assert "operators.chief.password ***" in text
    assert "$argon2id" not in chief.html
    assert str(server.folder / "petitbleu.yaml:") in text
    assert "delivery.lease 30 default" in await chief.go("configuration", params={"find": "delivery.lease"})


async def test_the_audit_tells_who_came_in_who_did_not_and_who_went(visit: Any, chief: Visitor) -> None:
    await visit().sign_in("reader", "wrong")
    await visit().sign_in("hunter2", "reader")
    await visit().sign_in("pusher")
    reader = visit()
    await reader.sign_in("reader")
    await reader.post("sign-out", {})
    await chief.go("audit", params={"action": "sessions"})
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in re.findall(r"<tr>(<td.*?)</tr>", chief.html)]
    assert [row[1:] for row in reversed(rows)] == [
        ["chief", "console 127.0.0.1", "sessions.begin", "chief", ""],
        ["reader", "console 127.0.0.1", "sessions.refused", "reader", "wrong: password"],
        ["", "console 127.0.0.1", "sessions.refused", "", "wrong: login"],
        ["pusher", "console 127.0.0.1", "sessions.refused", "pusher", "wrong: right read"],
        ["reader", "console 127.0.0.1", "sessions.begin", "reader", ""],
        ["reader", "console 127.0.0.1", "sessions.leave", "reader", ""],
    ]


async def test_one_session_is_ended_and_no_other(visit: Any, chief: Visitor) -> None:
    visitors = [visit(), visit()]
    for one in visitors:
        await one.sign_in("reader")
    await chief.go("operators", params={"sessions": "reader"})
    latest, earlier = re.findall(r"sessions/([0-9a-f]{16})/end", chief.html)
    assert "A session of reader is ended" in await chief.post(f"sessions/{latest}/end", {})
    assert "Password" in await visitors[1].go("events")
    assert "Sign out" in await visitors[0].go("events")
    assert re.findall(r"sessions/([0-9a-f]{16})/end", (await chief.go("operators"), chief.html)[1]).count(earlier) == 1
    await chief.post(f"sessions/{latest}/end", {})
    assert chief.status == 409


async def test_servers_are_asked_to_reload_and_the_page_waits_for_their_answers(server: Server, chief: Visitor) -> None:
    await chief.go("configuration")
    text = await chief.post("reload", {})
    assert "No server has answered yet." in text
    (request,) = set(re.findall(r'hx-get="/console/reload/([0-9a-f]+)"', chief.html))
    assert "No server has answered yet." in await chief.go(f"reload/{request}")
    assert "reload.request servers" in await chief.go("audit", params={"action": "reload"})


async def test_sessions_are_ended_and_the_audit_says_by_whom(visit: Any, chief: Visitor) -> None:
    reader = visit()
    await reader.sign_in("reader")
    await chief.go("operators")
    assert "reader is signed out everywhere: 1 sessions" in await chief.post("operators/reader/sign-out", {})
    assert "Password" in await reader.go("events")
    assert "sessions.end reader" in await chief.go("audit", params={"action": "sessions"})
    await chief.go("operators")
    await chief.post("operators/nobody/sign-out", {})
    assert chief.status == 409


async def test_a_token_is_made_shown_once_and_revoked(server: Server, chief: Visitor) -> None:
    await chief.go("operators")
    text = await chief.post("tokens", {"login": "reader", "name": "the <b>shop</b>", "days": "30"})
    (token,) = [word for word in text.split() if word.startswith("pb_") and len(word) > 20]
    found = await server.services.auth.authenticate(Credentials("127.0.0.1", token))
    assert (found.login, set(found.rights)) == ("reader", {"read"})
    assert token not in await chief.go("operators")
    assert "the <b>shop</b>" in chief.text
    (number,) = re.findall(r"tokens/(\d+)/revoke", chief.html)
    assert "holds no more" in await chief.post(f"tokens/{number}/revoke", {})
    few = {"login": "chief", "name": "erp", "right-push": "yes", "right-read": "yes", "types": "note, other"}
    (other,) = [word for word in (await chief.post("tokens", few)).split() if word.startswith("pb_") and len(word) > 20]
    narrow = await server.services.auth.authenticate(Credentials("127.0.0.1", other))
    assert (set(narrow.rights), narrow.event_types) == ({"push", "read"}, frozenset({"note", "other"}))
    assert "there is no event type 'nte'" in await chief.post("tokens", {**few, "types": "nte"})
    for days in ("", "0", "-1", "1.5", "3651", "9" * 5000):
        assert "A token holds for 1 to 3650 days." in await chief.post("tokens", {**few, "days": days})
    assert len(await server.services.desk.installation.tokens(Operator("boss", frozenset({"admin"})))) == 1
    await server.travel(10)
    with pytest.raises(AccessDenied):
        await server.services.auth.authenticate(Credentials("127.0.0.1", token))
