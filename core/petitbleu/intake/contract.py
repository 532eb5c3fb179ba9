"""What an event type demands of its ctx: paths that must be there, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from ..data import MISSING, Element, json_size, lookup


def _text(value: Any) -> bool:
    return isinstance(value, str | int | float) or (isinstance(value, Element) and str(value) != "")


def _filled(value: Any) -> bool:
    return _text(value) and str(value).strip() != ""


def _number(value: Any) -> bool:
    try:
        return _text(value) and Decimal(str(value).strip()).is_finite()
    except InvalidOperation:
        return False


def _integer(value: Any) -> bool:
    return _number(value) and Decimal(str(value).strip()).to_integral_value() == Decimal(str(value).strip())


def _date(value: Any) -> bool:
    text = str(value).strip()
    for parse in (date.fromisoformat, datetime.fromisoformat):
        try:
            parse(text)
        except ValueError:
            continue
        return _text(value)
    return False


def _boolean(value: Any) -> bool:
    return isinstance(value, bool) or (_text(value) and str(value).strip().lower() in ("true", "false", "0", "1"))


KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("text that is not empty", _filled),
    "number": ("a number", _number),
    "integer": ("a whole number", _integer),
    "date": ("an ISO 8601 date or time", _date),
    "boolean": ("true or false", _boolean),
    "list": ("one element or more", lambda value: value not in ("", None, [])),
    "any": ("anything", lambda value: True),
}


@dataclass(frozen=True, slots=True)
class Contract:
    """`required` maps a path in ctx (`order.number`) to a kind of `KINDS`; `max_size` is in bytes of JSON."""

    required: Mapping[str, str]
    max_size: int | None = None

    def problems(self, ctx: Any) -> list[tuple[str, str]]:
        """(path, what is wrong) for everything that is. A path through a list must hold for each of its elements."""
        found = []
        if self.max_size is not None:
            size = json_size(ctx if ctx is not None else "")
            if size > self.max_size:
                found.append(("ctx", f"has {size} bytes; the limit of this type is {self.max_size}"))
        for path, kind in self.required.items():
            words, holds = KINDS[kind]
            names = path.split(".")
            if (plain := _plain(ctx, names)) is not None and holds(plain):
                continue
            for where, value in _walk(ctx, names, "ctx", whole=kind == "list"):
                if value is MISSING:
                    found.append((where, f"is missing; the event type requires {words}"))
                elif not holds(value):
                    found.append((where, f"should be {words}"))
        return found


def _plain(value: Any, names: list[str]) -> Any:
    """What stands at a path that leads through single elements only, to text; else None."""
    for name in names:
        if value.__class__ is not Element:
            return None
        value = lookup(value, name)
    return value if value.__class__ is str else None


def _walk(value: Any, names: list[str], where: str, whole: bool) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and not (whole and not names):
        for position, item in enumerate(value, 1):
            yield from _walk(item, names, f"{where}[{position}]", whole)
        return
    if not names:
        yield where, value
        return
    inner = lookup(value, names[0]) if isinstance(value, Mapping) else MISSING
    where = f"{where}.{names[0]}"
    if inner is MISSING:
        yield where, MISSING
    else:
        yield from _walk(inner, names[1:], where, whole)
