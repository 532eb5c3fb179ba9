"""A bounded memory of things that soon go stale."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """At most `most` values, each for `seconds` after it was put in; the oldest goes first."""

    def __init__(self, most: int, seconds: float, now: Callable[[], datetime]) -> None:
        self._most = most
        self._span = timedelta(seconds=seconds)
        self._now = now
        self._values: OrderedDict[K, tuple[datetime, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        until, value = self._values.get(key, (None, None))
        if until is None or until <= self._now():
            self._values.pop(key, None)
            return None
        return value

    def put(self, key: K, value: V) -> None:
        self._values[key] = (self._now() + self._span, value)
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        self._values.pop(key, None)
