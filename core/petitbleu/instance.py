"""One installation put together: configuration, plugins, database, templates and the parts that join them.

`open_instance` is how every command starts; `serve` adds HTTP and the worker.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from . import alerts, desk
from .addresses import email_address, phone_number, registration_token
from .alerting import Alerting
from .answers import CoreAnswers, Rule, branded
from .archive import Archiver, Folder
from .archive import Terms as ArchiveTerms
from .auth import Authenticator, Tokens
from .calls import Calls
from .channels import EMAIL, MOBILE_PHONE, wishes
from .conduct import Conduct
from .config import (
    Config,
    RawConfig,
    build_config,
    check_catch_all,
    check_channels,
    check_deadlines,
    check_messages,
    find_config,
    read_config,
)
from .config.settings import ChannelSuppression, Thresholds, TypeRetention
from .contract import Contract
from .data import elements
from .deadlines import within
from .decisions import Decisions
from .delivery import Delivery
from .desk.listing import Sizes
from .encryption import check_keys
from .errors import ConfigError, ConfigProblem, EventsRefused
from .failover import Failover
from .failpoints import Failpoints, read_failpoints
from .health import Watch
from .horizon import HorizonWatch
from .intake import Gate, Intake, TypeRules
from .intake import Limits as IntakeLimits
from .lifecycle import statuses
from .masking import Masks, parsed
from .metrics import Metrics
from .notifying import Notifier, Recipients, content
from .offspring import Offspring
from .operating import Desk
from .operations import Operations
from .outbox import Outbox
from .owners import Owners
from .plugins import Loaded, load
from .queue import WorkQueue
from .receipts import Receipts
from .recycling import Recycling, RecyclingRule
from .rendered import Copies
from .rendering import Renderer, RenderLimits
from .reports import Reports
from .retention import Pace, Periods, Purge
from .rollup import Rollup
from .safemode import SafeMode
from .services import Accept, EventType, Services
from .shares import Shares
from .standstill import Standstill
from .status import Status
from .store import Store, open_store
from .store.epoch import guard
from .store.payload import decode
from .store.vault import Vault
from .suppression import Reason, Terms
from .suppression.guard import Suppressions
from .suppression.register import Register
from .tally import Tally
from .telling import Limits as TellingLimits
from .telling import Telling
from .templates import Drafts, Templates
from .throttle import Feedback, Limit, ProviderLimits, Shared, Throttle
from .types import Channel, Event, Queue, Retry
from .wakeup import Wakeup
from .watchdog import Watchdog
from .worker import Limits as WorkerLimits
from .worker import Worker

logger = logging.getLogger("petitbleu")


@dataclass(frozen=True, slots=True)
class Instance:
    """Everything of an open installation."""

    config: Config
    loaded: Loaded
    calls: Calls
    channels: Mapping[str, Channel]
    store: Store
    queue: WorkQueue
    drafts: Drafts
    templates: Templates
    status: Status
    operations: Operations
    intake: Intake
    gate: Gate
    """The same door for events that plugins fetch by themselves."""
    auth: Authenticator
    tokens: Tokens
    services: Services
    worker: Worker
    metrics: Metrics
    purge: Purge
    horizon: HorizonWatch
    watch: Watch
    wakeup: Wakeup | None
    """None where processes cannot tell each other of work."""
    throttle: Throttle
    receipts: Receipts
    decisions: Decisions
    telling: Telling
    suppressions: Suppressions
    register: Register
    """The same list, as operators read and change it."""
    owners: Owners
    offspring: Offspring
    tally: Tally
    rollup: Rollup
    alerting: Alerting
    notifier: Notifier
    watchdog: Watchdog | None
    archive: Archiver | None

    def queue_of(self, event_type: str) -> Queue:
        """Where events of a type go that come by a way that names no queue."""
        declared = self.config.event_types.get(event_type)
        return Queue.REALTIME if declared is None else declared.queue


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration with its plugins loaded and checked, before any database is opened."""

    raw: RawConfig
    config: Config
    loaded: Loaded
    calls: Calls
    channels: Mapping[str, Channel]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an instance has from outside, as a process has it; tests give their own."""

    plugins: Mapping[str, object] = field(default_factory=dict)
    """By name, modules or objects to use in place of what is installed."""
    failpoints: Failpoints | None = field(default_factory=lambda: read_failpoints(os.environ))
    shift: int = 0
    """Microseconds by which the database's clock runs ahead."""
    random: Callable[[], float] = random.random


