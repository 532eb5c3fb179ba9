"""An open installation as a value: every part by its name, and what it has from outside."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..alerts.alerting import Alerting
from ..alerts.notifying import Notifier
from ..alerts.watchdog import Watchdog
from ..archive import Archiver
from ..auth import Authenticator, Tokens
from ..config import Config
from ..delivery.worker import Worker
from ..failpoints import Failpoints, read_failpoints
from ..health import Watch
from ..horizon import HorizonWatch
from ..hosting.calls import Calls
from ..hosting.offspring import Offspring
from ..hosting.owners import Owners
from ..hosting.plugins import Loaded
from ..intake.gate import Gate
from ..intake.intake import Intake
from ..metrics import Metrics
from ..operations.operations import Operations
from ..outbox.telling import Telling
from ..outbox.waiting import Waiting
from ..queue.queue import WorkQueue
from ..queue.wakeup import Wakeup
from ..receipts.decisions import Decisions
from ..receipts.receipts import Receipts
from ..reports.rollup import Rollup
from ..reports.tally import Tally
from ..retention import Purge
from ..services import Services
from ..status import Status
from ..store import Store
from ..suppression.guard import Suppressions
from ..suppression.register import Register
from ..templates import Drafts, Templates
from ..throttle import Throttle
from ..types import Channel, Queue


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
    waiting: Waiting
    """How much waits to be told."""
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
class Surroundings:
    """What an instance has from outside, as a process has it; tests give their own."""

    plugins: Mapping[str, object] = field(default_factory=dict)
    """By name, modules or objects to use in place of what is installed."""
    failpoints: Failpoints | None = field(default_factory=lambda: read_failpoints(os.environ))
    shift: int = 0
    """Microseconds by which the database's clock runs ahead."""
    random: Callable[[], float] = random.random
