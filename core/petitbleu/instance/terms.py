"""What the configuration says, in the values that the parts take: nothing here holds anything or asks anybody."""

from __future__ import annotations

from datetime import timedelta

from ..alerts import thresholds
from ..answers import Rule
from ..archive import Terms as ArchiveTerms
from ..config import Config
from ..config.settings import ChannelSuppression, Thresholds, TypeRetention
from ..delivery.worker import Limits as WorkerLimits
from ..failover import Failover
from ..intake.contract import Contract
from ..intake.intake import Limits as IntakeLimits
from ..intake.intake import TypeRules
from ..masking import Masks, parsed
from ..recycling import RecyclingRule
from ..retention import Periods
from ..suppression import Reason, Terms
from ..throttle import Feedback, Limit, ProviderLimits


def micros(seconds: float) -> int:
    return int(seconds * 1_000_000)


def brand_of(config: Config, event_type: str, asked: str = "") -> str:
    """The brand of the event type, else the one its template asks for; routing rules may say otherwise per event."""
    declared = config.event_types.get(event_type)
    return (declared.brand if declared is not None else "") or asked or config.instance.brand


# -------------------------------------------------------------------------------------------------- the way of an event


def type_rules(config: Config) -> dict[str, TypeRules]:
    """By event type."""
    return {
        name: TypeRules(
            brand_of(config, name),
            Contract({path: kind.value for path, kind in declared.ctx.required.items()}, declared.ctx.max_size)
            if declared.ctx is not None
            else None,
            repeatable=declared.idempotency is not None,
        )
        for name, declared in config.event_types.items()
    }


def intake_limits(config: Config) -> IntakeLimits:
    limits = config.limits
    return IntakeLimits(
        events=limits.events,
        pending=limits.pending,
        attribute=limits.attribute,
        data=limits.data,
        lifetime=timedelta(seconds=config.delivery.lifetime),
        deadline=limits.deadline,
        untold=limits.untold,
    )


def routing_rules(config: Config) -> list[Rule]:
    return [
        Rule({str(name): value for name, value in rule.when.items()}, rule.channel, rule.brand, rule.template)
        for rule in config.routing.rules
    ]


def recycling_rules(config: Config) -> tuple[RecyclingRule, ...]:
    return tuple(
        RecyclingRule({str(name): value for name, value in rule.when.items()}, rule.on, rule.to, rule.after)
        for rule in config.recycling.rules
    )


def worker_limits(config: Config) -> WorkerLimits:
    delivery = config.delivery
    return WorkerLimits(
        concurrency=delivery.concurrency,
        reserved=delivery.reserved,
        poll=delivery.poll,
        lease=delivery.lease,
        drain=delivery.drain,
    )


def feedback(config: Config) -> Feedback:
    delivery = config.delivery
    return Feedback(places=delivery.concurrency, lease=delivery.lease, **delivery.feedback.model_dump())


def provider_limits(config: Config) -> dict[tuple[str, str], ProviderLimits]:
    """By channel and provider."""
    found = {}
    for name, one in config.delivery.providers.items():
        channel, _, provider = name.partition("/")
        destinations = {key: Limit(value.rate, value.concurrency) for key, value in one.destinations.items()}
        found[channel, provider] = ProviderLimits(Limit(one.rate, one.concurrency), destinations)
    return found


def failovers(config: Config) -> dict[str, Failover]:
    """By channel."""
    found = {}
    for name, one in config.delivery.failover.items():
        weights = dict(one.providers) if isinstance(one.providers, dict) else {}
        found[name] = Failover(tuple(one.providers), weights, one.slow, one.bounced, one.no_receipt)
    return found


# ----------------------------------------------------------------------------------------------------- what is kept


def masks(config: Config) -> Masks:
    return Masks(
        tuple(map(parsed, config.masking)),
        {name: tuple(map(parsed, declared.masking)) for name, declared in config.event_types.items()},
    )


def copies(config: Config) -> dict[str, int]:
    """By event type whose messages are kept as they went out, for how many microseconds."""
    common = config.retention.rendered
    return {
        name: micros(own if (own := one.retention.rendered) is not None else common)
        for name, one in config.event_types.items()
        if one.rendered
    }


def archive(config: Config) -> ArchiveTerms:
    own = {name: kept for name, one in config.event_types.items() if (kept := one.retention.archive) is not None}
    return ArchiveTerms(config.retention.archive.keep, {name: kept or None for name, kept in own.items()})


def periods(config: Config, own: TypeRetention) -> Periods:
    """How long an event type with terms of its `own` is kept."""
    keep = config.retention
    seconds = (
        own.events if own.events is not None else keep.events,
        own.payloads if own.payloads is not None else keep.payloads,
        own.attempts if own.attempts is not None else keep.attempts,
    )
    return Periods(*map(micros, seconds))


def suppression(config: Config) -> dict[str, Terms]:
    """By channel; "" is any other."""
    common = config.suppression

    def terms(own: ChannelSuppression) -> Terms:
        given = {**common.model_dump(exclude={"channels"}), **own.model_dump(exclude_none=True)}
        lasting = {Reason(word): given.pop(word) for word in ("hard", "soft", "complaint")}
        return Terms(
            given["threshold"],
            micros(given["period"]),
            micros(given["span"]),
            {reason: micros(one) for reason, one in lasting.items() if one is not None},
        )

    return {"": terms(ChannelSuppression()), **{name: terms(own) for name, own in common.channels.items()}}


# ----------------------------------------------------------------------------------------------------------- watching


def alert_terms(config: Config) -> dict[str, thresholds.Terms]:
    """By what is measured."""
    return {
        name: thresholds.Terms(one.warning, one.alert) for name, one in config.alerts if isinstance(one, Thresholds)
    }


def alert_pace(config: Config) -> thresholds.Pace:
    given = config.alerts
    return thresholds.Pace(micros(given.raise_after), micros(given.clear_after), given.clear_below)


def counted(config: Config) -> tuple[int, int]:
    """How long counts are kept by the minute, and by the hour."""
    return micros(config.retention.minutes), micros(config.retention.hours)
