"""Log lines, and a reader of them that does not read."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from petitbleu.audit import ITSELF
from petitbleu.config import SAMPLE
from petitbleu.instance import open_instance
from petitbleu.logs import JsonLines, LineWriter, dropped, masked, set_up
from petitbleu_email.catcher import catching

EVENT = '<rtEvent type="password_reset" email="p{n}@example.com"><ctx><user login="m"/><link>https://e.example/</link></ctx></rtEvent>'
ENVELOPE = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:rtEvent">
  <soapenv:Body><urn:PushEvents><urn:sessiontoken>mc/demo</urn:sessiontoken>
    <urn:domEventCollection><Events>{events}</Events></urn:domEventCollection></urn:PushEvents></soapenv:Body>
</soapenv:Envelope>"""


@pytest.mark.parametrize(
    ("text", "addresses", "shown"),
    [
        ("250 2.0.0 Ok", ["nora@example.com"], "250 2.0.0 Ok"),
        ("550 <Nora@EXAMPLE.com>, nora@example.com", ["nora@Example.com"], "550 <***>, ***"),
        ("550 no nora@example.com, no +33612345678", ["nora@example.com", "+33612345678"], "550 no ***, no ***"),
        ("550 <ZOÉ@example.com> inconnue", ["zoé@example.com"], "550 <***> inconnue"),
        # letters beyond ASCII that only differ from others by their case
        ("550 <\u212aim@example.com>", ["kim@example.com"], "550 <***>"),
        ("550 <kim@example.com>", ["\u212aim@example.com"], "550 <***>"),
    ],
)
def test_addresses_are_masked_however_they_are_written(text: str, addresses: list[str], shown: str) -> None:
    assert masked(text, addresses) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "1970-01-01T00:00:00.000+00:00"),
        (1764436800.0009, "2025-11-29T17:20:00.000+00:00"),
        (1764436800.25, "2025-11-29T17:20:00.250+00:00"),
        (1764436800.9999, "2025-11-29T17:20:00.999+00:00"),
        (1764436801.001, "2025-11-29T17:20:01.001+00:00"),
    ],
)
def test_a_line_has_the_millisecond_in_which_it_was_logged(seconds: float, shown: str) -> None:
    record = logging.makeLogRecord({"created": seconds, "msg": "ready"})
    assert json.loads(JsonLines().format(record))["time"] == shown


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that holds one page."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError as error:
            assert error.errno == 9, "closed by the test"  # noqa: PT017


def writer_to(descriptor: int, **limits: Any) -> tuple[LineWriter, logging.Logger]:
    writer = LineWriter(open(descriptor, "w", closefd=False), **limits)  # noqa: SIM115
    logger = logging.Logger("petitbleu.test")
    logger.addHandler(writer)
    return writer, logger


def lines(reading: int) -> list[dict[str, Any]]:
    """What comes until the other end is closed."""
    with open(reading, closefd=False, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_a_line_is_an_object_with_the_fields_given() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream)
    logger = logging.Logger("petitbleu.test")
    logger.addHandler(writer)
    logger.info("é %d", 1, extra={"event": 7})
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("broken")
    writer.close()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["level"], first["logger"], first["text"], first["event"]) == ("info", "petitbleu.test", "é 1", 7)
    assert second["exception"].endswith("ValueError: why")


def test_nobody_waits_for_a_reader_and_what_is_dropped_is_told(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer, logger = writer_to(writing, most=50, patience=10)
    slowest = 0.0
    for number in range(2000):
        started = time.monotonic()
        logger.info("line %d of 2000, made longer by this", number)
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < 1
    lost = writer.dropped
    assert lost > 1000
    found: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: found.extend(lines(reading)))
    reader.start()
    # until the notice is out there may be no room yet for one more line
    while writer._lines.qsize():
        time.sleep(0.01)
    logger.info("and on")
    writer.close()
    os.close(writing)
    reader.join()
    notices = [line for line in found if line["logger"] == "petitbleu.logs"]
    assert {notice["level"] for notice in notices} == {"warning"}
    assert sum(notice["dropped"] for notice in notices) == lost
    assert f"{notices[-1]['dropped']} lines" in notices[-1]["text"]
    numbers = [int(line["text"].split()[1]) for line in found if line["text"].endswith("by this")]
    assert len(numbers) == 2000 - lost
    assert numbers == sorted(numbers)
    assert found[-1]["text"] == "and on"
    assert writer.dropped == lost


