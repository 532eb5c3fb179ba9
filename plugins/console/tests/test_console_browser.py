"""The console in a browser: every page under its strict policy, live, on a phone, in the dark and without scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Tab, browser, found, version
from console_rig import HOSTILE, OPERATORS, TEMPLATES, modules
from petitbleu.testing import PASSWORD, RecordingChannel, Server, serving
from petitbleu_console.site import SECTIONS

PATHS = [section.path for section in SECTIONS] + ["templates/note/record", "templates/note/record/preview?seed=zoe"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    channel = RecordingChannel()
    async with serving(
        tmp_path / "instance",
        modules=modules(channel),
        templates=TEMPLATES,
        operators=OPERATORS,
        event_types={"other": {}},
        settings={"sessions": {"guess_delay": 0.01}},
    ) as running:
        yield running


@pytest.fixture
async def tab(tmp_path: Path, real_parts: Any) -> AsyncIterator[Tab]:
    program = found()
    if program is None:
        real_parts.lacked("Chromium", "pages were fetched, not looked at")
        pytest.skip("there is no Chromium here")
    real_parts.used("Chromium", version(program))
    async with browser(program, tmp_path / "browser") as opened:
        yield opened


async def sign_in(tab: Tab, server: Server, login: str = "chief") -> None:
    await tab.go(f"{server.url}/console/")
    await tab.fill("login", login)
    await tab.fill("password", PASSWORD)
    await tab.press("Sign in")


async def hostile_event(server: Server) -> int:
    event = await server.push(
        "note",
        {"name": HOSTILE, "order": {"id": "1"}},
        email="zoe@example.com",
        wishedChannel="record",
        externalId=HOSTILE[:200],
        origin=HOSTILE[:100],
    )
    await server.settled(event)
    return event


async def test_every_page_shows_hostile_data_under_its_policy(server: Server, tab: Tab) -> None:
    event = await hostile_event(server)
    await sign_in(tab, server)
    for path in [*PATHS, f"events/{event}"]:
        await tab.go(f"{server.url}/console/{path}")
        assert await tab.run("document.querySelectorAll('h1').length") == 1, path
        # a long word breaks the line rather than the page
        assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), path
    assert "<script>alert(1)</script>" in await tab.text()
    assert tab.problems == []


async def test_what_is_done_by_clicks_is_done(server: Server, tab: Tab) -> None:
    event = await hostile_event(server)
    await sign_in(tab, server)
    await tab.go(f"{server.url}/console/events/{event}")
    await tab.press("resend")
    assert len(await server.stored()) == 2
    await tab.go(f"{server.url}/console/templates/note/record")
    await tab.press("Unpublish")
    assert "no version" in await tab.text()
    await tab.press("Publish the draft")
    assert "Version 1 is published" in await tab.text()
    await tab.go(f"{server.url}/console/suppressions")
    await tab.run("document.querySelector('form[action$=add] select[name=channel]').value = 'record'")
    await tab.fill("address", "zoe@example.com", "form[action$=add]")
    await tab.press("Suppress it")
    assert "zoe@example.com is suppressed" in await tab.text()
    await tab.press("Français")
    await tab.press("Se déconnecter")
    assert "Mot de passe" in await tab.text()
    assert tab.problems == []


async def test_now_is_live_and_draws(server: Server, tab: Tab) -> None:
    await server.stop()
    config = server.folder / "petitbleu.yaml"
    text = await asyncio.to_thread(config.read_text)
    await asyncio.to_thread(config.write_text, text.replace('"console"', '{"console": {"refresh": 1}}'))
    await server.start()
    await sign_in(tab, server)
    await tab.go(f"{server.url}/console/now")
    async with asyncio.timeout(20):
        while await tab.run("document.querySelectorAll('canvas').length") != 2:
            await asyncio.sleep(0.05)
        await tab.run("document.getElementById('live').dataset.old = 'yes'")
        while await tab.run("document.getElementById('live').dataset.old") == "yes":
            await asyncio.sleep(0.05)
    assert tab.problems == []


async def test_it_fits_a_phone_in_the_dark_and_can_be_read_without_scripts(server: Server, tab: Tab) -> None:
    event = await hostile_event(server)
    await sign_in(tab, server)
    await tab.size(390, 800, dark=True)
    for path in ("now", "events", f"events/{event}", "templates/note/record"):
        await tab.go(f"{server.url}/console/{path}")
        assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), path
        assert await tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 30)"
        assert not await tab.run("document.querySelector('details.menu').open")
    await tab.without_scripts()
    for path in PATHS:
        await tab.go(f"{server.url}/console/{path}")
        assert await tab.run("document.querySelectorAll('h1').length") == 1, path


async def test_whoever_lacks_the_right_is_told_so(server: Server, tab: Tab) -> None:
    await sign_in(tab, server, "reader")
    for path in ("suppressions", "operators", "configuration", "audit", "plugins"):
        await tab.go(f"{server.url}/console/{path}")
        assert "You have no right to this." in await tab.text()


async def test_whoever_uses_the_keyboard_or_a_reader_finds_the_way(server: Server, tab: Tab) -> None:
    await hostile_event(server)
    await sign_in(tab, server)
    for path in PATHS:
        await tab.go(f"{server.url}/console/{path}")
        unnamed = await tab.run(
            "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
            ".filter((one) => !one.labels.length).map((one) => one.outerHTML)"
        )
        assert unnamed == [], path
        assert await tab.run("document.querySelector('main').id") == "main"
        assert await tab.run("document.activeElement !== null && document.querySelector('.skip').hash === '#main'")
        assert await tab.run("[...document.querySelectorAll('thead th')].every((one) => one.scope === 'col')"), path
        assert await tab.run(
            "[...document.querySelectorAll('iframe, img')].every((one) => one.title || one.alt !== undefined)"
        )
