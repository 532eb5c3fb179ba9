"""What the parts of one installation have in common."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from ..config import Config
from ..hosting.calls import Calls
from ..metrics import Metrics
from ..queue.queue import WorkQueue
from ..reports.tally import Tally
from ..store import Store
from ..types import Channel
from .parts import Surroundings
from .planning import Plan
from .terms import brand_of


@dataclass(frozen=True, slots=True)
class Ground:
    """What a part is given that many others are given too."""

    planned: Plan
    config: Config
    calls: Calls
    channels: Mapping[str, Channel]
    addresses: Mapping[str, str]
    """By channel, the attribute that has its address."""
    brands: Mapping[str, str]
    """By event type."""
    zone: tzinfo
    cell: int
    store: Store
    queue: WorkQueue
    metrics: Metrics
    tally: Tally
    random: Callable[[], float]

    @property
    def holder(self) -> str:
        """This process among all that use the database."""
        return f"{socket.gethostname()[:40]}/{self.queue.incarnation}"

    def now(self) -> datetime:
        """By the database's clock."""
        return datetime.fromtimestamp(self.store.now() / 1e6, UTC)


def prepare(planned: Plan, store: Store, around: Surroundings) -> Ground:
    config, calls, channels = planned.config, planned.calls, planned.channels
    metrics = Metrics()
    metrics.safe_mode(calls.safe_mode is not None)
    calls.limit_reached = metrics.limit_reached
    brands = {name: brand_of(config, name) for name in config.event_types}
    windows = {name: one.idempotency for name, one in config.event_types.items() if one.idempotency is not None}
    tally = Tally(brands, config.limits.origins)
    cell, lease = config.instance.cell, config.delivery.lease
    return Ground(
        planned,
        config,
        calls,
        channels,
        {name: channel.address for name, channel in channels.items()},
        brands,
        config.instance.time_zone,
        cell,
        store,
        WorkQueue(store, cell, lease, windows, metrics, config.limits.call_keys, tally),
        metrics,
        tally,
        around.random,
    )
