"""What of a ctx is never shown: every place that shows what callers sent asks here first. Templates get all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .data import Element

MASK = "***"
CTX = "ctx"

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Masks:
    """Paths into ctx, such as `user.password`: for every event, and more by event type. `*` is any one step, `**` any
    number of them. A step finds children and attributes, in lists each of their items, in upper and lower case."""

    common: tuple[Path, ...] = ()
    types: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    def masked(self, event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """The data of an event as it may be shown; what was given stays as it is."""
        paths = [*self.common, *self.types.get(event_type, ())]
        if not paths:
            return dict(data)
        return {name: _without(value, paths) if name.lower() == CTX else value for name, value in data.items()}

    def hidden(self, event_type: str, data: Mapping[str, Any]) -> set[str]:
        """The texts that are not shown."""
        paths = [*self.common, *self.types.get(event_type, ())]
        if not paths:
            return set()
        return {text for name, value in data.items() if name.lower() == CTX for text in _hidden(value, paths)}


def parsed(text: str) -> Path:
    """A path as it is written. Raises `ValueError`."""
    steps = tuple(step.lower() for step in text.split("."))
    if not all(step and not step.isspace() for step in steps) or set(steps) <= {"*", "**"}:
        raise ValueError("should be a path into ctx such as user.password, user.* or **.token")
    return steps


def _without(value: Any, paths: Sequence[Path]) -> Any:
    if isinstance(value, list | tuple):
        return [_without(item, paths) for item in value]
    if not isinstance(value, Mapping):
        return value
    shown = {}
    for name, item in value.items():
        step = str(name).lower().removeprefix("@")
        rest = [left for path in paths for left in _after(path, step)]
        # the order of children, and text beside them, are no values of their own
        shown[name] = MASK if () in rest else _without(item, rest) if rest else item
    return Element(shown) if isinstance(value, Element) else shown


def _hidden(value: Any, paths: Sequence[Path]) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _hidden(item, paths)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            step = str(name).lower().removeprefix("@")
            rest = [left for path in paths for left in _after(path, step)]
            yield from _texts(item) if () in rest else _hidden(item, rest)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)


def _after(path: Path, step: str) -> list[Path]:
    """What is left of a path below this step; empty where it leads elsewhere, `()` where it ends here."""
    if not path:
        return []
    first, rest = path[0], path[1:]
    if first == "**":
        # it may end before this step, or go on through it
        return [*_after(rest, step), path]
    return [rest] if first in ("*", step) else []


__all__ = ["MASK", "Masks", "parsed"]
