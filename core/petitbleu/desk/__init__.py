"""What operators ask and do, as `operating` has the contracts: rights, reach and audit are seen to here, once."""

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
