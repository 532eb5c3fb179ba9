"""The console in a browser: every page under its strict policy, live, on a phone, in the dark and without scripts."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from chromium import Tab, browser, found, version
from console_rig import HOSTILE, OPERATORS, TEMPLATES, Visitor, modules
from petitbleu import Failed, Scope
from petitbleu.testing import PASSWORD, RecordingChannel, Server, serving
from petitbleu.testing.databases import copy_sqlite
from petitbleu_console.messages import SEALED
from petitbleu_console.pages import VIEWS
from petitbleu_console.site import SECTIONS
from petitbleu_email.catcher import CATCHER

PATHS = [section.path for section in SECTIONS] + [
    *("templates/note/record", "templates/note/record/preview?seed=zoe", "templates/note/record/source"),
]
PIECES = {"now/live", "now/throughput", "now/latency", "reports/series", "reload/{request}", "suppressions/export"} | {
    "events/{id}/part",
    "templates/{type}/{channel}/part",
}
"""What is no page: parts of some, curves and files."""
PICTURE: Mapping[str, str | bytes] = {
    "template.yaml": "subject: Hello\nsender: shop@example.com\nattachments: [{file: dot.png, inline: true}]\n",
    "body.html.j2": "<p>Hello</p><img src=\"{{ 'dot.png' | cid }}\" alt='a dot'>",
    "dot.png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    ),
    "seeds.yaml": "seeds:\n  - {name: zoe, address: zoe@example.com}\n",
}
CTX = {"name": "Zoé", "order": {"id": "1"}}
# one server and one browser for all: that is what takes the time
pytestmark = pytest.mark.asyncio(loop_scope="module")
shared = pytest_asyncio.fixture(scope="module", loop_scope="module")


@pytest.fixture(scope="module")
def channel() -> RecordingChannel:
    return RecordingChannel()


@shared
async def server(
    tmp_path_factory: pytest.TempPathFactory, petitbleu_model: Path, channel: RecordingChannel
) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("console")
    async with (
        CATCHER.start(lambda message: None) as relay,
        serving(
            folder / "instance",
            database=copy_sqlite(petitbleu_model, folder / "test.db"),
            plugins={"console": {"refresh": 1}, "email": relay},
            modules=modules(channel),
            templates={**TEMPLATES, "picture/email": PICTURE},
            operators=OPERATORS,
            event_types={"other": {}, "picture": {"rendered": True}},
            settings={"safe_mode": {"enabled": True, "allow": ["*@example.com", "+33*"]}},
        ) as running,
    ):
        yield running


@shared
async def event(server: Server) -> int:
    """Something hostile that came in and was sent."""
    pushed = await server.push(
        "note",
        {"name": HOSTILE, "order": {"id": "1"}},
        email="zoe@example.com",
        wishedChannel="record",
        externalId=HOSTILE[:200],
        origin=HOSTILE[:100],
        mobilePhone="+33612345678",
    )
    await server.settled(pushed)
    return pushed


@shared
async def opened(tmp_path_factory: pytest.TempPathFactory, real_parts: Any) -> AsyncIterator[Tab]:
    program = found()
    if program is None:
        real_parts.lacked("Chromium", "pages were fetched, not looked at")
        pytest.skip("there is no Chromium here")
    real_parts.used("Chromium", version(program))
    async with browser(program, tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@shared
async def chief(opened: Tab, server: Server) -> Tab:
    return await sign_in(opened, server, "chief")


@pytest_asyncio.fixture(loop_scope="module")
async def tab(chief: Tab) -> Tab:
    await chief.size(1280, 900)
    chief.problems.clear()
    return chief


async def sign_in(tab: Tab, server: Server, login: str) -> Tab:
    await tab.go(f"{server.url}/console/")
    await tab.fill("login", login)
    await tab.fill("password", PASSWORD)
    await tab.press("Sign in")
    return tab


async def test_every_page_shows_hostile_data_under_its_policy_and_can_be_told_aloud(
    server: Server, tab: Tab, event: int
) -> None:
    paths = [*PATHS, f"events/{event}"]
    pages = [view.path for view in VIEWS if view.method == "GET" and view.path not in PIECES]
    shown = [path.partition("?")[0] for path in paths]
    shapes = {page: re.compile(re.sub(r"\{\w+\}", "[^/]+", page)).fullmatch for page in pages}
    assert [page for page in pages if not any(map(shapes[page], shown))] == []
    for path in paths:
        await tab.go(f"{server.url}/console/{path}")
        found = await tab.run(
            "({h1: document.querySelectorAll('h1').length, fits: document.documentElement.scrollWidth <= innerWidth,"
            " unnamed: [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
            ".filter((one) => !one.labels.length).map((one) => one.outerHTML),"
            " untitled: [...document.querySelectorAll('iframe, img')]"
            ".filter((one) => !one.title && one.alt === undefined).length,"
            " heads: [...document.querySelectorAll('thead th')].every((one) => one.scope === 'col'),"
            " banner: document.querySelector('.banner').textContent, main: document.querySelector('main').id,"
            " skip: document.querySelector('a').hash,"
            " here: document.querySelectorAll('nav [aria-current=page]').length})"
        )
        # a long word breaks the line rather than the page
        expected = {"h1": 1, "fits": True, "unnamed": [], "untitled": 0, "heads": True, "main": "main"}
        assert found | expected == found, path
        assert (found["skip"], found["here"]) == ("#main", 1)
        assert found["banner"].startswith("SAFE MODE: ")
    assert "<script>alert(1)</script>" in await tab.text()
    assert tab.problems == []


async def test_the_images_of_a_message_are_seen(server: Server, tab: Tab) -> None:
    sent = await server.push("picture", {}, email="zoe@example.com")
    await server.settled(sent)
    event = f"{server.url}/console/events/{sent}"
    await tab.go(event)
    assert "As it was sent, word for word." in await tab.text()
    for frame in (f"{event}/part?part=html", f"{server.url}/console/templates/picture/email/part?part=html"):
        await tab.go(frame)
        assert await tab.run("[...document.images].map((one) => one.naturalWidth)") == [1]
    assert tab.problems == []


async def test_a_pasted_event_fills_its_frames_and_stands_in_no_address(server: Server, tab: Tab) -> None:
    page, name = f"{server.url}/console/templates/picture/email", "x" * 20_000
    given = json.dumps({"email": "z@example.com", "ctx": {"name": name}})

    async def frames() -> list[str]:
        known = (await tab.do("Target.getTargets"))["targetInfos"]
        return [one["url"] for one in known if one["type"] == "iframe"]

    for scripts in (True, False):
        await tab.do("Emulation.setScriptExecutionDisabled", value=not scripts)
        await tab.go(f"{page}/preview?seed=zoe")
        tab.posted.clear()
        await tab.send("/preview", event=given)
        if not scripts:
            await tab.run(
                "document.querySelectorAll('form.into-frame:not([hidden]) button').forEach((one) => one.click())"
            )
        async with asyncio.timeout(20):
            while await frames() != [f"{page}/part"] * 2:
                await asyncio.sleep(0.05)
        assert len(tab.posted) == 3
        sandboxes = "[...document.querySelectorAll('iframe')].map((one) => one.getAttribute('sandbox'))"
        assert await tab.run(sandboxes) == ["", ""]
    await tab.do("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.problems == []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        visitor = Visitor(server, session)
        await visitor.sign_in("chief")
        await visitor.go("templates/picture/email/preview")
        part = {"version": "draft", "event": given, "part": "html"}
        assert "Hello" in await visitor.post("templates/picture/email/part", part)
        assert visitor.headers["Content-Security-Policy"] == SEALED
        await visitor.post("templates/picture/email/part", {**part, "key": "another"})
        assert visitor.status == 403


async def test_now_is_live_and_draws(server: Server, tab: Tab) -> None:
    await tab.go(f"{server.url}/console/now")
    async with asyncio.timeout(20):
        while await tab.run("document.querySelectorAll('canvas').length") != 2:
            await asyncio.sleep(0.05)
        await tab.run("document.getElementById('live').dataset.old = 'yes'")
        while await tab.run("document.getElementById('live').dataset.old") == "yes":
            await asyncio.sleep(0.05)
    assert tab.problems == []


async def test_it_fits_a_phone_in_the_dark(server: Server, tab: Tab, event: int) -> None:
    await tab.size(390, 800, dark=True)
    for path in ("now", "events", f"events/{event}", "templates/note/record"):
        await tab.go(f"{server.url}/console/{path}")
        assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), path
        assert await tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 30)"
        assert not await tab.run("document.querySelector('details.menu').open")
    # what a table has at its end is seen without moving it
    await tab.go(f"{server.url}/console/events")
    assert await tab.run("document.querySelector('tbody .state').getBoundingClientRect().right <= innerWidth")
    assert await tab.run("document.querySelector('tbody td').dataset.head") == "Accepted"


async def test_it_can_be_read_without_scripts(server: Server, tab: Tab) -> None:
    await tab.do("Emulation.setScriptExecutionDisabled", value=True)
    for path in PATHS:
        await tab.go(f"{server.url}/console/{path}")
        assert await tab.run("document.querySelectorAll('h1').length") == 1, path
    await tab.do("Emulation.setScriptExecutionDisabled", value=False)


async def test_whatever_can_be_done_to_events_is_done_by_clicks(
    server: Server, channel: RecordingChannel, tab: Tab, event: int
) -> None:
    events, before = f"{server.url}/console/events", len(await server.stored())
    await tab.go(f"{events}/{event}")
    await tab.press("resend")
    assert len(await server.stored()) == before + 1
    await tab.go(f"{events}/{event}")
    await tab.press("send by letter")
    await server.settled(event)
    assert (await server.record(event)).channel == "letter"
    channel.answers.append(Failed("recorder", "550 no", Scope.MESSAGE, "550"))
    failed = await server.push("note", CTX, email="zoe@example.com", wishedChannel="record")
    assert (await server.settled(failed)).status == "failed"
    await tab.go(f"{events}/{failed}")
    await tab.press("retry")
    assert (await server.settled(failed)).status == "sent"
    wish: dict[str, Any] = {"email": "zoe@example.com", "wishedChannel": "record", "scheduled": "2100-01-01T00:00:00Z"}
    later, *more = [await server.push("note", CTX, **wish, externalId=key) for key in ("one", "many", "many")]
    await tab.go(f"{events}/{later}")
    for action, status in (("hold", "paused"), ("release", "pending"), ("cancel", "ignored")):
        await tab.press(action)
        assert await tab.run("document.querySelector('main .state').classList[1]") == status
    await tab.go(f"{events}?find=many")
    assert "What would happen: cancel" in await tab.send("events/bulk", action="cancel")
    assert {(await server.record(one)).status for one in more} == {"pending"}
    await tab.press("Do it")
    assert {(await server.record(one)).status for one in more} == {"ignored"}
    assert tab.problems == []


async def test_whatever_can_be_done_with_templates_is_done_by_clicks(
    server: Server, channel: RecordingChannel, tab: Tab
) -> None:
    page, draft = f"{server.url}/console/templates/note/record", server.folder / "templates/note/record/body.txt.j2"
    first = draft.read_text("utf-8")
    await tab.go(page)
    await tab.press("Unpublish")
    assert "no version" in await tab.text()
    await tab.press("Publish the draft")
    assert "Version 1 is published" in await tab.text()
    draft.write_text("Good day, {{ rtEvent.ctx.name }}", "utf-8")
    await tab.go(page)
    await tab.press("Publish the draft")
    assert "Version 2 is published" in await tab.text()
    await tab.press("Roll back to it")
    assert "Version 1 is published" in await tab.text()
    assert "delivered" in await tab.send("/proof", seed="zoe", to="me@example.com")
    assert channel.messages[-1].address == "me@example.com"
    await tab.go(f"{page}/preview?seed=zoe")
    given = {"type": "note", "email": "z@example.com", "ctx": {"name": "Given"}}
    assert "Good day, Given" in await tab.send("/preview", event=json.dumps(given))
    draft.write_text(first, "utf-8")
    assert tab.problems == []


async def test_whatever_can_be_done_beside_is_done_by_clicks(server: Server, tab: Tab) -> None:
    console = f"{server.url}/console"
    await tab.go(f"{console}/suppressions")
    given = {"channel": "record", "address": "zoe@example.com", "text": HOSTILE[:200]}
    assert "zoe@example.com is suppressed" in await tab.send("suppressions/add", **given)
    assert "zoe@example.com may be written to again" in await tab.send("suppressions/remove", address="zoe@example.com")
    await tab.send("suppressions/import", form="csv", list="channel,address\nrecord,a@example.com\n")
    assert "a@example.com" in await tab.text()
    async with aiohttp.ClientSession() as one, aiohttp.ClientSession() as other:
        for session in (one, other):
            await Visitor(server, session).sign_in("reader")
        await tab.go(f"{console}/operators?sessions=reader")
        assert "A session of reader is ended" in await tab.send("/end")
        assert "reader is signed out everywhere: 1 sessions" in await tab.send("reader/sign-out")
    assert "pb_" in await tab.send("/tokens", login="chief", name="till")
    await tab.go(f"{console}/operators")
    assert "holds no more" in await tab.send("/revoke")
    await tab.go(f"{console}/configuration")
    assert "No server has answered yet." in await tab.send("/reload")
    assert tab.problems == []
    # this test and the two before it
    shapes = [re.sub(r"\{\w+\}", "[^/]+", view.path) for view in VIEWS if view.method == "POST"]
    clicked = [path.removeprefix("/console/") for path in tab.posted]
    assert [one for one in shapes if not any(re.fullmatch(one, path) for path in clicked)] == []
    await tab.press("Français")
    await tab.press("Se déconnecter")
    assert "Mot de passe" in await tab.text()


async def test_whoever_lacks_the_right_is_told_so_and_offered_nothing(server: Server, opened: Tab, event: int) -> None:
    await opened.do("Network.clearBrowserCookies")
    await opened.go(f"{server.url}/console/sign-in")
    assert "SAFE MODE: " in await opened.text()
    await sign_in(opened, server, "reader")
    for path in ("suppressions", "operators", "configuration", "audit", "plugins"):
        await opened.go(f"{server.url}/console/{path}")
        assert "You have no right to this." in await opened.text()
    for path in ("now", "events?status=sent", f"events/{event}", "reports", "templates"):
        await opened.go(f"{server.url}/console/{path}")
        assert "You have no right to this." not in await opened.text()
        assert await opened.run("document.querySelectorAll('main form[method=post]').length") == 0
