"""How many messages may be with one provider at once, by what it did with the last ones: pure arithmetic.

The scheme is that of Postfix's queue manager (its SCHEDULER_README): a success opens the window by one message per
window, a failure closes it by as much, and after as many failures in a row as the window had places the provider is
taken for dead.
"""

from __future__ import annotations

from dataclasses import dataclass

_SAMPLES = 16
"""How slowly the usual time with the provider follows what is seen."""
_OUTLIER = 4.0
"""One message that takes longer than so many usual ones counts as so many."""


@dataclass(slots=True)
class Window:
    """`limit` is the most it opens to, `start` what it begins with. Never below one: death is another matter."""

    start: int
    limit: int
    size: float = 0.0
    lost: float = 0.0
    """Failures since the last success, as a part of the window; 1 is all of it."""

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.size = float(min(self.start, self.limit))
        self.lost = 0.0

    @property
    def places(self) -> int:
        return int(self.size)

    def succeeded(self) -> None:
        self.lost = 0.0
        if self.size < self.limit:
            self.size = min(float(self.limit), self.size + 1.0 / self.size)

    def answered(self) -> None:
        """It lives, whatever it said."""
        self.lost = 0.0

    def failed(self) -> bool:
        """Whether nothing but failures came from a whole window's worth of messages."""
        self.lost += 1.0 / self.size
        self.size = max(1.0, self.size - 1.0 / self.size)
        return self.lost >= 1.0 - 1e-9

    def resize(self, limit: int) -> None:
        self.limit = limit
        self.size = min(self.size, float(limit))


@dataclass(slots=True)
class Usual:
    """The time a message usually takes, in the unit it is told in; 0 until one has ended."""

    value: float = 0.0

    def saw(self, time: float) -> None:
        time = max(1.0, time)
        self.value = (self.value or time) + (
            min(time, _OUTLIER * (self.value or time)) - (self.value or time)
        ) / _SAMPLES


@dataclass(slots=True)
class Quick:
    """The time that the quicker ones of the messages take; 0 until one has ended. It takes four of five slow ones to
    lift it."""

    value: float = 0.0

    def saw(self, time: float) -> None:
        time = max(1.0, time)
        if not self.value:
            self.value = time
        elif time > self.value:
            self.value = min(time, self.value * (1 + 1 / (4 * _SAMPLES)))
        else:
            self.value += (time - self.value) / _SAMPLES