Source: TypeAlias = Path | RawConfig | None
"""Where a configuration comes from: its folder (None: the usual one), or what was read there."""


def plan(source: Source, overrides: Sequence[str], plugins: Mapping[str, object] = MappingProxyType({})) -> Plan:
    """`plugins` are those that need not be installed. Raises `ConfigError` or `PluginError`."""
    raw = source if isinstance(source, RawConfig) else read_config(find_config(source), overrides)
    loaded = load(raw.plugin_names(), given=plugins)
    types = Calls(loaded, 1.0).settings_types()
    config = build_config(raw, types)
    loaded.settings.update(config.plugin_settings)
    conduct = Conduct(config.monitoring.trouble)
    delivery = config.delivery
    check_deadlines(raw, loaded.timed())
    calls = Calls(
        loaded, delivery.hook_deadline, delivery.hook_grace, delivery.deadlines, conduct, config.limits.unheard
    )
    calls.commands(open_services)
    calls.catchers()
    channels = {name: _tuned(config, channel) for name, channel in calls.channels().items()}
    served = {wish.channel for wish in wishes(channels.values()).values()}
    check_channels(raw, served, {name: channel.providers for name, channel in channels.items()})
    checks = {name: _address_check(channel) for name, channel in channels.items()}
    check_catch_all(raw, checks)
    check_messages(raw, checks, {name: partial(_tried, channel) for name, channel in channels.items()})
    calls.safe_mode = _safe_mode(config, channels)
    return Plan(raw, config, loaded, calls, channels)


def _address_check(channel: Channel) -> Callable[[str], str]:
    own = {EMAIL: email_address, MOBILE_PHONE: phone_number}
    return channel.address_check or own.get(channel.address, registration_token)


def _tried(channel: Channel, fields: Mapping[str, Any]) -> object:
    return content(channel, "title", "text", fields)


def _safe_mode(config: Config, channels: Mapping[str, Channel]) -> SafeMode | None:
    safe = config.safe_mode
    if not safe.enabled:
        return None
    kinds = {name: channel.address for name, channel in channels.items()}
    return SafeMode(safe.allow, safe.catch_all, safe.sink, safe.prefix, kinds)


def _tuned(config: Config, channel: Channel) -> Channel:
    """With the administrator's retries in place of the plugin's."""
    retry = config.delivery.retry.get(channel.name)
    return channel if retry is None else replace(channel, retry=Retry(retry.first, retry.cap, retry.tries))


def _provider_limits(config: Config) -> dict[tuple[str, str], ProviderLimits]:
    found = {}
    for name, one in config.delivery.providers.items():
        channel, _, provider = name.partition("/")
        destinations = {key: Limit(value.rate, value.concurrency) for key, value in one.destinations.items()}
        found[channel, provider] = ProviderLimits(Limit(one.rate, one.concurrency), destinations)
    return found


def _failovers(config: Config) -> dict[str, Failover]:
    found = {}
    for name, one in config.delivery.failover.items():
        weights = dict(one.providers) if isinstance(one.providers, dict) else {}
        found[name] = Failover(tuple(one.providers), weights, one.slow, one.bounced, one.no_receipt)
    return found


def brand_of(config: Config, event_type: str, asked: str) -> str:
    """The brand of the event type, else the one its template asks for; routing rules may say otherwise per event."""
    declared = config.event_types.get(event_type)
    return (declared.brand if declared is not None else "") or asked or config.instance.brand


