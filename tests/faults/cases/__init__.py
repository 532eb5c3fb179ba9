"""Every case, by its number."""

from __future__ import annotations

from ..rig import Case
from . import failpoints

CASES: dict[str, Case] = {case.number: case for module in (failpoints,) for case in module.CASES}
