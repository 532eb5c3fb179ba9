"""Every case, by its number."""

from __future__ import annotations

from ..rig import Case
from . import crowds, cuts, failpoints, kills, machine, outages, push, sms, stops, webhooks

_MODULES = (crowds, cuts, failpoints, kills, machine, outages, push, sms, stops, webhooks)
CASES: dict[str, Case] = {
    case.number: case
    for case in sorted(
        (case for module in _MODULES for case in module.CASES),
        key=lambda case: ("FSPW".index(case.number[0]), int(case.number[1:])),
    )
}
