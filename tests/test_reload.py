"""A server takes over a changed configuration: all of it, or nothing and the reason."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from petitbleu import Actor, InstallationDesk, Operator
from petitbleu.auth import hash_password
from petitbleu.serving.generations import Generations
from petitbleu.serving.listening import url
from petitbleu.serving.serving import Here

CONFIG = """
instance: {name: test, cell: 1, time_zone: UTC, brand: shop}
database: DATABASE
http: {port: 0, farewell: 2s}
plugins:
  - email: {providers: {main: {host: 127.0.0.1, port: 1, security: plain}}}
  - sms: {connectors: {main: {host: 127.0.0.1, port: 1}}, senders: {"*": {"*": Shop}}}
  - rest_ingest
event_types: {welcome: {}, going: {}}
brands: {shop: {sender: {name: Shop, address: shop@example.com}}}
operators:
  mc: {password: "PASSWORD", rights: [push, admin], password_token_from: [127.0.0.0/8]}
"""
AUTH = {"Authorization": aiohttp.encode_basic_auth("mc", "demo")}
ADMIN = Actor(Operator("mc", frozenset(["admin"])), "console")


class Site:
    """A server that takes events and delivers none."""

    def __init__(self, folder: Path, database: str) -> None:
        self._file = folder / "petitbleu.yaml"
        (folder / "templates").mkdir(exist_ok=True)
        self._file.write_text(CONFIG.replace("DATABASE", database).replace("PASSWORD", hash_password("demo")))
        self.generations: Generations[Here]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        first = await Here.begin(self._file.parent, (), "intake")
        self.generations = Generations(
            self._file.parent, (), lambda raw, sockets: Here.begin(raw, (), "intake", sockets), first
        )
        stop = asyncio.Event()
        running = asyncio.create_task(self.generations.run(stop))
        try:
            await until(first._served.done)
            yield
        finally:
            stop.set()
            await running

    @property
    def url(self) -> str:
        return url(self.generations.current.sockets[0])

    def edit(self, old: str, new: str) -> None:
        text = self._file.read_text()
        assert old in text
        self._file.write_text(text.replace(old, new))

    @property
    def desk(self) -> InstallationDesk:
        return self.generations.current.instance.services.desk.installation

    async def reload(self) -> str:
        """The reason why not."""
        request = await self.desk.reload(ADMIN)
        while True:
            found = await self.desk.reloads(request, ADMIN.operator)
            if found and found[0].done is not None:
                (one,) = found
                assert one.done is not bool(one.reason)
                return one.reason
            await asyncio.sleep(0.02)

    async def push(self, session: aiohttp.ClientSession, type_: str = "welcome", **attributes: str) -> int:
        body = {"email": "zoe@example.com", **attributes}
        async with session.post(f"{self.url}/api/v1/events/{type_}", json=body, headers=AUTH) as response:
            assert response.status == 202, await response.text()
            return int((await response.json())["id"])

    async def stored(self) -> set[int]:
        rows = await self.generations.current.store.read("SELECT id FROM events", [])
        return {row["id"] for row in rows}

    async def cancel(self) -> None:
        await self.generations.current.store.read("DELETE FROM queue RETURNING id", [])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
async def site(tmp_path: Path, database_url: str) -> AsyncIterator[Site]:
    made = Site(tmp_path, database_url)
    async with made.serving():
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Its calls are tried once: a connection that is closed under one is a call refused."""
    async with aiohttp.ClientSession() as session:
        session._retry_connection = False
        yield session


async def test_all_is_taken_over_and_no_call_refused(site: Site, session: aiohttp.ClientSession) -> None:
    taken: list[int] = []
    going = True

    async def calling(**headers: str) -> None:
        while going:
            async with session.post(
                f"{site.url}/api/v1/events/welcome", json={"email": "zoe@example.com"}, headers={**AUTH, **headers}
            ) as response:
                assert response.status == 202
                taken.append(int((await response.json())["id"]))

    where, first = site.url, site.generations.current
    callers = [asyncio.create_task(one) for one in (calling(), calling(), calling(Connection="close"))]
    await until(lambda: len(taken) > 5)
    site.edit("event_types: {welcome: {}, ", "event_types: {welcome: {}, fresh: {}, ")
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: site.generations.current is not first)
    site.edit("fresh: {}", "fresher: {}")
    assert await site.reload() == ""
    before = len(taken)
    await until(lambda: len(taken) > before + 5)
    going = False
    await asyncio.gather(*callers)
    assert await site.push(session, "fresher") in await site.stored()
    assert set(taken) <= await site.stored()
    assert site.url == where


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_cannot_be_is_refused_with_every_reason_and_nothing_is_changed(
    site: Site, session: aiohttp.ClientSession
) -> None:
    first = site.generations.current
    await site.push(session, "going")
    await site.push(session, wishedChannel="sms", mobilePhone="+33700000000")
    config = site._file.read_text()

    async def refused(old: str, new: str) -> str:
        site.edit(old, new)
        reason = await site.reload()
        site._file.write_text(config)
        assert site.generations.current is first
        await site.push(session)
        return reason

    wrong = await refused("port: 0", "prot: 0")
    assert wrong.endswith("petitbleu.yaml:4:8: http.prot: is not a setting here; did you mean 'port'?")
    assert await refused("port: 0", "port: 80") == "http.port: is changed; that takes a restart"
    assert await refused(", going: {}", "") == (
        "event_types: 1 open events have the type 'going', which is not declared any more; wait until they are sent, "
        "or `petitbleu events cancel --type going --all-open --yes`"
    )
    without_sms = await refused("  - sms: ", "  - push: {apps: {}} # ")
    assert without_sms.startswith(
        "plugins: 1 open events go by the channel 'sms', which no plugin would serve any more;"
    )
    # all is in order, but it does not start
    site.edit("brands:", 'encryption: {keys: [{id: a, key: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}]}\nbrands:')
    assert await site.reload() == ""
    first = site.generations.current
    config = site._file.read_text()
    assert "key" in await refused("encryption: ", "# ")
    site.edit(", going: {}", "")
    await site.cancel()
    assert await site.reload() == ""


async def test_an_event_that_is_on_its_way_in_is_not_orphaned(
    site: Site, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was checked before the reload looked for open events, and is stored after."""
    current = site.generations.current
    queue = current.instance.queue
    begun, go_on = asyncio.Event(), asyncio.Event()
    store = queue.store

    async def slowly(*given: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await store(*given)

    monkeypatch.setattr(queue, "store", slowly)
    pushing = asyncio.create_task(site.push(session, "going"))
    await begun.wait()
    site.edit(", going: {}", "")
    reloading = asyncio.create_task(site.reload())
    intake = current.instance.intake
    await until(lambda: "going" not in intake._types)
    go_on.set()
    assert await pushing in await site.stored()
    assert (await reloading).startswith("event_types: 1 open events have the type 'going'")
    await site.push(session, "going")
