"""Servers of several processes: one port, one database, stops and restarts under load."""

from __future__ import annotations

import asyncio
import email
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiosmtpd.smtp import SMTP, Envelope
from petitbleu.config import SAMPLE
from petitbleu.testing.databases import copy_sqlite

ENVELOPE = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:rtEvent">
<soapenv:Body><urn:PushEvent><urn:sessiontoken>mc/demo</urn:sessiontoken><urn:domEvent>
<rtEvent type="password_reset" email="{to}" externalId="{number}"><ctx>
<link>https://shop.example.com/reset/{number}</link><expires>2026-11-24T18:00:00Z</expires><firstName>Zoé</firstName>
</ctx></rtEvent></urn:domEvent></urn:PushEvent></soapenv:Body></soapenv:Envelope>"""


class SlowMailbox:
    """An SMTP server's handler that answers the end of a message after `seconds`, and counts what it took."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.taken: Counter[int] = Counter()
        self.open = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        content = envelope.content or b""
        assert isinstance(content, bytes)
        key = email.message_from_bytes(content)["Message-ID"]
        # taken is taken: whoever leaves before our answer would make a double of it
        self.taken[int(key.strip("<>").partition(".")[0])] += 1
        self.open += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.open -= 1
        return "250 2.0.0 kept"


class Site:
    """A folder with the sample instance, its database, a mailbox, and servers started on them."""

    def __init__(self, folder: Path, database: str, mailbox: SlowMailbox, mail_port: int) -> None:
        self.mailbox = mailbox
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._arguments = ["--config", str(folder)]
        for setting in (
            f"database={database}",
            f"http.port={port}",
            f"plugins.email.providers.main.port={mail_port}",
            "delivery.lease=5s",
            "delivery.drain=10s",
        ):
            self._arguments += ["--set", setting]
        self.lines: list[dict[str, Any]] = []
        self.acknowledged: list[int] = []
        self._readers: list[asyncio.Task[None]] = []

    async def command(self, *words: str, code: int = 0) -> str:
        """What it prints."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "petitbleu", *words, *self._arguments, stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == code, err.decode()
        return (out + err).decode()

    def edit(self, old: str, new: str) -> None:
        """Change the configuration."""
        file = self._folder / "petitbleu.yaml"
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")

    async def serve(self, *words: str, ready: int = 1) -> Process:
        """A started server of which `ready` processes serve."""
        self.lines.clear()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "petitbleu",
            "serve",
            *words,
            *self._arguments,
            stdout=DEVNULL,
            stderr=PIPE,
            process_group=0,
        )
        self._readers.append(asyncio.create_task(self._read(process)))
        try:
            await self.said("serving", ready)
        except AssertionError:
            process.kill()
            raise
        return process

    async def _read(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.lines.append(json.loads(line) if line.startswith(b"{") else {"text": line.decode()})

    def having(self, text: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["text"] == text]

    async def said(self, text: str, times: int = 1) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(40):
                while len(self.having(text)) < times:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{text!r} was not said {times} times: {self.lines}") from None
        return self.having(text)

    async def push(self, number: int) -> int | None:
        """The id; None if the connection was cut before the answer."""
        try:
            async with aiohttp.ClientSession(headers={"Connection": "close"}) as session:
                return await self.push_by(session, number)
        except aiohttp.ClientConnectionError:
            return None

    async def push_by(self, session: aiohttp.ClientSession, number: int) -> int:
        body = ENVELOPE.format(to=f"z{number}@example.com", number=number).encode()
        headers = {"Content-Type": "text/xml"}
        async with session.post(f"{self.url}/nl/jsp/soaprouter.jsp", data=body, headers=headers) as response:
            text = await response.text()
        found = re.search(r"<[\w:]*plId[^>]*>(\d+)<", text)
        assert response.status == 200, text
        assert found, text
        self.acknowledged.append(int(found[1]))
        return int(found[1])

    async def delivered(self, seconds: float = 30) -> None:
        """Wait until everything acknowledged was taken; then nothing may have come twice."""
        try:
            async with asyncio.timeout(seconds):
                while self.mailbox.open or set(self.acknowledged) - set(self.mailbox.taken):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            lost = set(self.acknowledged) - set(self.mailbox.taken)
            raise AssertionError(f"not delivered: {lost}; {self.lines[-20:]}") from None
        assert {one: times for one, times in self.mailbox.taken.items() if times > 1} == {}

    async def get(self, path: str) -> int:
        async with aiohttp.request("GET", self.url + path) as response:
            return response.status

    async def close(self) -> None:
        await asyncio.gather(*self._readers)


@pytest.fixture(scope="module")
def published(petitbleu_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the sample's templates, to be copied: a command takes seconds to start."""
    file = tmp_path_factory.mktemp("published") / "model.db"
    words = [
        "templates",
        "publish",
        "--all",
        "--config",
        str(SAMPLE),
        "--set",
        f"database={copy_sqlite(petitbleu_model, file)}",
    ]
    subprocess.run([sys.executable, "-m", "petitbleu", *words], check=True, capture_output=True)
    return file


