"""What there is to see and do, a module for each section."""

from ..site import View
from . import audit, events, installation, now, reports, suppressions, templates

VIEWS: tuple[View, ...] = (
    *now.VIEWS,
    *events.VIEWS,
    *reports.VIEWS,
    *templates.VIEWS,
    *suppressions.VIEWS,
    *installation.VIEWS,
    *audit.VIEWS,
)