@asynccontextmanager
async def open_instance(
    source: Source,
    overrides: Sequence[str],
    *,
    plugins_running: bool = False,
    delivers: bool = False,
    takes: bool = False,
    surroundings: Surroundings | None = None,
) -> AsyncIterator[Instance]:
    """Open what the configuration describes; the tables of an empty database are made, others must be up to date.

    `plugins_running` enters the plugins' lifespans: needed to deliver. `delivers` tells them that this process does so
    for good, and with `takes` those that fetch events by themselves may bring them in.
    """
    around = surroundings or Surroundings()
    planned = plan(source, overrides, around.plugins)
    if planned.calls.safe_mode is not None:
        logger.warning("%s", planned.calls.safe_mode.banner())
    watchful = guard(hold=planned.config.delivery.hold_after_restore)
    async with open_store(planned.config.database_url(), shift=around.shift, guard=watchful) as store:
        await store.check_durability(planned.config.durability == "relaxed")
        await _prepare_tables(store)
        store.vault = Vault([(one.id, one.key.get_secret_value()) for one in planned.config.encryption.keys])
        await check_keys(store)
        instance = assemble(planned, store, around, delivers)
        await instance.templates.refresh()
        await instance.tally.learn(store)
        async with AsyncExitStack() as stack:
            if plugins_running:
                await _run_plugins(planned, instance, instance.gate if takes else None, stack)
            yield instance


async def _run_plugins(planned: Plan, instance: Instance, accept: Accept | None, stack: AsyncExitStack) -> None:
    """Until `stack` is left: in the order of the configuration, and back."""
    calls, loaded, monitoring = planned.calls, planned.loaded, planned.config.monitoring
    await stack.enter_async_context(Standstill(instance.owners, calls.conduct, monitoring.blocked).watched())
    stack.enter_context(instance.offspring.counted())
    lifespans = dict(calls.lifespans(instance.services, accept))
    for plugin in loaded.plugins:
        stack.push_async_callback(instance.offspring.end, plugin.name)
        if plugin.name in lifespans:
            lived = calls.lived(plugin.name, lifespans[plugin.name])
            loaded.states[plugin.name] = await stack.enter_async_context(lived)


@asynccontextmanager
async def open_services(arguments: argparse.Namespace) -> AsyncIterator[Services]:
    """What a plugin's command opens the installation with that its arguments name."""
    async with open_instance(arguments.config, arguments.set) as instance:
        yield instance.services


async def _prepare_tables(store: Store) -> None:
    # in this order: another process may make the tables at the same moment
    if await store.is_empty():
        await store.migrate()
    else:
        await store.check_tables()


