"""Every operation of the door, in the order in which they are described."""

from __future__ import annotations

from . import (
    alerts,
    audit,
    campaign,
    changes,
    events,
    health,
    installation,
    operators,
    publishing,
    pushing,
    reload,
    reports,
    suppressions,
    templates,
)
from .operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *pushing.OPERATIONS,
    *events.OPERATIONS,
    *changes.OPERATIONS,
    *templates.OPERATIONS,
    *publishing.OPERATIONS,
    *suppressions.OPERATIONS,
    *audit.OPERATIONS,
    *reports.OPERATIONS,
    *health.OPERATIONS,
    *alerts.OPERATIONS,
    *operators.OPERATIONS,
    *installation.OPERATIONS,
    *reload.OPERATIONS,
    *campaign.OPERATIONS,
)
