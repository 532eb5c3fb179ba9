"""What operators ask and do: rights, reach, sizes and audit are seen to here, once for all ways in.

A module for each part of the desk, whose contracts and values are in `operating`. The work itself is done below, by
`status`, `operations`, `templates`, `suppression` and `auth`.
"""

from .audit import DeskAudit
from .entrance import DeskEntrance
from .events import DeskEvents
from .installation import DeskInstallation
from .queue import DeskQueue
from .suppressions import DeskSuppressions
from .templates import DeskTemplates

__all__ = [
    "DeskAudit",
    "DeskEntrance",
    "DeskEvents",
    "DeskInstallation",
    "DeskQueue",
    "DeskSuppressions",
    "DeskTemplates",
]
