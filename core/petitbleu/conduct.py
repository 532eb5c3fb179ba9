"""What plugins did that they should not have: counted for ever, and remembered for a while for the health page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from .types import Check


@dataclass(slots=True)
class Trouble:
    """Of one kind, with one hook; `times` since it was last forgotten, `last` by the clock."""

    what: str
    times: int
    last: float


class Conduct:
    """`clock` counts seconds; `remembered` is how long the health page tells of a thing after it was last seen.

    Written to by the loop's thread and by the watchdog's.
    """

    def __init__(self, remembered: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._remembered = remembered
        self._clock = clock
        self._troubles: dict[tuple[str, str, str], Trouble] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        """(plugin, hook) → how often it failed."""
        self.left: Counter[tuple[str, str]] = Counter()
        """(plugin, hook) → calls that went on though they were cancelled, and were left."""

    def failed(self, plugin: str, hook: str, what: str) -> None:
        """`what` is shown without a login: it says no more than the kind of failure."""
        self.failures[plugin, hook] += 1
        self._note(plugin, hook, "failed", what)

    def was_left(self, plugin: str, hook: str) -> None:
        self.left[plugin, hook] += 1
        self._note(plugin, hook, "left", "goes on though it was cancelled, and was left")

    def _note(self, plugin: str, hook: str, kind: str, what: str) -> None:
        key, now = (plugin, hook, kind), self._clock()
        trouble = self._troubles.get(key)
        if trouble is None or now - trouble.last > self._remembered:
            self._troubles[key] = Trouble(what, 1, now)
        else:
            trouble.what, trouble.times, trouble.last = what, trouble.times + 1, now

    def checks(self) -> dict[str, list[Check]]:
        """By plugin, a warning for each kind of trouble with each hook."""
        found: dict[str, list[Check]] = {}
        now = self._clock()
        for (plugin, hook, _), one in list(self._troubles.items()):
            age = now - one.last
            if age <= self._remembered:
                often = "once" if one.times == 1 else f"{one.times} times"
                text = f"{often}, last {age:.0f} s ago: {one.what}"
                found.setdefault(plugin, []).append(Check(hook, True, text, warning=True))
        return found


__all__ = ["Conduct", "Trouble"]
