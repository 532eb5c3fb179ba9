"""When something is too much for too long, and when it is well again: thresholds with hysteresis, as values.

A value that crosses a threshold back and forth raises one alert: it must stay beyond for a while to raise it, and well
below for a while to clear it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from ..types import AlertLevel

LEVELS: tuple[AlertLevel, ...] = ("ok", "warning", "alert")
"""From well to worst; numbers of levels are places in it."""
OK, WARNING, ALERT = range(3)

Unit: TypeAlias = Literal["events", "percent", "seconds"]


@dataclass(frozen=True, slots=True)
class Watched:
    """Something with thresholds: its name for people, its unit, and what a value of it says."""

    label: str
    unit: Unit
    text: str


QUEUE, ERROR_RATE, QUEUING, SENDING, PROCESSING = "queue", "error_rate", "queuing", "sending", "processing"
WATCHDOG, DATABASE = "watchdog", "database"

WATCHED = MappingProxyType(
    {
        QUEUE: Watched("queue", "events", "events of the real-time queue are due and not sent"),
        ERROR_RATE: Watched("error rate", "percent", "of the events that ended were not sent"),
        QUEUING: Watched("time in queue", "seconds", "between the time an event is due and the try that sends it"),
        SENDING: Watched("time to send", "seconds", "for handing a message to its provider"),
        PROCESSING: Watched("time to process", "seconds", "between the time an event is due and its being sent"),
        WATCHDOG: Watched("watchdog", "seconds", "since the last watchdog event was pushed that was sent"),
        DATABASE: Watched("database", "seconds", "since the database last answered"),
    }
)
"""By the name of the setting in `alerts`, in the order of listings."""


@dataclass(frozen=True, slots=True)
class Terms:
    """From which value on something is worth a warning, and from which on an alert; None: never."""

    warning: float | None = None
    alert: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a value must have reached a threshold to raise it, and be below `share` of it to let it go; in
    microseconds."""

    raising: int
    clearing: int
    share: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a threshold counts as reached; since `turned` values say the contrary."""

    reached: bool = False
    turned: int | None = None

    def after(self, value: float, threshold: float | None, pace: Pace, now: int) -> Gate:
        if self.reached:
            contrary, wait = threshold is None or value < threshold * pace.share, pace.clearing
        else:
            contrary, wait = threshold is not None and value >= threshold, pace.raising
        if not contrary:
            return Gate(self.reached)
        turned = now if self.turned is None else self.turned
        return Gate(not self.reached) if now - turned >= wait else Gate(self.reached, turned)


@dataclass(frozen=True, slots=True)
class Standing:
    """How something with two thresholds stands."""

    warning: Gate = Gate()
    alert: Gate = Gate()

    @property
    def level(self) -> int:
        return ALERT if self.alert.reached else WARNING if self.warning.reached else OK

    @property
    def settled(self) -> Standing:
        """As it is when nobody looked for so long that what values said before says nothing."""
        return Standing(Gate(self.warning.reached), Gate(self.alert.reached))


def judge(standing: Standing, value: float, terms: Terms, pace: Pace, now: int) -> Standing:
    """How it stands once `value` was measured, at `now` (microseconds)."""
    return Standing(
        standing.warning.after(value, terms.warning, pace, now),
        standing.alert.after(value, terms.alert, pace, now),
    )


def worded(name: str, value: float) -> str:
    """`value` with what it says, for people."""
    watched = WATCHED[name]
    written = f"{value:.0f}" if watched.unit == "events" else f"{value:.1f} {'%' if watched.unit == 'percent' else 's'}"
    return f"{written} {watched.text}"


__all__ = [
    "ALERT",
    "DATABASE",
    "ERROR_RATE",
    "LEVELS",
    "OK",
    "PROCESSING",
    "QUEUE",
    "QUEUING",
    "SENDING",
    "WARNING",
    "WATCHDOG",
    "WATCHED",
    "Gate",
    "Pace",
    "Standing",
    "Terms",
    "judge",
    "worded",
]
