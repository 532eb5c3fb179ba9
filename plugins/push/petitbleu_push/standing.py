"""A message on its way to a device, and how a provider is doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from petitbleu import Check, Outcome, Scope, Unknown

from .fields import PushFields


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be shown, and where."""

    token: str = field(repr=False)
    key: str
    """The message's own, the same for each of its tries."""
    fields: PushFields
    expires: datetime | None = None
    registered: datetime | None = None
    """When the app last told its token to the caller, where that is known."""


@dataclass(slots=True)
class Trouble:
    """The last failure of a provider, until something goes well again."""

    at: float
    text: str


class Standing:
    """From what was seen last: nothing is sent to find out. `clock` counts seconds."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self._clock = clock
        self._trouble: Trouble | None = None
        self._used = False

    def remember(self, outcome: Outcome) -> Outcome:
        self._used = True
        own = isinstance(outcome, Unknown) or getattr(outcome, "scope", None) is Scope.PROVIDER
        self._trouble = Trouble(self._clock(), outcome.text) if own else None
        return outcome

    def check(self, memory: float) -> Check:
        if self._trouble is not None and (ago := self._clock() - self._trouble.at) < memory:
            return Check(self.name, False, f"{ago:.0f} s ago: {self._trouble.text}")
        return Check(self.name, True, "the last message went well" if self._used else "nothing sent yet")
