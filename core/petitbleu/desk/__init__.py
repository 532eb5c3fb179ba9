"""What operators ask and do, as `operating.py` has the contracts: rights, reach and audit are seen to here, once."""

from .audit import DeskAudit
from .events import DeskEvents
from .installation import DeskInstallation
from .suppressions import DeskSuppressions
from .templates import DeskTemplates

__all__ = ["DeskAudit", "DeskEvents", "DeskInstallation", "DeskSuppressions", "DeskTemplates"]
