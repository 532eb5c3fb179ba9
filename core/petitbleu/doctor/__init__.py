"""What `petitbleu doctor` finds: how an installation is, what is wrong with it, and what to do.

`checkup.py` asks the parts of the installation, `domains.py` the DNS of the domains that emails come from.
"""

from .checkup import AREAS, checkup
from .domains import look_up, resolver
from .findings import Finding, Level

__all__ = ["AREAS", "Finding", "Level", "checkup", "look_up", "resolver"]
