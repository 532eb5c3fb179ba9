"""Several processes behind one port: started afresh, restarted when they crash, stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .instance import open_instance
from .listening import listen, url

logger = logging.getLogger("petitbleu.server")


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds before a process that ended is started again: `first`, doubling up to `longest`; back to `first` after
    `healthy` seconds of life or an end in order."""

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 60.0


class Supervisor:
    """Keeps `processes` running `command`, which inherits `sockets`. To end they may take `grace` seconds."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        processes: int,
        grace: float,
        pauses: Pauses = Pauses(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = command
        self._sockets = sockets
        self._processes = processes
        self._grace = grace
        self._pauses = pauses
        self._clock = clock
        self._running: dict[int, Process] = {}

    async def run(self, stop: asyncio.Event, at_once: asyncio.Event) -> int:
        """Until `stop` is set and every process has ended; `at_once` kills them. Gives the exit code: 0 if all of them
        ended in order."""
        keepers = [asyncio.create_task(self._keep(number, stop)) for number in range(1, self._processes + 1)]
        await stop.wait()
        for one in self._sockets:
            one.close()
        self._send(signal.SIGTERM)
        hurry = asyncio.create_task(at_once.wait())
        ended = asyncio.gather(*keepers)
        either: list[asyncio.Future[Any]] = [hurry, ended]
        await asyncio.wait(either, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not ended.done():
            logger.warning("stopping at once" if at_once.is_set() else f"not stopped after {self._grace:g} s; killing")
            self._send(signal.SIGKILL)
        return 0 if all(await ended) else 1

    async def _keep(self, number: int, stop: asyncio.Event) -> bool:
        """Whether the last process ended in order."""
        pause = self._pauses.first
        while not stop.is_set():
            began = self._clock()
            code = await self._life(number, stop)
            if stop.is_set():
                # SIGTERM that came before the handler was there has nothing to drain
                return code in (0, -signal.SIGTERM)
            if code == 0 or self._clock() - began >= self._pauses.healthy:
                pause = self._pauses.first
            logger.warning("starting process %d again in %g s", number, pause)
            await wait(stop, pause)
            pause = min(2 * pause, self._pauses.longest)
        return True

    async def _life(self, number: int, stop: asyncio.Event) -> int:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,  # closes when we are gone, however we end
                pass_fds=[one.fileno() for one in self._sockets],
                process_group=0,  # Ctrl-C in a terminal reaches us only
            )
        except OSError as error:
            logger.error("process %d cannot be started: %s", number, error)
            return 1
        logger.info("process started", extra={"number": number, "pid": process.pid})
        self._running[number] = process
        if stop.is_set():
            self._send(signal.SIGTERM)
        code = await process.wait()
        del self._running[number]
        level = logging.INFO if code == 0 else logging.WARNING
        logger.log(level, "process ended", extra={"number": number, "pid": process.pid, "code": code})
        return code

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


async def wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def stop_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first SIGTERM or SIGINT, and by the second."""
    first, second = asyncio.Event(), asyncio.Event()

    def heard() -> None:
        (second if first.is_set() else first).set()

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, heard)
    return first, second


async def supervise(directory: Path | None, overrides: Sequence[str], role: str, processes: int) -> int:
    """Prepare the database, open the port, keep `processes` servers running until a signal; gives the exit code."""
    stop, at_once = stop_signals()
    async with open_instance(directory, overrides) as instance:
        config = instance.config
    sockets = listen(config.http.host, config.http.port)
    address = url(sockets[0])
    command = [sys.executable, "-m", "petitbleu", "serve", "--role", role]
    command += ["--config", str(config.directory)]
    command += [f"--set={override}" for override in overrides]
    command += [f"--inherit={one.fileno()}" for one in sockets]
    # open requests, then work handed off, then the plugins' own endings
    grace = config.http.shutdown + config.delivery.drain + config.delivery.hook_deadline
    supervisor = Supervisor(command, sockets, processes, grace)
    logger.info("supervising", extra={"url": address, "processes": processes, "role": role})
    code = await supervisor.run(stop, at_once)
    logger.info("stopped", extra={"code": code})
    return code
