"""The parts that look after an installation rather than an event: who watches, warns, keeps and removes."""

from __future__ import annotations

from ..alerts import thresholds
from ..alerts.alerting import Alerting
from ..alerts.notifying import Notifier, Recipients
from ..alerts.watchdog import Watchdog
from ..answers import branded
from ..archive import Archiver, Folder
from ..config.settings import TypeRetention
from ..errors import ConfigError, ConfigProblem, EventsRefused
from ..intake.intake import Intake
from ..masking import Masks
from ..outbox.notices import Outbox
from ..reports.rollup import Rollup
from ..retention import Pace, Purge
from . import terms
from .ground import Ground


def watchdog(ground: Ground, intake: Intake) -> Watchdog | None:
    """Raises `ConfigError` where its event would be refused."""
    given = ground.config.watchdog
    if not given.type:
        return None
    queue = ground.config.event_types[given.type].queue
    found = Watchdog(ground.store, given.type, queue, given.attributes, given.ctx, given.every, ground.holder)
    try:
        intake.check([found.event(ground.store.now())])
    except EventsRefused as refused:
        tree = ground.planned.raw.tree
        place = str((tree.at("watchdog") or tree).place)
        problems = [
            ConfigProblem(place, f"watchdog.{one.attribute or 'attributes'}", one.text) for one in refused.problems
        ]
        raise ConfigError(problems) from None
    return found


def notifier(ground: Ground) -> Notifier:
    config = ground.config
    return Notifier(
        [
            Recipients(one.channel, one.to, thresholds.LEVELS.index(one.level), one.fields)
            for one in config.alerts.messages
        ],
        ground.calls,
        ground.channels,
        lambda content: branded(content, config.brand_values("")),
        ground.now,
        config.delivery.deadline,
        config.instance.name,
    )


def alerting(ground: Ground, outbox: Outbox | None, notifier: Notifier | None, watchdog: Watchdog | None) -> Alerting:
    given = ground.config.alerts
    measured = terms.alert_terms(ground.config)
    if watchdog is None:
        del measured[thresholds.WATCHDOG]
    return Alerting(
        ground.store,
        measured,
        terms.alert_pace(ground.config),
        terms.micros(given.window),
        given.error_rate.errors,
        given.every,
        ground.holder,
        outbox,
        notifier,
        watchdog,
    )


def archiver(ground: Ground, masks: Masks) -> Archiver | None:
    path = ground.config.retention.archive.path
    if path is None:
        return None
    folder = Folder(path, ground.store.vault, ground.holder, ground.store.now)
    return Archiver(ground.store, folder, terms.archive(ground.config), masks, ground.metrics)


def rollup(ground: Ground) -> Rollup:
    by_minute, by_hour = terms.counted(ground.config)
    return Rollup(ground.store, by_minute, by_hour, ground.zone, ground.holder, ground.brands, tuple(ground.channels))


def purge(ground: Ground, archive: Archiver | None) -> Purge:
    config = ground.config
    keep = config.retention
    counted = {name: kept for name, one in config.event_types.items() if (kept := one.retention.statistics) is not None}
    return Purge(
        ground.store,
        {name: terms.periods(config, one.retention) for name, one in config.event_types.items()},
        terms.periods(config, TypeRetention()),
        terms.micros(config.sessions.lifetime),
        keep.every,
        Pace(keep.batch, keep.share),
        ground.holder,
        ground.metrics,
        soft_errors=max(one.period for one in terms.suppression(config).values()),
        audit=terms.micros(keep.audit),
        outbox=terms.micros(keep.outbox),
        statistics=terms.micros(keep.statistics),
        statistics_of={name: terms.micros(one) for name, one in counted.items()},
        archive=archive,
    )