def assemble(planned: Plan, store: Store, around: Surroundings = Surroundings(), delivers: bool = False) -> Instance:
    """Every part, put together; nothing is asked of the database yet."""
    config, calls, channels = planned.config, planned.calls, planned.channels

    def now() -> datetime:
        return datetime.fromtimestamp(store.now() / 1e6, UTC)

    zone = config.instance.time_zone
    cell = config.instance.cell
    table = statuses({str(name): code for name, code in config.statuses.items()})
    windows = {name: one.idempotency for name, one in config.event_types.items() if one.idempotency is not None}
    metrics = Metrics()
    calls.limit_reached = metrics.limit_reached
    brands = {name: brand_of(config, name, "") for name in config.event_types}
    tally = Tally(brands, config.limits.origins)
    queue = WorkQueue(store, cell, config.delivery.lease, windows, metrics, config.limits.call_keys, tally)
    renderer = Renderer(
        list(channels.values()),
        calls.prepare_environment,
        RenderLimits(**config.templates.limits.model_dump()),
        zone,
        {"name": config.instance.name, "public_url": config.instance.public_url},
    )

    def type_brand(event_type: str, asked: str) -> Mapping[str, Any]:
        return config.brand_values(brand_of(config, event_type, asked))

    templates = Templates(store, renderer, now, type_brand)
    addresses = {name: channel.address for name, channel in channels.items()}
    address_checks = calls.address_checks(channels.values())
    failovers = _failovers(config)
    recycling = Recycling(
        tuple(
            RecyclingRule({str(name): value for name, value in rule.when.items()}, rule.on, rule.to, rule.after)
            for rule in config.recycling.rules
        ),
        addresses,
    )
    answers = CoreAnswers(
        templates,
        [
            Rule({str(name): value for name, value in rule.when.items()}, rule.channel, rule.brand, rule.template)
            for rule in config.routing.rules
        ],
        {name: declared.brand for name, declared in config.event_types.items()},
        config.routing.languages,
        config.instance.brand,
        metrics,
        recycling,
    )
    planned.loaded.add_core(answers)
    throttle = Throttle(
        Shared(store, queue.incarnation, config.delivery.lease),
        Feedback(
            places=config.delivery.concurrency, lease=config.delivery.lease, **config.delivery.feedback.model_dump()
        ),
        _provider_limits(config),
        store.now,
        around.random,
        metrics,
    )
    suppressions = Suppressions(
        store,
        addresses,
        _terms(config),
        {name: declared.ignored_reasons for name, declared in config.event_types.items()},
        metrics,
        learning=calls.safe_mode is None,
    )
    metrics.safe_mode(calls.safe_mode is not None)
    queue.suppressions = suppressions
    subscriptions = calls.subscriptions()
    outbox = Outbox(store, subscriptions, answers.brand_of, brands, metrics) if subscriptions else None
    queue.outbox = outbox
    masks = Masks(
        tuple(map(parsed, config.masking)),
        {name: tuple(map(parsed, declared.masking)) for name, declared in config.event_types.items()},
    )
    copied = {
        name: int(1e6 * (own if (own := one.retention.rendered) is not None else config.retention.rendered))
        for name, one in config.event_types.items()
        if one.rendered
    }
    delivery = Delivery(
        queue,
        calls,
        channels,
        lru_cache(maxsize=1024)(lambda brand: elements(config.brand_values(brand))),
        config.instance.name,
        config.delivery.deadline,
        store.now,
        around.random,
        metrics,
        throttle,
        around.failpoints,
        failovers,
        recycling,
        config.delivery.receipts.wait,
        suppressions,
        Copies(copied, masks, store.vault) if copied else None,
    )
    unmatched = config.delivery.receipts.unmatched
    receipts = Receipts(store, calls, unmatched, metrics, suppressions, addresses, answers.brand_of, outbox, tally)

    def opened() -> None:
        queue.look_again()
        queue.announce()

    lifetime_micros = int(config.delivery.lifetime * 1_000_000)
    decisions = Decisions(
        store, calls, addresses, failovers, lifetime_micros, store.now, metrics, opened, outbox, tally
    )
    worker = Worker(
        queue,
        delivery,
        WorkerLimits(
            concurrency=config.delivery.concurrency,
            reserved=config.delivery.reserved,
            poll=config.delivery.poll,
            lease=config.delivery.lease,
            drain=config.delivery.drain,
        ),
        store.now,
        Shares(
            brands,
            {name: brand.share for name, brand in config.brands.items()},
            {name: declared.share for name, declared in config.event_types.items()},
        ),
        throttle,
    )
    intake = Intake(
        queue,
        calls,
        {
            name: TypeRules(
                brands[name],
                Contract({path: kind.value for path, kind in declared.ctx.required.items()}, declared.ctx.max_size)
                if declared.ctx is not None
                else None,
                repeatable=name in windows,
            )
            for name, declared in config.event_types.items()
        },
        wishes(channels.values()),
        IntakeLimits(
            events=config.limits.events,
            pending=config.limits.pending,
            attribute=config.limits.attribute,
            data=config.limits.data,
            lifetime=timedelta(seconds=config.delivery.lifetime),
            deadline=config.limits.deadline,
            untold=config.limits.untold,
        ),
        zone,
        store.now,
        time.monotonic,
        metrics,
        address_checks,
    )
    status = Status(store, cell, table, brands, zone)
    by_minute, by_hour = (int(one * 1_000_000) for one in (config.retention.minutes, config.retention.hours))
    reports = Reports(store, brands, zone, by_minute, by_hour, store.now)
    lifetime = timedelta(seconds=config.delivery.lifetime)
    copies = WorkQueue(store, cell, config.delivery.lease, tally=tally)
    copies.outbox = outbox
    most = config.limits.pending
    operations = Operations(
        store, copies, calls, cell, brands, lifetime, most, store.now, time.monotonic, outbox, tally, addresses
    )
    auth = Authenticator(config.operators, config.sessions, now, limit_reached=metrics.limit_reached)
    tokens = Tokens(store, config.operators, config.event_types, config.brands, now, secrets.token_bytes)

    async def pending() -> tuple[int, int]:
        return await within(config.limits.deadline, queue.depth(time.monotonic)), most

    async def load_event(event_id: int) -> Event | None:
        rows = await store.read("SELECT body FROM payloads WHERE id = ?", [event_id])
        return decode(event_id, store.vault.open(event_id, rows[0]["body"])) if rows else None

    telling = Telling(
        store,
        calls,
        outbox or Outbox(store, (), answers.brand_of, brands, metrics),
        subscriptions,
        TellingLimits(config.limits.outbox, config.monitoring.outbox, config.retention.outbox, config.delivery.poll),
        cell,
        store.now,
        random.random,
        metrics,
    )
    drafts = Drafts(config.template_directory(), list(channels.values()))
    register = Register(store, addresses, address_checks)
    horizon = HorizonWatch(store, config.monitoring.horizon)
    owners = Owners(planned.loaded)
    offspring = Offspring(owners, config.monitoring.plugin_tasks, config.delivery.hook_grace)
    watch = Watch(
        pending,
        calls,
        horizon.checks,
        {"providers": throttle.checks, "outbox": telling.checks},
        (calls.conduct.checks, offspring.checks),
        config.bounds(),
    )
    notifier = Notifier(
        [Recipients(one.channel, one.to, alerts.LEVELS.index(one.level), one.fields) for one in config.alerts.messages],
        calls,
        channels,
        lambda content: branded(content, config.brand_values("")),
        now,
        config.delivery.deadline,
        config.instance.name,
    )
    watchdog = _watchdog(planned, store, _holder(queue), intake)
    alerting = _alerting(config, store, _holder(queue), outbox, notifier if delivers else None, watchdog)
    sizes = Sizes(config.limits.rows, metrics.limit_reached)
    counter = Desk(
        desk.DeskEvents(
            status, operations, load_event, masks, brands, store.now, sizes, config.limits.changes, channels
        ),
        desk.DeskTemplates(
            store,
            drafts,
            templates,
            intake,
            calls,
            channels,
            lambda event_type, asked: brand_of(config, event_type, asked),
            lambda content, brand: branded(content, config.brand_values(brand)),
            now,
            config.delivery.deadline,
            config.instance.name,
            config.limits.previews,
        ),
        desk.DeskSuppressions(store, register, config.brands, zone, sizes),
        desk.DeskAudit(store, sizes),
        desk.DeskInstallation(store, planned.raw, config, planned.loaded, calls, auth, tokens, sizes, now),
        desk.DeskEntrance(store, auth, config.operators, config.sessions.refusals, now, metrics.limit_reached),
        watch.look,
        alerting.read,
        desk.DeskQueue(store, brands, time.monotonic),
    )
    services = Services(
        instance=config.instance.name,
        cell=cell,
        public_url=config.instance.public_url,
        time_zone=zone,
        body_limit=config.http.body_limit,
        event_limit=config.limits.events,
        auth=auth,
        statuses=table,
        event_types={
            name: EventType(name, declared.label or name, declared.queue)
            for name, declared in config.event_types.items()
        },
        channels=lambda: list(channels.values()),
        find_events=status.find,
        count_events=status.count,
        pending=pending,
        load_event=load_event,
        masked=lambda event: masks.masked(event.type, event.data),
        now=now,
        record_receipts=receipts.record,
        desk=counter,
        report=reports.read,
        delivers=delivers,
        outbox=telling,
        safe_mode="" if calls.safe_mode is None else calls.safe_mode.banner(),
    )
    archive = _archiver(config, store, masks, metrics, _holder(queue))
    return Instance(
        config,
        planned.loaded,
        calls,
        channels,
        store,
        queue,
        drafts,
        templates,
        status,
        operations,
        intake,
        Gate(metrics.measured(intake)),
        auth,
        tokens,
        services,
        worker,
        metrics,
        _purge(config, store, _holder(queue), metrics, archive),
        horizon,
        watch,
        Wakeup(store.listener, metrics) if store.dialect == "postgres" and config.delivery.announce else None,
        throttle,
        receipts,
        decisions,
        telling,
        suppressions,
        register,
        owners,
        offspring,
        tally,
        Rollup(store, by_minute, by_hour, zone, _holder(queue), brands, tuple(channels)),
        alerting,
        notifier,
        watchdog,
        archive,
    )


