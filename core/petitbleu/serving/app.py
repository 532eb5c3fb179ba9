"""The server: an open instance with its HTTP routes and its worker."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from .. import __version__
from ..hosting.claims import add_routes
from ..hosting.plugins import CORE
from ..instance import Instance, Plan, Source, Surroundings, assemble, open_instance
from ..store import open_store
from .chores import Role, begin, chores, warm
from .http import KEPT, health_routes, measured, plain_errors, quiet, trusted_proxies
from .listening import BACKLOG, listen, url
from .scrape import Scrape

logger = logging.getLogger("petitbleu.server")

ALWAYS = frozenset(("/healthz", "/readyz", "/metrics"))
"""Answered however busy the server is."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url` is where it listens."""

    instance: Instance
    url: str
    sockets: Sequence[socket.socket] = ()


def build_app(
    instance: Instance, role: Role = "all", process: str = "", leaving: asyncio.Event | None = None
) -> web.Application:
    """Every route of the core and of the plugins; the role `worker` has the core's health pages only.

    `process` names this one among several behind one port; from `leaving` on, connections end with their next answer.
    Two claims on one method and path, or a route that cannot be one, raise `PluginError`.
    """
    calls, services, config = instance.calls, instance.services, instance.config
    app = web.Application(
        middlewares=[
            measured(
                instance.metrics,
                config.http.requests,
                ALWAYS,
                leaving or asyncio.Event(),
                1 / KEPT if process else 0.0,
            ),
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
        instance.waiting,
        instance.alerting,
        __version__,
        limits,
        config.limits.deadline,
        instance.store.now,
        process,
    )


@asynccontextmanager
async def running(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    role: Role = "all",
    sockets: Sequence[socket.socket] = (),
    label: bool = False,
    prepared: Callable[[Instance], Awaitable[None]] | None = None,
    surroundings: Surroundings | None = None,
) -> AsyncIterator[Server]:
    """Listen and work; on leaving, stop taking requests, finish what is handed off and give back the rest.

    `sockets` are those to accept on, if somebody else has opened them; with `label` this is one of several processes
    behind them, and its metrics say which. `prepared` is awaited when all is open and nothing is taken or delivered.
    """
    async with (
        open_instance(
            source,
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
        quiet()
        runner = web.AppRunner(
            build_app(instance, role, instance.queue.incarnation if label else "", stop),
            access_log=None,
            shutdown_timeout=http.shutdown,
            handle_signals=False,
        )
        await runner.setup()
        await warm(instance)
        if prepared is not None:
            try:
                await prepared(instance)
            except BaseException:
                await instance.gate.close()
                await runner.cleanup()
                raise
        background = begin(chores(instance, role))
        worker = asyncio.create_task(instance.worker.run(stop)) if role != "intake" else None
        try:
            opened = sockets or listen(http.host, http.port)
            for one in opened:
                await web.SockSite(runner, one, backlog=BACKLOG).start()
            instance.gate.open()
            yield Server(instance, url(opened[0]), tuple(opened))
        finally:
            stop.set()
            await instance.gate.close()
            await _part(runner, http.farewell)
            instance.watch.draining = True
            await runner.cleanup()
            if worker is not None:
                await worker
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await instance.intake.settle()


async def _part(runner: web.AppRunner, seconds: float) -> None:
    """Take no more connections, and let callers end those that they keep: a request that is on its way to one when it
    is closed would be refused."""
    for site in list(runner.sites):
        await site.stop()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while runner.server is not None and runner.server.connections and loop.time() < end:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
