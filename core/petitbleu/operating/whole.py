"""The desk as one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..types import Alert, Operator
from .audit import AuditDesk
from .events import EventDesk, QueueLine
from .installation import EntranceDesk, Health, InstallationDesk
from .suppressions import SuppressionDesk
from .templates import TemplateDesk


@dataclass(frozen=True, slots=True)
class Desk:
    """What operators ask and do: the same on the command line, over JSON and on pages, with the same rights and the
    same audit."""

    events: EventDesk
    templates: TemplateDesk
    suppressions: SuppressionDesk
    audit: AuditDesk
    installation: InstallationDesk
    entrance: EntranceDesk
    health: Callable[[], Awaitable[Health]]
    """Of this process. Asks for no right: `/readyz` tells it to everybody."""
    alerts: Callable[[Operator], Awaitable[Sequence[Alert]]]
    """How all that has thresholds stands, in the whole installation. Right `read`."""
    queue: Callable[[Operator], Awaitable[Sequence[QueueLine]]]
    """What is open, by queue and channel, as of about a second ago. Right `read`."""
