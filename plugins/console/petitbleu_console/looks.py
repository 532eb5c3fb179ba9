"""How pages write times, durations and numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from petitbleu import Services


def filters(services: Services) -> dict[str, Callable[..., Any]]:
    """For templates."""

    def moment(value: datetime | None) -> str:
        """To the second, in the instance's time zone."""
        return "" if value is None else f"{value.astimezone(services.time_zone):%Y-%m-%d %H:%M:%S}"

    def precise(value: datetime | None) -> str:
        return "" if value is None else f"{value.astimezone(services.time_zone):%H:%M:%S.%f}"[:-3]

    return {
        "moment": moment,
        "precise": precise,
        "span": span,
        "count": count,
        "measure": measure,
        "measured": lambda alert: measure(alert.value, alert.unit),
    }


def span(seconds: float | None) -> str:
    """A duration as people read it."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} d"


def measure(value: float | None, unit: str) -> str:
    """What an alert is about, by its unit."""
    if value is None:
        return "–"
    return span(value) if unit == "seconds" else f"{value:g} %" if unit == "percent" else count(value)


def count(value: float | None) -> str:
    """Thousands apart by a narrow space (ISO 80000-1)."""
    if value is None:
        return "–"
    return f"{value:,.1f}".replace(",", "\u202f") if value % 1 else f"{int(value):,}".replace(",", "\u202f")
