"""`/metrics` in the Prometheus text format: what was counted, and what is so now.

A scrape reads the queue over a connection of its own, at most once a second and for at most a twentieth of the time,
and is answered without the queue's metrics when the database does not answer.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from .. import logs
from ..alerts import thresholds
from ..alerts.alerting import Alerting
from ..horizon import Horizon, HorizonWatch
from ..hosting.calls import Calls
from ..hosting.offspring import Offspring
from ..outbox.waiting import Waiting
from ..queue.depth import Backlog
from ..queue.queue import WorkQueue
from ..retention import Purge
from ..throttle import Throttle
from ..types import Check

logger = logging.getLogger("petitbleu.http")

FRESH = 1.0
"""Seconds for which what was read is good enough."""
MOST_SHARE = 20
"""What took a second to read is good for so many seconds."""
_EVERYWHERE = {
    "petitbleu_queue_events",
    "petitbleu_queue_oldest_due_seconds",
    "petitbleu_queue_dead_rows",
    "petitbleu_database_up",
    "petitbleu_database_horizon_seconds",
    "petitbleu_purge_age_seconds",
    "petitbleu_limit",
    "petitbleu_outbox_waiting",
    "petitbleu_outbox_oldest_seconds",
    "petitbleu_outbox_failures",
    "petitbleu_outbox_ended",
    "petitbleu_alert_level",
    "petitbleu_alert_value",
    "petitbleu_watchdog_age_seconds",
    "petitbleu_watchdog_seconds",
}
"""What is the same in every process of an installation."""


@dataclass(slots=True)
class Database:
    """What one look at the database found; `horizon` is None where there is none."""

    backlog: Sequence[Backlog] = ()
    horizon: Horizon | None = None
    purge_age: float = 0.0


@dataclass(slots=True)
class Reading:
    """What was read for the scrapes of the next moments."""

    until: float = 0.0
    database: Database | None = None
    """None: the database did not answer."""
    checks: Mapping[str, Sequence[Check]] = field(default_factory=dict)


class Scrape(Collector):
    """Answers scrapes of `registry`. `limits` are told as they are configured, `deadline` is in seconds,
    `now` gives microseconds.

    `process` becomes a label of what is this process's own, for when scrapes reach one of several by chance.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        queue: WorkQueue,
        calls: Calls,
        offspring: Offspring,
        throttle: Throttle,
        horizon: HorizonWatch,
        purge: Purge,
        waiting: Waiting,
        alerting: Alerting,
        version: str,
        limits: Mapping[str, float],
        deadline: float,
        now: Callable[[], int],
        process: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._queue = queue
        self._calls = calls
        self._offspring = offspring
        self._throttle = throttle
        self._horizon = horizon
        self._purge = purge
        self._waiting = waiting
        self._alerting = alerting
        self._version = version
        self._limits = limits
        self._deadline = deadline
        self._now = now
        self._process = process
        self._clock = clock
        self._reading = Reading()
        self._lock = asyncio.Lock()
        ProcessCollector(registry=registry)
        registry.register(self)

    def route(self) -> web.RouteDef:
        return web.get("/metrics", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        async with self._lock:
            if self._clock() >= self._reading.until:
                await self._read()
        encode, content_type = choose_encoder(", ".join(request.headers.getall("Accept", [])))
        return web.Response(
            body=encode(_Exposed(self._registry, self._process)), headers={"Content-Type": content_type}
        )

    async def _read(self) -> None:
        started = self._clock()
        database, checks = await asyncio.gather(self._database(), self._checks())
        ended = self._clock()
        self._reading = Reading(ended + max(FRESH, MOST_SHARE * (ended - started)), database, checks)

    async def _database(self) -> Database | None:
        try:
            async with asyncio.timeout(self._deadline), self._queue.apart() as connection:
                backlog = await self._queue.depth.backlog(connection)
                return Database(backlog, await self._horizon.read(connection), await self._purge.age(connection))
        except Exception as error:
            logger.warning("the database cannot be measured: %s: %s", type(error).__name__, error)
            return None

    async def _checks(self) -> Mapping[str, Sequence[Check]]:
        return await self._calls.health(self._deadline)

    # ------------------------------------------------------------------------------------------------ Collector's part

    def describe(self) -> Iterable[Metric]:
        return list(self._families(Reading()))

    def collect(self) -> Iterable[Metric]:
        return list(self._families(self._reading))

    def _families(self, reading: Reading) -> Iterable[Metric]:
        found = reading.database or Database()
        build = GaugeMetricFamily("petitbleu_build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([self._version, platform.python_version()], 1)
        limits = GaugeMetricFamily("petitbleu_limit", "Limits of the configuration.", labels=["limit"])
        for name, value in self._limits.items():
            limits.add_metric([name], value)
        database = GaugeMetricFamily("petitbleu_database_up", "Whether the database answered this scrape.")
        database.add_metric([], reading.database is not None)
        depth = GaugeMetricFamily("petitbleu_queue_events", "Open events in the database.", labels=["queue", "state"])
        age = GaugeMetricFamily(
            "petitbleu_queue_oldest_due_seconds",
            "How long the open event that is due the longest has been due.",
            labels=["queue", "state"],
        )
        for one in found.backlog:
            depth.add_metric([one.queue, one.state], one.events)
            age.add_metric([one.queue, one.state], one.oldest_due)
        horizon = GaugeMetricFamily(
            "petitbleu_database_horizon_seconds", "How long somebody has kept dead rows from being cleared away."
        )
        dead = GaugeMetricFamily("petitbleu_queue_dead_rows", "Dead rows of the queue, as the database estimates them.")
        if found.horizon is not None:
            horizon.add_metric([], found.horizon.seconds)
            dead.add_metric([], found.horizon.dead_rows)
        purge = GaugeMetricFamily("petitbleu_purge_age_seconds", "Since all that was over was last deleted.")
        if reading.database is not None:
            purge.add_metric([], found.purge_age)
        checks = GaugeMetricFamily("petitbleu_check_ok", "Health checks of plugins.", labels=["plugin", "check"])
        for plugin, group in reading.checks.items():
            for check in group:
                checks.add_metric([plugin, check.name], check.ok)
        failures = CounterMetricFamily("petitbleu_hook_failures", "Hooks that failed.", labels=["plugin", "hook"])
        for labels, number in self._calls.conduct.failures.items():
            failures.add_metric(labels, number)
        left = CounterMetricFamily(
            "petitbleu_hooks_left", "Calls of hooks that went on though they were cancelled.", labels=["plugin", "hook"]
        )
        for labels, number in self._calls.conduct.left.items():
            left.add_metric(labels, number)
        dropped = CounterMetricFamily("petitbleu_log_lines_dropped", "Log lines that nobody took in time.")
        dropped.add_metric([], logs.dropped())
        unheard = CounterMetricFamily(
            "petitbleu_news_missed", "News that a plugin was not told.", labels=["plugin", "hook"]
        )
        for labels, number in self._calls.conduct.unheard.items():
            unheard.add_metric(labels, number)
        stood = CounterMetricFamily(
            "petitbleu_loop_blocked_seconds",
            "For how long a plugin kept the process from all other work.",
            labels=["plugin", "hook"],
        )
        for labels, seconds in self._calls.conduct.stood.items():
            stood.add_metric(labels, seconds)
        tasks = GaugeMetricFamily("petitbleu_plugin_tasks", "Living tasks that a plugin made.", labels=["plugin"])
        for plugin, number in self._offspring.living().items():
            tasks.add_metric([plugin], number)
        plugins = (checks, failures, left, unheard, stood, tasks)
        read = (build, limits, database, depth, age, horizon, dead, purge)
        return *read, *plugins, dropped, *self._providers(), *self._outbox(), *self._alerts()

    def _outbox(self) -> Iterable[Metric]:
        labels = ["subscription"]
        waiting = GaugeMetricFamily("petitbleu_outbox_waiting", "Notices that were not told yet.", labels=labels)
        oldest = GaugeMetricFamily(
            "petitbleu_outbox_oldest_seconds", "How long one of them has waited at most.", labels=labels
        )
        failures = GaugeMetricFamily("petitbleu_outbox_failures", "Tries that failed in a row.", labels=labels)
        ended = GaugeMetricFamily("petitbleu_outbox_ended", "Whether the receiver wants nothing more.", labels=labels)
        for name, one in self._waiting.standings.items():
            waiting.add_metric([name], one.waiting)
            oldest.add_metric([name], one.oldest)
            failures.add_metric([name], one.failures)
            ended.add_metric([name], one.ended)
        return waiting, oldest, failures, ended

    def _alerts(self) -> Iterable[Metric]:
        level = GaugeMetricFamily(
            "petitbleu_alert_level", "0 well, 1 a warning, 2 an alert; see the section alerts.", labels=["alert"]
        )
        value = GaugeMetricFamily("petitbleu_alert_value", "What its thresholds are for.", labels=["alert"])
        for one in self._alerting.known():
            level.add_metric([one.name], thresholds.LEVELS.index(one.level))
            if one.value is not None:
                value.add_metric([one.name], one.value)
        age = GaugeMetricFamily(
            "petitbleu_watchdog_age_seconds", "Since the last watchdog event was pushed that was sent."
        )
        took = GaugeMetricFamily("petitbleu_watchdog_seconds", "From its being pushed to its being sent.")
        if (beat := self._alerting.beat) is not None:
            age.add_metric([], beat.age(self._now()))
            if beat.took is not None:
                took.add_metric([], beat.took)
        return level, value, age, took

    def _providers(self) -> Iterable[Metric]:
        labels = ["channel", "provider"]
        paused = GaugeMetricFamily("petitbleu_provider_paused", "Whether a provider is left alone.", labels=labels)
        window = GaugeMetricFamily("petitbleu_provider_window", "Messages it may have at once.", labels=labels)
        in_use = GaugeMetricFamily("petitbleu_provider_in_use", "Messages it has.", labels=labels)
        waiting = GaugeMetricFamily("petitbleu_provider_waiting", "Messages that wait for it.", labels=labels)
        destinations = GaugeMetricFamily(
            "petitbleu_provider_destinations_paused", "Destinations that are left alone.", labels=labels
        )
        limit = GaugeMetricFamily(
            "petitbleu_provider_limit", "Limits of the configuration.", labels=[*labels, "destination", "limit"]
        )
        for one in self._throttle.states():
            name = [one.channel, one.provider]
            paused.add_metric(name, one.paused is not None)
            window.add_metric(name, one.window)
            in_use.add_metric(name, one.in_use)
            waiting.add_metric(name, one.waiting)
            destinations.add_metric(name, one.destinations)
            for destination, limits in {"": one.limits.whole, **one.limits.destinations}.items():
                for kind, value in (("rate", limits.rate), ("concurrency", limits.concurrency)):
                    if value is not None:
                        limit.add_metric([*name, destination, kind], value)
        return paused, window, in_use, waiting, destinations, limit


class _Exposed(Collector):
    """A registry without the time each series began, which the library adds as a series of its own."""

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        self._registry = registry
        self._process = process

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            more = {"process": self._process} if self._process and family.name not in _EVERYWHERE else {}
            family.samples = [
                one._replace(labels={**one.labels, **more})
                for one in family.samples
                if not one.name.endswith("_created")
            ]
            yield family


__all__ = ["Scrape"]