@pytest.fixture
async def site(tmp_path: Path, published: Path) -> AsyncIterator[Callable[..., Any]]:
    """`await site()` makes it, with its templates published."""
    folder = tmp_path / "shop"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("var"))
    async with AsyncExitStack() as stack:

        async def make(seconds: float = 0.0, *, empty: bool = False) -> Site:
            mailbox = SlowMailbox(seconds)
            loop = asyncio.get_running_loop()
            smtp = await loop.create_server(lambda: SMTP(mailbox, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
            await stack.enter_async_context(smtp)
            database = f"sqlite://{tmp_path}/empty.db" if empty else copy_sqlite(published, tmp_path / "test.db")
            made = Site(folder, database, mailbox, smtp.sockets[0].getsockname()[1])
            stack.push_async_callback(made.close)
            return made

        yield make


@asynccontextmanager
async def stopped(process: Process) -> AsyncIterator[Process]:
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.kill()
                await process.wait()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not holds():
            await asyncio.sleep(0.02)


async def test_two_processes_on_one_file_and_one_port_deliver_each_event_once(site: Any) -> None:
    made: Site = await site()
    async with stopped(await made.serve("--processes", "2", ready=2)) as process:
        assert len({line["url"] for line in made.having("serving")}) == 1
        assert len({line["incarnation"] for line in made.having("serving")}) == 2
        for first in range(0, 120, 20):
            assert None not in await asyncio.gather(*(made.push(number) for number in range(first, first + 20)))
        await made.delivered()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert len(made.acknowledged) == len(set(made.acknowledged)) == 120
    assert [line["code"] for line in made.having("process ended")] == [0, 0]
    # nobody listens where the sample has its SMSC
    others = [line for line in made.lines if line["logger"] != "petitbleu.sms"]
    assert [line["level"] for line in others if line["level"] != "info"] == []


async def test_the_tables_of_an_empty_database_are_made_once_for_all(site: Any) -> None:
    made: Site = await site(empty=True)
    async with stopped(await made.serve("--processes", "3", ready=3)) as process:
        assert await made.get("/readyz") in (200, 503)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert [line["code"] for line in made.having("process ended")] == [0, 0, 0]


async def test_a_process_that_is_killed_is_replaced_and_its_events_are_sent(site: Any) -> None:
    made: Site = await site()
    async with stopped(await made.serve("--processes", "2", ready=2)):
        os.kill(made.having("process started")[0]["pid"], signal.SIGKILL)
        for number in range(20):
            await made.push(number)
        await made.said("serving", 3)
        await made.delivered()
    assert next(line["code"] for line in made.having("process ended")) == -signal.SIGKILL


async def test_processes_end_when_their_parent_is_killed(site: Any) -> None:
    made: Site = await site()
    async with stopped(await made.serve("--processes", "2", ready=2)) as process:
        process.kill()
        await process.wait()
        await made.said("stopping", 2)
        await asyncio.wait_for(made.close(), 20)  # nobody holds the log open any more
        with pytest.raises(aiohttp.ClientConnectionError):
            await made.get("/healthz")


async def test_intake_claims_nothing_and_a_worker_takes_no_events(site: Any) -> None:
    made: Site = await site()
    async with stopped(await made.serve("--role", "intake")) as process:
        assert await made.push(1) is not None
        assert await made.get("/healthz") == 200
        await asyncio.sleep(1.5)
        assert made.mailbox.taken == {}
        process.terminate()
        assert await process.wait() == 0
    async with stopped(await made.serve("--role", "worker")):
        assert (await made.get("/healthz"), await made.get("/readyz")) == (200, 200)
        assert await made.get("/nl/jsp/soaprouter.jsp") == 404
        await made.delivered()


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_second_signal_stops_at_once(site: Any, processes: int) -> None:
    made: Site = await site(5.0)
    async with stopped(await made.serve("--processes", str(processes), ready=processes)) as process:
        assert await made.push(1) is not None
        async with asyncio.timeout(20):
            while not made.mailbox.open:
                await asyncio.sleep(0.02)
        process.terminate()
        await made.said("stopping", processes)
        started = time.monotonic()
        process.terminate()
        assert await process.wait() == 1
        assert time.monotonic() - started < 2


async def test_rolling_restarts_under_load_lose_and_double_nothing(site: Any) -> None:
    """The mailbox answers after a second, so that every stop finds messages that were handed over."""
    made: Site = await site(1.0)
    numbers = iter(range(100_000))
    going = True

    async def caller() -> None:
        while going:
            await made.push(next(numbers))
            await asyncio.sleep(0.03)

    async with stopped(await made.serve("--processes", "2", ready=2)) as process:
        callers = [asyncio.create_task(caller()) for _ in range(2)]
        found_at_work = 0
        for old in made.having("process started")[-2:]:
            serving = len(made.having("serving"))
            found_at_work += made.mailbox.open
            os.kill(old["pid"], signal.SIGTERM)
            await made.said("serving", serving + 1)
        found_at_work += made.mailbox.open
        going = False
        await asyncio.gather(*callers)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert [line["code"] for line in made.having("process ended")] == [0] * 4
    async with stopped(await made.serve("--role", "worker")):
        await made.delivered()
    assert found_at_work > 0
    assert len(made.acknowledged) > 50


async def test_a_reload_of_several_processes_refuses_no_call_and_loses_no_event(site: Any) -> None:
    """Callers that keep their connections, whose library would not try again, and callers that make new ones."""
    made: Site = await site(0.3)
    numbers = iter(range(100_000))
    going = True

    async def keeping() -> None:
        async with aiohttp.ClientSession() as session:
            session._retry_connection = False
            while going:
                await made.push_by(session, next(numbers))
                await asyncio.sleep(0.05)

    async def connecting() -> None:
        while going:
            assert await made.push(next(numbers)) is not None
            await asyncio.sleep(0.05)

    async with stopped(await made.serve("--processes", "2", ready=2)) as process:
        # whoever is started anew goes by what was taken over, whatever stands in the files by now
        made.edit("  # shutdown: 10s", "  shutdowm: 10s")
        os.kill(made.having("process started")[0]["pid"], signal.SIGKILL)
        await made.said("serving", 3)
        process.send_signal(signal.SIGHUP)
        await until(lambda: any("http.shutdowm: is not a setting" in line["text"] for line in made.lines))
        callers = [asyncio.create_task(one()) for one in (keeping, keeping, connecting, connecting)]
        await until(lambda: len(made.acknowledged) > 20)
        made.edit("  shutdowm: 10s", "  shutdown: 10s")
        made.edit("  - console\n", "")
        before = len(made.acknowledged)
        assert [one["reloaded"] for one in json.loads(await made.command("reload", "--json"))] == [True]
        await made.said("process ended", 3)
        assert await made.get("/console/sign-in") == 404
        after = len(made.acknowledged)
        going = False
        await asyncio.gather(*callers)
        await made.delivered()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert after > before
    assert len(made.having("serving")) == 5
    assert [line["code"] for line in made.having("process ended")] == [-signal.SIGKILL, 0, 0, 0, 0]
