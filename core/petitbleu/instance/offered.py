"""What plugins and commands are given of an installation: its desk, and its services, of which the desk is one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from .. import desk as desks
from ..alerts.alerting import Alerting
from ..answers import branded
from ..auth import Authenticator, Tokens
from ..desk.listing import Sizes
from ..health import Watch
from ..intake.intake import Intake
from ..masking import Masks
from ..operating import Desk
from ..operations.operations import Operations
from ..outbox.desk import OutboxDesk
from ..receipts.receipts import Receipts
from ..reports.reports import Reports
from ..services import EventType, Services, StatusName
from ..status import Status
from ..suppression.register import Register
from ..templates import Drafts, Templates
from ..types import Event
from .ground import Ground
from .terms import brand_of

LoadEvent = Callable[[int], Awaitable[Event | None]]


def desk(
    ground: Ground,
    *,
    status: Status,
    operations: Operations,
    load_event: LoadEvent,
    masks: Masks,
    drafts: Drafts,
    templates: Templates,
    intake: Intake,
    register: Register,
    auth: Authenticator,
    tokens: Tokens,
    watch: Watch,
    alerting: Alerting,
) -> Desk:
    config, store, metrics, planned = ground.config, ground.store, ground.metrics, ground.planned
    sizes = Sizes(config.limits.rows, metrics.limit_reached)
    events = desks.DeskEvents(
        status,
        operations,
        load_event,
        masks,
        ground.brands,
        store.now,
        sizes,
        config.limits.changes,
        ground.channels,
        templates.files,
    )
    return Desk(
        events,
        desks.DeskTemplates(
            store,
            events,
            drafts,
            templates,
            intake,
            ground.calls,
            ground.channels,
            lambda event_type, asked: brand_of(config, event_type, asked),
            lambda content, brand: branded(content, config.brand_values(brand)),
            ground.now,
            config.delivery.deadline,
            config.instance.name,
            config.limits.previews,
            config.limits.rows,
        ),
        desks.DeskSuppressions(store, register, config.brands, ground.zone, sizes),
        desks.DeskAudit(store, sizes),
        desks.DeskInstallation(
            store, planned.raw, config, planned.loaded, ground.calls, auth, tokens, sizes, ground.now
        ),
        desks.DeskEntrance(store, auth, config.operators, config.sessions.refusals, ground.now, metrics.limit_reached),
        watch.look,
        alerting.read,
        desks.DeskQueue(store, ground.brands, time.monotonic),
    )


def services(
    ground: Ground,
    *,
    auth: Authenticator,
    statuses: Mapping[str, StatusName],
    status: Status,
    pending: Callable[[], Awaitable[tuple[int, int]]],
    load_event: LoadEvent,
    masks: Masks,
    receipts: Receipts,
    desk: Desk,
    reports: Reports,
    outbox: OutboxDesk,
    delivers: bool,
) -> Services:
    config, safe_mode = ground.config, ground.calls.safe_mode
    return Services(
        instance=config.instance.name,
        cell=ground.cell,
        public_url=config.instance.public_url,
        time_zone=ground.zone,
        body_limit=config.http.body_limit,
        event_limit=config.limits.events,
        row_limit=config.limits.rows,
        change_limit=config.limits.changes,
        auth=auth,
        statuses=statuses,
        event_types={
            name: EventType(name, declared.label or name, declared.queue)
            for name, declared in config.event_types.items()
        },
        channels=lambda: list(ground.channels.values()),
        find_events=status.find,
        count_events=status.count,
        pending=pending,
        load_event=load_event,
        masked=lambda event: masks.masked(event.type, event.data),
        now=ground.now,
        record_receipts=receipts.record,
        desk=desk,
        report=reports.read,
        delivers=delivers,
        outbox=outbox,
        safe_mode="" if safe_mode is None else safe_mode.banner(),
    )