def test_lines_for_a_reader_that_has_gone_are_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer, logger = writer_to(writing)
    os.close(reading)
    logger.info("nobody")
    logger.info("hears")
    writer.close()
    assert writer.dropped == 2


def test_closing_waits_for_a_reader_only_so_long(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer, logger = writer_to(writing, patience=0.2)
    for _ in range(200):
        logger.info("x" * 100)
    started = time.monotonic()
    writer.close()
    assert 0.1 < time.monotonic() - started < 5
    os.set_blocking(reading, False)
    threading.Thread(target=_drain, args=[reading, writer]).run()


def _drain(reading: int, writer: LineWriter) -> None:
    """Let the writer's thread come to its end."""
    assert writer._thread is not None
    while writer._thread.is_alive():
        try:
            os.read(reading, 65536)
        except BlockingIOError:
            time.sleep(0.01)


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """As when the terminal's other end was set so by somebody else."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer, logger = writer_to(writing, patience=10)
    for number in range(500):
        logger.info("line %d", number)
    found: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: found.extend(lines(reading)))
    reader.start()
    writer.close()
    os.close(writing)
    reader.join()
    assert [line["text"] for line in found] == [f"line {number}" for number in range(500)]
    assert writer.dropped == 0


def test_a_child_process_writes_its_own_lines_only(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    code = """
import logging, os, sys
from petitbleu.logs import masked, set_up
set_up(sys.stderr)
logger = logging.getLogger("petitbleu.test")
logger.info("parent")
child = os.fork()
logger.info("child" if child == 0 else "parent again")
if child:
    os.waitpid(child, 0)
"""
    import subprocess

    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    process = subprocess.Popen(command, stderr=writing)
    os.close(writing)
    found = [line["text"] for line in lines(reading)]
    assert process.wait() == 0
    assert sorted(found) == ["child", "parent", "parent again"]


def test_setting_up_again_closes_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    root, ours = logging.getLogger(), logging.getLogger("petitbleu")
    monkeypatch.setattr(root, "handlers", [])
    levels = root.level, ours.level
    first, second = io.StringIO(), io.StringIO()
    try:
        set_up(first)
        ours.info("one")
        set_up(second)
        assert '"one"' in first.getvalue()
        ours.info("two")
        root.handlers[0].close()
        assert '"two"' in second.getvalue()
        assert dropped() == 0
    finally:
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


async def test_a_server_sends_and_stops_though_nobody_reads_its_log(sqlite_url: str, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    async with open_instance(SAMPLE, [f"database={sqlite_url}"]) as instance:
        await instance.templates.publish(instance.drafts.load("password_reset", "email"), ITSELF)
    async with catching(lambda caught: None, port=0) as port, aiohttp.ClientSession() as session:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "petitbleu", "serve", "--config", str(SAMPLE)),
            *("--set", f"database={sqlite_url}", "--set", "http.port=0"),
            *("--set", f"plugins.email.providers.main.port={port}"),
            stderr=writing,
        )
        # the next line may be there already
        first = json.loads((await asyncio.to_thread(os.read, reading, 65536)).splitlines()[0])
        events = "".join(EVENT.format(n=number) for number in range(60))
        push = session.post(
            f"{first['url']}/nl/jsp/soaprouter.jsp",
            data=ENVELOPE.format(events=events),
            headers={"Content-Type": "text/xml"},
        )
        async with push as response:
            assert response.status == 200, await response.text()
        text = ""
        for _ in range(200):
            async with session.get(f"{first['url']}/metrics") as response:
                text = await response.text()
            if 'petitbleu_steps_total{queue="realtime",status="sent"} 60.0' in text:
                break
            await asyncio.sleep(0.1)
        assert 'petitbleu_steps_total{queue="realtime",status="sent"} 60.0' in text
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    # what was written is one page; sixty events make many more lines
    os.set_blocking(reading, False)
    assert len(os.read(reading, 65536)) <= 4096