def _holder(queue: WorkQueue) -> str:
    """This process among all that use the database."""
    return f"{socket.gethostname()[:40]}/{queue.incarnation}"


def _terms(config: Config) -> dict[str, Terms]:
    """By channel; "" is any other."""
    common = config.suppression

    def terms(own: ChannelSuppression) -> Terms:
        given = {**common.model_dump(exclude={"channels"}), **own.model_dump(exclude_none=True)}
        lasting = {Reason(word): given.pop(word) for word in ("hard", "soft", "complaint")}
        return Terms(
            given["threshold"],
            int(given["period"] * 1_000_000),
            int(given["span"] * 1_000_000),
            {reason: int(one * 1_000_000) for reason, one in lasting.items() if one is not None},
        )

    return {"": terms(ChannelSuppression()), **{name: terms(own) for name, own in common.channels.items()}}


def _watchdog(planned: Plan, store: Store, holder: str, intake: Intake) -> Watchdog | None:
    """Raises `ConfigError` where its event would be refused."""
    given = planned.config.watchdog
    if not given.type:
        return None
    queue = planned.config.event_types[given.type].queue
    watchdog = Watchdog(store, given.type, queue, given.attributes, given.ctx, given.every, holder)
    try:
        intake.check([watchdog.event(store.now())])
    except EventsRefused as refused:
        place = str((planned.raw.tree.at("watchdog") or planned.raw.tree).place)
        problems = [
            ConfigProblem(place, f"watchdog.{one.attribute or 'attributes'}", one.text) for one in refused.problems
        ]
        raise ConfigError(problems) from None
    return watchdog


