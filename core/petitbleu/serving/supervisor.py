"""Several processes behind one port: started afresh, restarted when they crash, stopped together."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import pickle
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import RawConfig, find_config, read_config
from ..errors import PetitbleuError
from ..instance import open_instance, plan
from ..store import Store, open_store
from .generations import Generations, Gone, Serving
from .intercom import Intercom
from .listening import listen, url

logger = logging.getLogger("petitbleu.server")


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds before a process that ended is started again: `first`, doubling up to `longest`; back to `first` after
    `healthy` seconds of life or an end in order. A process may take `patience` until it does what it is told."""

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 60.0
    patience: float = 60.0


@dataclass(slots=True)
class _Child:
    process: Process
    intercom: Intercom
    said: set[str] = field(default_factory=set)

    @property
    def to_retire(self) -> bool:
        """Whether it takes events, and may take some of those that it was told not to."""
        return "ready" in self.said and "retired" not in self.said


class Supervisor:
    """Keeps `processes` running `command`, which inherits `sockets` and is told its `configuration`. To end they may
    take `grace` seconds.

    A process says that it is `ready`; it begins to serve when it is told to.
    """

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        processes: int,
        grace: float,
        pauses: Pauses = Pauses(),
        clock: Callable[[], float] = time.monotonic,
        configuration: str = "",
    ) -> None:
        self._command = command
        self._sockets = sockets
        self._processes = processes
        self._grace = grace
        self._configuration = configuration
        self._pauses = pauses
        self._clock = clock
        self._running: dict[int, _Child] = {}
        self._may_go = False
        self._gone = Gone()
        self._failure = ""
        """Why the first process that ended did."""
        self._news = asyncio.Condition()

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

    async def ready(self) -> None:
        """Wait until all are; `PetitbleuError` if one ends or does not come so far."""
        if not await self._until(lambda: bool(self._failure) or self._all_said("ready")):
            self._failure = f"it is not ready after {self._pauses.patience:g} s"
        if self._failure:
            raise PetitbleuError(f"a new process cannot serve: {self._failure}")

    def go(self) -> None:
        """All that are ready, and all that come to be, shall serve."""
        self._may_go = True
        for child in self._running.values():
            if "ready" in child.said:
                child.intercom.say("go")

    async def serving(self) -> None:
        """Wait until all do, or one cannot."""
        await self._until(lambda: bool(self._failure) or self._all_said("serving"))

    async def retire(self, gone: Gone) -> None:
        """No process takes any more events for these; see `generations.Generation`."""
        self._gone = gone
        for child in self._running.values():
            child.said.discard("retired")
            if "ready" in child.said:
                self._tell_gone(child)
        children = self._running
        if not await self._until(
            lambda: all("retired" in one.said for one in children.values() if "ready" in one.said)
        ):
            raise PetitbleuError(f"a process that serves has not answered for {self._pauses.patience:g} s")

    def _tell_gone(self, child: _Child) -> None:
        child.intercom.say("retire", sorted(self._gone.types), sorted(self._gone.channels))

    def _all_said(self, word: str) -> bool:
        return len(self._running) == self._processes and all(word in child.said for child in self._running.values())

    async def _until(self, holds: Callable[[], bool]) -> bool:
        """Whether it came to hold in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pauses.patience), self._news:
                await self._news.wait_for(holds)
        return holds()

    async def _listen(self, child: _Child) -> None:
        while heard := await child.intercom.hear():
            child.said.add(heard[0])
            match heard:
                case ["ready"]:
                    self._tell_gone(child)
                    if self._may_go:
                        child.intercom.say("go")
                case ["failed", reason]:
                    self._failure = self._failure or reason
            async with self._news:
                self._news.notify_all()

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
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=theirs.fileno(),  # ends when we are gone, however we end
                pass_fds=[one.fileno() for one in self._sockets],
                process_group=0,  # Ctrl-C in a terminal reaches us only
            )
        except OSError as error:
            logger.error("process %d cannot be started: %s", number, error)
            ours.close()
            return 1
        finally:
            theirs.close()
        logger.info("process started", extra={"number": number, "pid": process.pid})
        child = self._running[number] = _Child(process, await Intercom.over(ours))
        child.intercom.say("configuration", self._configuration)
        listening = asyncio.create_task(self._listen(child))
        if stop.is_set():
            self._send(signal.SIGTERM)
        code = await process.wait()
        # what it said last
        await asyncio.wait((listening,), timeout=1.0)
        listening.cancel()
        await child.intercom.close()
        del self._running[number]
        self._failure = self._failure or f"it ended with code {code}, see the log"
        async with self._news:
            self._news.notify_all()
        level = logging.INFO if code == 0 else logging.WARNING
        logger.log(level, "process ended", extra={"number": number, "pid": process.pid, "code": code})
        return code

    def _send(self, number: signal.Signals) -> None:
        for child in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(number)


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


class Processes:
    """Implements `generations.Generation` by a supervisor."""

    def __init__(
        self,
        supervisor: Supervisor,
        serving: Serving,
        store: Store,
        sockets: Sequence[socket.socket],
        at_once: asyncio.Event,
    ) -> None:
        self.serving = serving
        self.store = store
        self.sockets = sockets
        self.code = 1
        self._supervisor = supervisor
        self._stop = asyncio.Event()
        self._run = asyncio.create_task(supervisor.run(self._stop, at_once))
        self._all_at_once = False

    async def ready(self) -> None:
        """Have all processes begin together, or none of them; else each serves as soon as it can."""
        self._all_at_once = True
        try:
            await self._supervisor.ready()
        except BaseException:
            await self.end()
            raise

    async def go(self) -> None:
        self._supervisor.go()
        if self._all_at_once:
            await self._supervisor.serving()

    async def retire(self, gone: Gone) -> None:
        await self._supervisor.retire(gone)

    async def end(self) -> None:
        self._stop.set()
        self.code = await self._run


async def supervise(directory: Path | None, overrides: Sequence[str], role: str, processes: int) -> int:
    """Prepare the database, open the port, keep `processes` servers running until a signal; gives the exit code. SIGHUP
    reloads."""
    stop, at_once = stop_signals()
    raw = read_config(find_config(directory), overrides)
    async with open_instance(raw, ()) as instance:
        config, channels = instance.config, [*instance.channels]
    async with open_store(config.database_url()) as store:

        def begun(raw: RawConfig, serving: Serving, sockets: Sequence[socket.socket]) -> Processes:
            command = [sys.executable, "-m", "petitbleu", "serve", "--role", role]
            command += [f"--inherit={one.fileno()}" for one in sockets]
            http, delivery = serving.config.http, serving.config.delivery
            # connections that callers keep, open requests, then work handed off, then the plugins' own endings
            grace = http.farewell + http.shutdown + delivery.drain + delivery.hook_deadline
            told = base64.b64encode(pickle.dumps(raw)).decode()
            supervisor = Supervisor(command, sockets, processes, grace, configuration=told)
            return Processes(supervisor, serving, store, sockets, at_once)

        async def begin(raw: RawConfig, sockets: Sequence[socket.socket]) -> Processes:
            planned = plan(raw, ())
            new = begun(raw, Serving(planned.config, [*planned.channels]), sockets)
            await new.ready()
            return new

        sockets = listen(config.http.host, config.http.port)
        logger.info("supervising", extra={"url": url(sockets[0]), "processes": processes, "role": role})
        generations = Generations(directory, overrides, begin, begun(raw, Serving(config, channels), sockets))
        await generations.run(stop)
    logger.info("stopped", extra={"code": generations.current.code})
    return generations.current.code
