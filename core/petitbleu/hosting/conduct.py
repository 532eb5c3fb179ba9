"""What plugins did that they should not have: counted for ever, remembered for a while for the health page, and put
into words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..types import Check

SILENT = 2.0
"""Seconds without an answer after which an observer with many open calls is told no more."""
LOST = 3
"""Calls in a row that an observer has not answered in time, after which it is tried now and then."""
MOST_CAUSE = 1000
"""Characters of what a plugin raised or answered, where that is told."""
MOST_LINES = 5
"""Of a trace, in the log."""
_OURS = tuple(str(Path(__file__).with_name(name)) for name in ("calling.py", "calls.py", "patience.py"))


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
        self.clock = clock
        self._troubles: dict[tuple[str, str, str], Trouble] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        """(plugin, hook) → how often it failed."""
        self.left: Counter[tuple[str, str]] = Counter()
        """(plugin, hook) → calls that went on though they were cancelled, and were left."""
        self.unheard: Counter[tuple[str, str]] = Counter()
        """(plugin, hook) → news that it was not told, since it did not answer."""
        self.stood: Counter[tuple[str, str]] = Counter()
        """(plugin, hook) → seconds for which it kept the process from all other work."""

    def failed(self, plugin: str, hook: str, what: str) -> None:
        """`what` is shown without a login: it says no more than the kind of failure."""
        self.failures[plugin, hook] += 1
        self._note(plugin, hook, "failed", what)

    def was_left(self, plugin: str, hook: str) -> None:
        self.left[plugin, hook] += 1
        self._note(plugin, hook, "left", "goes on though it was cancelled, and was left")

    def missed(self, plugin: str, hook: str) -> None:
        self.unheard[plugin, hook] += 1
        self._note(plugin, hook, "missed", "hears nothing of what happens, since it does not answer")

    def blocked(self, plugin: str, hook: str, seconds: float) -> None:
        self.stood[plugin, hook] += seconds  # type: ignore[assignment]  # a Counter counts what can be added
        self._note(plugin, hook, "blocked", f"kept the process from all other work, for {seconds:.1f} s")

    def _note(self, plugin: str, hook: str, kind: str, what: str) -> None:
        key, now = (plugin, hook, kind), self.clock()
        trouble = self._troubles.get(key)
        if trouble is None or now - trouble.last > self._remembered:
            self._troubles[key] = Trouble(what, 1, now)
        else:
            trouble.what, trouble.times, trouble.last = what, trouble.times + 1, now

    def checks(self) -> dict[str, list[Check]]:
        """By plugin, a warning for each kind of trouble with each hook."""
        found: dict[str, list[Check]] = {}
        now = self.clock()
        for (plugin, hook, _), one in list(self._troubles.items()):
            age = now - one.last
            if age <= self._remembered:
                often = "once" if one.times == 1 else f"{one.times} times"
                text = f"{often}, last {age:.0f} s ago: {one.what}"
                found.setdefault(plugin, []).append(Check(hook or "loop", True, text, warning=True))
        return found


class Ear:
    """Whether a plugin is told news: one that does not answer keeps nobody waiting.

    `most` of its calls may be open while none is answered, and after `LOST` that were not answered in time it is tried
    once in `pause` seconds. Whoever answers at last is told again.
    """

    def __init__(self, most: int, pause: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._pause = pause
        self._clock = clock
        self._under_way = 0
        self._answered = 0.0
        self._lost = 0
        self._again = 0.0
        self.deaf = False
        """It misses news, and that was said."""

    def open(self) -> bool:
        """Whether it is told the next one; then `closed` follows."""
        now = self._clock()
        if self._under_way == 0:
            self._answered = now
        if self._under_way >= self._most and now - self._answered > SILENT:
            return False
        if self._lost >= LOST:
            if now < self._again:
                return False
            self._again = now + self._pause
        self._under_way += 1
        return True

    def closed(self, hung: bool) -> None:
        now = self._clock()
        self._under_way -= 1
        if hung:
            self._lost += 1
            self._again = now + self._pause
        else:
            self._lost = 0
            self._answered = now
            self.deaf = False


def words(error: BaseException) -> str:
    """What was raised, in words."""
    return f"{type(error).__name__}: {shown(error, str)}"


def shown(value: object, write: Callable[[object], str] = repr) -> str:
    """As text, which a plugin's own class may make as long as it likes, or fail to make."""
    try:
        return write(value)[:MOST_CAUSE]
    except (Exception, SystemExit):
        return f"a {type(value).__name__} that cannot be shown"


def place(trace: TracebackType | None) -> str:
    """The innermost lines of a trace, the last one first, without what our own part of it is."""
    lines = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename not in _OURS:
            lines.append(line_of(code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return " < ".join(lines[: -MOST_LINES - 1 : -1])


def line_of(file: str, line: int | None, name: str) -> str:
    path = Path(file)
    return f"{path.parent.name}/{path.name}:{line} {name}"


__all__ = ["Conduct", "Ear", "Trouble", "line_of", "place", "shown", "words"]