def _alerting(
    config: Config,
    store: Store,
    holder: str,
    outbox: Outbox | None,
    notifier: Notifier | None,
    watchdog: Watchdog | None,
) -> Alerting:
    given = config.alerts
    terms = {name: alerts.Terms(one.warning, one.alert) for name, one in given if isinstance(one, Thresholds)}
    if watchdog is None:
        del terms[alerts.WATCHDOG]
    pace = alerts.Pace(int(given.raise_after * 1_000_000), int(given.clear_after * 1_000_000), given.clear_below)
    window, errors = int(given.window * 1_000_000), given.error_rate.errors
    return Alerting(store, terms, pace, window, errors, given.every, holder, outbox, notifier, watchdog)


def _archiver(config: Config, store: Store, masks: Masks, metrics: Metrics, holder: str) -> Archiver | None:
    settings = config.retention.archive
    if settings.path is None:
        return None
    own = {name: kept for name, one in config.event_types.items() if (kept := one.retention.archive) is not None}
    terms = ArchiveTerms(settings.keep, {name: kept or None for name, kept in own.items()})
    return Archiver(store, Folder(settings.path, store.vault, holder, store.now), terms, masks, metrics)


def _purge(config: Config, store: Store, holder: str, metrics: Metrics, archive: Archiver | None) -> Purge:
    keep = config.retention
    counted = {name: kept for name, one in config.event_types.items() if (kept := one.retention.statistics) is not None}

    def periods(own: TypeRetention) -> Periods:
        seconds = (
            own.events if own.events is not None else keep.events,
            own.payloads if own.payloads is not None else keep.payloads,
            own.attempts if own.attempts is not None else keep.attempts,
        )
        return Periods(*(int(one * 1_000_000) for one in seconds))

    return Purge(
        store,
        {name: periods(one.retention) for name, one in config.event_types.items()},
        periods(TypeRetention()),
        int(config.sessions.lifetime * 1_000_000),
        keep.every,
        Pace(keep.batch, keep.share),
        holder,
        metrics,
        soft_errors=max(terms.period for terms in _terms(config).values()),
        audit=int(keep.audit * 1_000_000),
        outbox=int(keep.outbox * 1_000_000),
        statistics=int(keep.statistics * 1_000_000),
        statistics_of={name: int(one * 1_000_000) for name, one in counted.items()},
        archive=archive,
    )


__all__ = ["Instance", "Plan", "Source", "Surroundings", "assemble", "open_instance", "open_services", "plan"]
