"""A server in the foreground: alone, or one of a supervisor's processes."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from ..errors import PetitbleuError
from ..instance import Instance, Source
from ..store import Store
from .app import Server, running
from .chores import Role
from .generations import Generations, Gone, Serving, in_words
from .intercom import Intercom
from .listening import inherited
from .supervisor import stop_signals

logger = logging.getLogger("petitbleu.server")

GC_THRESHOLD = (50_000, 20, 50)
"""Fewer collections than Python's own: nearly nothing of an event is in a cycle."""


class Here:
    """Implements `generations.Generation` in this process."""

    def __init__(self, role: Role) -> None:
        loop = asyncio.get_running_loop()
        self._role = role
        self._ready: asyncio.Future[Instance] = loop.create_future()
        self._may_go = asyncio.Event()
        self._served: asyncio.Future[Server] = loop.create_future()
        self._ending = asyncio.Event()
        self._life: asyncio.Task[None]

    @classmethod
    async def begin(
        cls,
        source: Source,
        overrides: Sequence[str],
        role: Role,
        sockets: Sequence[socket.socket] = (),
        label: bool = False,
    ) -> Here:
        """Raises what keeps it from being ready; the sockets are closed then."""
        made = cls(role)
        made._life = asyncio.create_task(made._live(source, overrides, sockets, label))
        try:
            await made._until(made._ready)
        except asyncio.CancelledError:
            made._life.cancel()
            await asyncio.wait((made._life,))
            raise
        return made

    @property
    def instance(self) -> Instance:
        return self._ready.result()

    @property
    def serving(self) -> Serving:
        return Serving(self.instance.config, self.instance.channels)

    @property
    def store(self) -> Store:
        return self.instance.store

    @property
    def sockets(self) -> Sequence[socket.socket]:
        return self._served.result().sockets

    async def go(self) -> None:
        self._may_go.set()
        await self._until(self._served)
        server = self._served.result()
        loaded, incarnation = server.instance.loaded, server.instance.queue.incarnation
        # what is there by now stays; the many short-lived objects of events are freed without a collector
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        for deprecation in loaded.deprecations:
            logger.warning("%s", deprecation, extra={"plugin": deprecation.plugin})
        plugins = [plugin.name for plugin in loaded.plugins]
        said = {"url": server.url, "role": self._role, "incarnation": incarnation, "plugins": plugins}
        logger.info("serving", extra=said)

    async def retire(self, gone: Gone) -> None:
        await self.instance.intake.retire(gone.types, gone.channels)

    async def end(self) -> None:
        if self._served.done():
            self._ending.set()
        else:
            self._life.cancel()
        await asyncio.wait((self._life,))
        if not self._life.cancelled():
            self._life.result()

    async def _live(
        self, source: Source, overrides: Sequence[str], sockets: Sequence[socket.socket], label: bool
    ) -> None:
        try:
            async with running(
                source, overrides, role=self._role, sockets=sockets, label=label, prepared=self._prepared
            ) as server:
                self._served.set_result(server)
                await self._ending.wait()
        finally:
            for one in sockets:
                one.close()

    async def _prepared(self, instance: Instance) -> None:
        self._ready.set_result(instance)
        await self._may_go.wait()

    async def _until(self, step: asyncio.Future[Instance] | asyncio.Future[Server]) -> None:
        either: list[asyncio.Future[object]] = [self._life, step]  # type: ignore[list-item]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not step.done():
            await self._life
            raise PetitbleuError("the server ended before it served")


async def serve(directory: Path | None, overrides: Sequence[str], role: Role = "all") -> None:
    """Run until SIGTERM or SIGINT; a second one ends the process at once, as safely as a crash. SIGHUP reloads."""
    stop, at_once = stop_signals()
    hurry = asyncio.create_task(_leave_on(at_once))
    generations = Generations(
        directory,
        overrides,
        lambda raw, sockets: Here.begin(raw, (), role, sockets),
        await Here.begin(directory, overrides, role),
    )
    await generations.run(stop)
    hurry.cancel()
    _end_anyway(generations.current)


async def serve_as_told(role: Role, descriptors: Sequence[int]) -> None:
    """Run as one of a supervisor's processes, on the sockets that it hands down. It has the configuration, says when to
    begin to serve, and decides on haste; its end is a signal to stop."""
    stop, _ = stop_signals()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)  # it reloads, by starting others
    intercom = await Intercom.over(_standard_input())
    sockets = inherited(descriptors)
    configuration = await intercom.hear()
    if not configuration:
        return
    try:
        here = await Here.begin(pickle.loads(base64.b64decode(configuration[1])), (), role, sockets, label=True)  # noqa: S301 - of our parent
    except Exception as error:
        intercom.say("failed", in_words(error))
        await intercom.close()
        raise
    obeying = asyncio.create_task(_obey(here, intercom))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((obeying, stopping), return_when=asyncio.FIRST_COMPLETED)
    logger.info("stopping")
    obeying.cancel()
    stopping.cancel()
    (failure, _) = await asyncio.gather(obeying, stopping, return_exceptions=True)
    await here.end()
    if isinstance(failure, Exception):
        raise failure
    _end_anyway(here)


async def _obey(here: Here, intercom: Intercom) -> None:
    """Until the supervisor is gone."""
    intercom.say("ready")
    while order := await intercom.hear():
        match order:
            case ["go"]:
                await here.go()
                intercom.say("serving")
            case ["retire", types, channels]:
                await here.retire(Gone(frozenset(types), frozenset(channels)))
                intercom.say("retired")


def _standard_input() -> socket.socket:
    """The socket that it is; what plugins start shall not have it."""
    one = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return one


def _end_anyway(here: Here) -> None:
    """End this process if it does not end by itself, since all is in order: a task that ignores being cancelled, or a
    thread, would keep it for ever."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        threads = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
        tasks = [str(getattr(one.get_coro(), "__qualname__", "?")) for one in asyncio.all_tasks(loop)]
        text = "something keeps the process from ending; it ends all the same"
        logger.warning(text, extra={"threads": threads, "tasks": tasks})
        for handler in logging.getLogger().handlers:
            handler.close()
        os._exit(0)

    timer = threading.Timer(here.serving.config.delivery.hook_deadline, end)
    timer.daemon = True
    timer.start()


async def _leave_on(at_once: asyncio.Event) -> None:
    await at_once.wait()
    logger.warning("stopping at once")
    os._exit(1)
