"""One port for several processes, and who starts them, starts them again and stops them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from petitbleu.errors import PetitbleuError
from petitbleu.serving.listening import inherited, listen, url
from petitbleu.serving.supervisor import Pauses, Supervisor

# ------------------------------------------------------------------------------------------------------- one port


def test_a_port_is_opened_once_and_can_be_handed_on() -> None:
    (first,) = listen("127.0.0.1", 0)
    with first:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url(first))
        port = first.getsockname()[1]
        with pytest.raises(PetitbleuError, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use$"):
            listen("127.0.0.1", port)
        (second,) = inherited([os.dup(first.fileno())])
        with second, socket.create_connection(("127.0.0.1", port)) as client:
            accepted, caller = second.accept()
            accepted.close()
            assert caller == client.getsockname()


def test_a_host_nobody_knows_is_told() -> None:
    with pytest.raises(PetitbleuError, match=r"^cannot listen on no\.such\.host\.invalid:8080: "):
        listen("no.such.host.invalid", 8080)


# ------------------------------------------------------------------------------------------------------ the supervisor

PAUSES = Pauses(first=0.05, longest=0.2, healthy=60.0)


class Program:
    """A small program to be supervised; each start leaves its time in a file."""

    def __init__(self, folder: Path, body: str) -> None:
        self._starts = folder / "starts"
        self._starts.touch()
        self._code = (
            "import signal, sys, time\n"
            f"body = {body!r}\n"
            f"open({str(self._starts)!r}, 'a').write(f'{{time.time()}}\\n')\n"
            "exec(body)\n"
        )

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self._code]

    def starts(self) -> list[float]:
        return [float(line) for line in self._starts.read_text().splitlines()]

    async def started(self, times: int) -> None:
        async with asyncio.timeout(20):
            while len(self.starts()) < times:
                await asyncio.sleep(0.02)


WAITS = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(60)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@asynccontextmanager
async def supervised(
    program: Program, processes: int, grace: float = 10.0
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event, asyncio.Task[int]]]:
    stop, at_once = asyncio.Event(), asyncio.Event()
    supervisor = Supervisor(program.command, [], processes, grace, PAUSES)
    task = asyncio.create_task(supervisor.run(stop, at_once))
    try:
        yield stop, at_once, task
    finally:
        stop.set()
        at_once.set()
        await task


async def test_a_process_that_crashes_is_started_again_later_and_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = Program(tmp_path, "sys.exit(3)")
    with caplog.at_level("INFO", "petitbleu.server"):
        async with supervised(program, 1) as (stop, _, task):
            await program.started(5)
            stop.set()
            assert await task in (0, 1)
    pauses = [float(found[1]) for found in re.finditer(r"again in ([\d.]+) s", caplog.text)]
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.2]
    starts = program.starts()
    assert all(later - earlier >= pause for earlier, later, pause in zip(starts, starts[1:], pauses, strict=False))
    ended = [record for record in caplog.records if record.message == "process ended"]
    assert {(vars(one)["number"], vars(one)["code"]) for one in ended} <= {(1, 3), (1, -signal.SIGTERM)}


async def test_an_end_in_order_starts_no_back_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program = Program(tmp_path, "sys.exit(0)")
    async with supervised(program, 1):
        await program.started(4)
    assert set(re.findall(r"again in ([\d.]+) s", caplog.text)) == {"0.05"}


async def test_processes_are_told_to_stop_and_waited_for(tmp_path: Path) -> None:
    program = Program(tmp_path, WAITS)
    async with supervised(program, 3) as (stop, _, task):
        await program.started(3)
        stop.set()
        assert await asyncio.wait_for(task, 5) == 0
    assert len(program.starts()) == 3


@pytest.mark.parametrize("hurry", [True, False])
async def test_who_does_not_stop_is_killed_at_the_second_signal_or_at_the_limit(tmp_path: Path, hurry: bool) -> None:
    program = Program(tmp_path, DEAF)
    async with supervised(program, 2, grace=60.0 if hurry else 0.3) as (stop, at_once, task):
        await program.started(2)
        await asyncio.sleep(0.2)
        stop.set()
        await asyncio.sleep(0.1)
        assert not task.done()
        if hurry:
            at_once.set()
        assert await asyncio.wait_for(task, 5) == 1


async def test_new_processes_of_which_one_cannot_serve_do_not_begin(tmp_path: Path) -> None:
    supervisor = Supervisor(Program(tmp_path, "sys.exit(3)").command, [], 2, 10.0, PAUSES)
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop, asyncio.Event()))
    with pytest.raises(PetitbleuError, match=r"^a new process cannot serve: it ended with code 3, see the log$"):
        await supervisor.ready()
    stop.set()
    await running
