"""The SMTP sink of a measurement: Postfix's `smtp-sink` where it is installed, else our own; both tell how many mails
they took on their standard output."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from .processes import free_port, listens, python, running

TICK = 0.01
"""Seconds between two readings of the counter."""
_COUNT = re.compile(rb"mesg=(\d+)\r")


class Sink:
    """A running sink. `accepted` is read from its counter every `TICK`."""

    def __init__(self, name: str, port: int, pid: int, counter: int) -> None:
        self.name = name
        self.port = port
        self.pid = pid
        self.accepted = 0
        self._counter = counter
        self._rest = b""

    def read(self) -> None:
        """Bring `accepted` up to date."""
        while True:
            try:
                text = os.read(self._counter, 65536)
            except BlockingIOError:
                return
            if not text:
                return
            text = self._rest + text
            if found := _COUNT.findall(text):
                self.accepted = int(found[-1])
            self._rest = text[text.rfind(b"\r") + 1 :]

    async def follow(self) -> None:
        while True:
            self.read()
            await asyncio.sleep(TICK)


def postfix_sink() -> str | None:
    return shutil.which("smtp-sink", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def smtp_sink(
    folder: Path, record: Path | None = None, keep: Path | None = None, delay: float = 0.0
) -> AsyncIterator[Sink]:
    """A sink on a free port of 127.0.0.1. It is our own where one of its options is used: `record` writes which event's
    mail came when, `keep` keeps the last mail, `delay` is seconds that each takes (`smtp_sink.py`)."""
    port, program = free_port(), postfix_sink()
    if program and record is None and keep is None and not delay:
        words: list[str | Path] = [program, "-c", f"127.0.0.1:{port}", "1000"]
        if os.geteuid() == 0:
            words[1:1] = ["-u", "nobody"]
        name = "smtp-sink of Postfix"
    else:
        words = python("benchmarks.smtp_sink", "--port", str(port))
        words += ["--record", record] if record else []
        words += ["--keep", keep] if keep else []
        words += ["--delay", str(delay)] if delay else []
        name = "smtp_sink.py"
    async with _counting(name, words, port, folder) as sink:
        yield sink


@asynccontextmanager
async def counted(name: str, words: Callable[[int], Sequence[str | Path]], folder: Path) -> AsyncIterator[Sink]:
    """Another sink on a free port, a program that tells how many messages it took as `smtp_sink.py` does."""
    port = free_port()
    async with _counting(name, words(port), port, folder) as sink:
        yield sink


@asynccontextmanager
async def _counting(name: str, words: Sequence[str | Path], port: int, folder: Path) -> AsyncIterator[Sink]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        async with running(words, folder / "sink.log", stdout=write) as child:
            os.close(write)
            write = -1
            await listens(child, port, f"the sink ({name})")
            sink = Sink(name, port, child.pid, read)
            follower = asyncio.create_task(sink.follow())
            try:
                yield sink
            finally:
                follower.cancel()
                await asyncio.gather(follower, return_exceptions=True)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
