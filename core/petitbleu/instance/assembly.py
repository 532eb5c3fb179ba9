"""Every part of an installation put together, along the way of an event: in, to a provider, and what is said after."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from ..answers import CoreAnswers
from ..auth import Authenticator, Tokens
from ..channels import wishes
from ..data import elements
from ..deadlines import within
from ..delivery.delivery import Delivery
from ..delivery.worker import Worker
from ..failover import Failover
from ..failpoints import Failpoints
from ..health import Watch
from ..horizon import HorizonWatch
from ..hosting.offspring import Offspring
from ..hosting.owners import Owners
from ..intake.gate import Gate
from ..intake.intake import Intake
from ..lifecycle import statuses
from ..masking import Masks
from ..operations.operations import Operations
from ..outbox.desk import OutboxDesk
from ..outbox.notices import Outbox, full_name
from ..outbox.telling import Telling
from ..outbox.waiting import Waiting
from ..queue.queue import WorkQueue
from ..queue.shares import Shares
from ..queue.wakeup import Wakeup
from ..receipts.decisions import Decisions
from ..receipts.receipts import Receipts
from ..recycling import Recycling
from ..rendered import Copies
from ..rendering import Renderer, RenderLimits
from ..reports.reports import Reports
from ..status import Status
from ..store import Store
from ..store.payload import readable
from ..suppression.guard import Suppressions
from ..suppression.register import Register
from ..templates import Drafts, Templates
from ..throttle import Shared, Throttle
from ..types import Event, Subscription
from . import offered, terms, upkeep
from .ground import Ground, prepare
from .parts import Instance, Surroundings
from .planning import Plan


def assemble(planned: Plan, store: Store, around: Surroundings = Surroundings(), delivers: bool = False) -> Instance:
    """Every part, put together; nothing is asked of the database yet."""
    ground = prepare(planned, store, around)
    config, calls, channels, metrics, queue = ground.config, ground.calls, ground.channels, ground.metrics, ground.queue
    templates = _templates(ground)
    recycling = Recycling(terms.recycling_rules(config), ground.addresses)
    answers = _answers(ground, templates, recycling)
    planned.loaded.add_core(answers)
    throttle = _throttle(ground)
    suppressions = queue.suppressions = _suppressions(ground)
    subscriptions = calls.subscriptions()
    told = Outbox(store, subscriptions, answers.brand_of, ground.brands, metrics)
    outbox = queue.outbox = told if subscriptions else None
    masks = terms.masks(config)
    failovers = terms.failovers(config)
    delivery = _delivery(ground, throttle, around.failpoints, failovers, recycling, suppressions, masks)
    receipts = _receipts(ground, suppressions, answers, outbox)
    decisions = _decisions(ground, failovers, outbox)
    worker = Worker(queue, delivery, terms.worker_limits(config), store.now, _shares(ground), throttle)
    checks = calls.address_checks(channels.values())
    intake = _intake(ground, checks)
    known = statuses({str(name): code for name, code in config.statuses.items()})
    status = Status(store, ground.cell, known, ground.brands, ground.zone)
    reports = Reports(store, ground.brands, ground.zone, *terms.counted(config), store.now)
    operations = _operations(ground, outbox)
    auth = Authenticator(config.operators, config.sessions, ground.now, limit_reached=metrics.limit_reached)
    tokens = Tokens(store, config.operators, config.event_types, config.brands, ground.now, secrets.token_bytes)

    async def pending() -> tuple[int, int]:
        return await within(config.limits.deadline, queue.depth.count(time.monotonic)), config.limits.pending

    async def load_event(event_id: int) -> Event | None:
        rows = await store.read("SELECT body FROM payloads WHERE id = ?", [event_id])
        return readable(store.vault, event_id, rows[0]["body"]) if rows else None

    names = [full_name(plugin, one.name) for plugin, one in subscriptions]
    telling = _telling(ground, told, subscriptions)
    waiting = Waiting(store, told, names, config.limits.outbox, config.monitoring.outbox)
    drafts = Drafts(config.template_directory(), list(channels.values()))
    register = Register(store, ground.addresses, checks)
    horizon = HorizonWatch(store, config.monitoring.horizon)
    owners = Owners(planned.loaded)
    offspring = Offspring(owners, config.monitoring.plugin_tasks, config.delivery.hook_grace)
    watch = Watch(
        pending,
        calls,
        horizon.checks,
        {"providers": throttle.checks, "outbox": waiting.checks},
        (calls.conduct.checks, offspring.checks),
        config.bounds(),
    )
    notifier = upkeep.notifier(ground)
    watchdog = upkeep.watchdog(ground, intake)
    alerting = upkeep.alerting(ground, outbox, notifier if delivers else None, watchdog)
    archive = upkeep.archiver(ground, masks)
    desk = offered.desk(
        ground,
        status=status,
        operations=operations,
        load_event=load_event,
        masks=masks,
        drafts=drafts,
        templates=templates,
        intake=intake,
        register=register,
        auth=auth,
        tokens=tokens,
        watch=watch,
        alerting=alerting,
    )
    services = offered.services(
        ground,
        auth=auth,
        statuses=known,
        status=status,
        pending=pending,
        load_event=load_event,
        masks=masks,
        receipts=receipts,
        desk=desk,
        reports=reports,
        outbox=OutboxDesk(store, told, names, config.limits.outbox, ground.cell),
        delivers=delivers,
    )
    return Instance(
        config=config,
        loaded=planned.loaded,
        calls=calls,
        channels=channels,
        store=store,
        queue=queue,
        drafts=drafts,
        templates=templates,
        status=status,
        operations=operations,
        intake=intake,
        gate=Gate(metrics.measured(intake)),
        auth=auth,
        tokens=tokens,
        services=services,
        worker=worker,
        metrics=metrics,
        purge=upkeep.purge(ground, archive),
        horizon=horizon,
        watch=watch,
        wakeup=Wakeup(store.listener, metrics) if store.dialect == "postgres" and config.delivery.announce else None,
        throttle=throttle,
        receipts=receipts,
        decisions=decisions,
        telling=telling,
        waiting=waiting,
        suppressions=suppressions,
        register=register,
        owners=owners,
        offspring=offspring,
        tally=ground.tally,
        rollup=upkeep.rollup(ground),
        alerting=alerting,
        notifier=notifier,
        watchdog=watchdog,
        archive=archive,
    )


def _templates(ground: Ground) -> Templates:
    config = ground.config
    renderer = Renderer(
        list(ground.channels.values()),
        ground.calls.prepare_environment,
        RenderLimits(**config.templates.limits.model_dump()),
        ground.zone,
        {"name": config.instance.name, "public_url": config.instance.public_url},
    )

    def brand(event_type: str, asked: str) -> Mapping[str, Any]:
        return config.brand_values(terms.brand_of(config, event_type, asked))

    return Templates(ground.store, renderer, ground.now, brand)


def _answers(ground: Ground, templates: Templates, recycling: Recycling) -> CoreAnswers:
    config = ground.config
    return CoreAnswers(
        templates,
        terms.routing_rules(config),
        {name: declared.brand for name, declared in config.event_types.items()},
        config.routing.languages,
        config.instance.brand,
        ground.metrics,
        recycling,
    )


def _throttle(ground: Ground) -> Throttle:
    return Throttle(
        Shared(ground.store, ground.queue.incarnation, ground.config.delivery.lease),
        terms.feedback(ground.config),
        terms.provider_limits(ground.config),
        ground.store.now,
        ground.random,
        ground.metrics,
    )


def _suppressions(ground: Ground) -> Suppressions:
    config = ground.config
    return Suppressions(
        ground.store,
        ground.addresses,
        terms.suppression(config),
        {name: declared.ignored_reasons for name, declared in config.event_types.items()},
        ground.metrics,
        learning=ground.calls.safe_mode is None,
    )


def _delivery(
    ground: Ground,
    throttle: Throttle,
    failpoints: Failpoints | None,
    failovers: Mapping[str, Failover],
    recycling: Recycling,
    suppressions: Suppressions,
    masks: Masks,
) -> Delivery:
    config, store = ground.config, ground.store
    copied = terms.copies(config)
    return Delivery(
        ground.queue,
        ground.calls,
        ground.channels,
        lru_cache(maxsize=1024)(lambda brand: elements(config.brand_values(brand))),
        config.instance.name,
        config.delivery.deadline,
        store.now,
        ground.random,
        ground.metrics,
        throttle,
        failpoints,
        failovers,
        recycling,
        config.delivery.receipts.wait,
        suppressions,
        Copies(copied, masks, store.vault) if copied else None,
    )


def _intake(ground: Ground, checks: Mapping[str, Callable[[str], str]]) -> Intake:
    return Intake(
        ground.queue,
        ground.calls,
        terms.type_rules(ground.config),
        wishes(ground.channels.values()),
        terms.intake_limits(ground.config),
        ground.zone,
        ground.store.now,
        time.monotonic,
        ground.metrics,
        checks,
    )


def _receipts(ground: Ground, suppressions: Suppressions, answers: CoreAnswers, outbox: Outbox | None) -> Receipts:
    return Receipts(
        ground.store,
        ground.calls,
        ground.config.delivery.receipts.unmatched,
        ground.metrics,
        suppressions,
        ground.addresses,
        answers.brand_of,
        outbox,
        ground.tally,
    )


def _decisions(ground: Ground, failovers: Mapping[str, Failover], outbox: Outbox | None) -> Decisions:
    def opened() -> None:
        ground.queue.look_again()
        ground.queue.announce()

    return Decisions(
        ground.store,
        ground.calls,
        ground.addresses,
        failovers,
        terms.micros(ground.config.delivery.lifetime),
        ground.store.now,
        ground.metrics,
        opened,
        outbox,
        ground.tally,
    )


def _telling(ground: Ground, told: Outbox, subscriptions: Sequence[tuple[str, Subscription]]) -> Telling:
    return Telling(
        ground.store,
        ground.calls,
        told,
        subscriptions,
        ground.config.retention.outbox,
        ground.config.delivery.poll,
        ground.store.now,
        ground.random,
        ground.metrics,
    )


def _shares(ground: Ground) -> Shares:
    config = ground.config
    return Shares(
        ground.brands,
        {name: brand.share for name, brand in config.brands.items()},
        {name: declared.share for name, declared in config.event_types.items()},
    )


def _operations(ground: Ground, outbox: Outbox | None) -> Operations:
    """With a queue of their own: what operators send again is no call, and is never taken for a repeat of one."""
    config, store = ground.config, ground.store
    copies = WorkQueue(store, ground.cell, config.delivery.lease, metrics=ground.metrics, tally=ground.tally)
    copies.outbox = outbox
    return Operations(
        store,
        copies,
        ground.calls,
        ground.cell,
        ground.brands,
        timedelta(seconds=config.delivery.lifetime),
        config.limits.pending,
        store.now,
        time.monotonic,
        outbox,
        ground.tally,
        ground.addresses,
    )
