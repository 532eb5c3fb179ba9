"""What operators ask and do, as `operating.py` has the contracts: rights, reach and audit are seen to here, once."""

from .audit import DeskAudit
from .events import DeskEvents
from .suppressions import DeskSuppressions
from .templates import DeskTemplates

__all__ = ["DeskAudit", "DeskEvents", "DeskSuppressions", "DeskTemplates"]
