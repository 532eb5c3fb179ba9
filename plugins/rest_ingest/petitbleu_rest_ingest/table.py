"""Every operation of the door, in the order in which they are described."""

from __future__ import annotations

from . import campaign, events, pushing
from .operation import Operation

OPERATIONS: tuple[Operation, ...] = (*pushing.OPERATIONS, *events.OPERATIONS, *campaign.OPERATIONS)
