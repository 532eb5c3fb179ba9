"""The server: an open instance with its HTTP routes and its worker."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from . import __version__
from .claims import add_routes
from .errors import TemplateError
from .http import health_routes, measured, plain_errors, trusted_proxies
from .instance import Instance, Plan, Surroundings, assemble, open_instance
from .listening import BACKLOG, inherited, listen, url
from .plugins import CORE
from .scrape import Scrape
from .store import open_store
from .supervisor import stop_signals

logger = logging.getLogger("petitbleu.server")

GC_THRESHOLD = (50_000, 20, 50)
"""Fewer collections than Python's own: nearly nothing of an event is in a cycle."""

ALWAYS = frozenset(("/healthz", "/readyz", "/metrics"))
"""Answered however busy the server is."""

Role = Literal["all", "intake", "worker"]
"""`intake` takes requests and never claims; `worker` delivers and answers the health pages only."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url` is where it listens."""

    instance: Instance
    url: str


def build_app(instance: Instance, role: Role = "all", process: str = "") -> web.Application:
    """Every route of the core and of the plugins; the role `worker` has the core's health pages only.

    `process` names this one among several behind one port. Two claims on one method and path, or a route that cannot be
    one, raise `PluginError`.
    """
    calls, services, config = instance.calls, instance.services, instance.config
    app = web.Application(
        middlewares=[
            measured(instance.metrics, config.http.requests, ALWAYS),
            trusted_proxies(config.instance.trusted_proxies),
            plain_errors,
        ],
        client_max_size=config.http.body_limit,
    )

    core = (*health_routes(instance.watch.look), _scrape(instance, process).route())
    routes = [(CORE, route) for route in core]
    if role != "worker":
        accept = instance.metrics.measured(instance.intake)
        routes += [*calls.intake_routes(accept, services), *calls.routes(services)]
    add_routes(app, routes, instance.loaded)
    return app


async def check_routes(planned: Plan) -> None:
    """Make every route as the server would, over a database in memory that nobody asks. Raises `PluginError`."""
    async with open_store("sqlite://:memory:") as store:
        build_app(assemble(planned, store))


def _scrape(instance: Instance, process: str) -> Scrape:
    config = instance.config
    metrics, queue, calls = instance.metrics.registry, instance.queue, instance.calls
    limits = config.bounds()
    return Scrape(
        metrics,
        queue,
        calls,
        instance.offspring,
        instance.throttle,
        instance.horizon,
        instance.purge,
        instance.telling,
        instance.alerting,
        __version__,
        limits,
        config.limits.deadline,
        instance.store.now,
        process,
    )


@asynccontextmanager
async def running(
    directory: Path | None,
    overrides: Sequence[str],
    *,
    role: Role = "all",
    sockets: Sequence[socket.socket] = (),
    surroundings: Surroundings | None = None,
) -> AsyncIterator[Server]:
    """Listen and work; on leaving, stop taking requests, finish what is handed off and give back the rest.

    `sockets` are those to accept on, if a parent process has opened them.
    """
    async with (
        open_instance(
            directory,
            overrides,
            plugins_running=True,
            delivers=role != "intake",
            takes=role != "worker",
            surroundings=surroundings,
        ) as instance,
        instance.throttle.exchange.running(),
    ):
        http = instance.config.http
        stop = asyncio.Event()
        runner = web.AppRunner(
            build_app(instance, role, instance.queue.incarnation if sockets else ""),
            access_log=None,
            shutdown_timeout=http.shutdown,
            handle_signals=False,
        )
        await runner.setup()
        await _warm(instance)
        chores = [_follow_templates(instance), _compare_clocks(instance), instance.purge.watch()]
        chores.append(instance.telling.watch())
        chores.append(instance.rollup.watch())
        chores.append(instance.alerting.watch())
        if role != "worker" and instance.watchdog is not None:
            chores.append(instance.watchdog.watch(instance.gate))
        if role != "intake":
            chores.append(instance.telling.run())
            chores.append(instance.receipts.run(instance.config.delivery.poll, instance.decisions.decide))
        if instance.wakeup is not None:
            instance.queue.announce = instance.wakeup.announce
            chores.append(instance.wakeup.run(instance.queue.look_again if role != "intake" else None))
        background = [asyncio.create_task(one) for one in chores]
        worker = asyncio.create_task(instance.worker.run(stop)) if role != "intake" else None
        try:
            opened = sockets or listen(http.host, http.port)
            for one in opened:
                await web.SockSite(runner, one, backlog=BACKLOG).start()
            yield Server(instance, url(opened[0]))
        finally:
            instance.watch.draining = True
            stop.set()
            await instance.gate.close()
            await runner.cleanup()
            if worker is not None:
                await worker
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await instance.intake.settle()


async def _follow_templates(instance: Instance) -> None:
    """Notice within a second what another process publishes."""
    while True:
        await asyncio.sleep(1.0)
        try:
            await instance.templates.refresh()
            await _warm(instance)
        except Exception as error:
            logger.warning("publications cannot be read: %s", error)


async def _warm(instance: Instance) -> None:
    try:
        await instance.templates.warm()
    except TemplateError as error:
        logger.warning("a published template cannot be used: %s", error)


async def _compare_clocks(instance: Instance) -> None:
    while True:
        await asyncio.sleep(60.0)
        try:
            await instance.store.compare_clocks()
        except Exception as error:
            logger.warning("the database's clock cannot be read: %s", error)


async def serve(
    directory: Path | None, overrides: Sequence[str], role: Role = "all", descriptors: Sequence[int] = ()
) -> None:
    """Run until SIGTERM or SIGINT; a second one ends the process at once, as safely as a crash.

    With `descriptors`, the sockets inherited from a supervisor, its end is a signal too, and it decides on haste.
    """
    stop, at_once = stop_signals()
    if descriptors:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _parent_gone, stop)
    hurry = None if descriptors else asyncio.create_task(_leave_on(at_once))
    async with running(directory, overrides, role=role, sockets=inherited(descriptors)) as server:
        plugins = [plugin.name for plugin in server.instance.loaded.plugins]
        process = server.instance.queue.incarnation
        # what is there by now stays; the many short-lived objects of events are freed without a collector
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        for deprecation in server.instance.loaded.deprecations:
            logger.warning("%s", deprecation, extra={"plugin": deprecation.plugin})
        logger.info("serving", extra={"url": server.url, "role": role, "incarnation": process, "plugins": plugins})
        with contextlib.suppress(asyncio.CancelledError):
            await stop.wait()
        logger.info("stopping")
    if hurry is not None:
        hurry.cancel()
    _end_anyway(server.instance.config.delivery.hook_deadline)


def _end_anyway(seconds: float) -> None:
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

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _parent_gone(stop: asyncio.Event) -> None:
    # nobody writes here: what there is to read is the end
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    stop.set()


async def _leave_on(at_once: asyncio.Event) -> None:
    await at_once.wait()
    logger.warning("stopping at once")
    os._exit(1)
