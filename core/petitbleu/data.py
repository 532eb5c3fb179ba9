"""Callers' XML and JSON as plain data that templates walk.

An element without attributes and children is its text. Any other is an `Element`: a dict of its children by name (a
list where a name repeats), its attributes under `@name`, its own text under `#text`. `#order` lists the children's
names where different names interleave, so the order of everything survives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from .types import Data

TEXT = "#text"
ORDER = "#order"


class Element(dict[str, Any]):
    """An element: prints as its text; `lookup` finds children first, then attributes."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self.get(TEXT, ""))


MISSING: Any = object()
# orjson would write null for what JSON has no number for
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def lookup(value: Mapping[str, Any], name: str) -> Any:
    """The child `name`, else the attribute `name`, else `MISSING`."""
    found = value.get(name, MISSING)
    return value.get("@" + name, MISSING) if found is MISSING else found


def to_json(value: Data | Mapping[str, Data]) -> str:
    try:
        written = orjson.dumps(value)
    except TypeError:  # what is no Unicode, or a number of more than 64 bits
        return _ENCODER.encode(value)
    return written.decode() if b"null" not in written else _ENCODER.encode(value)


def json_size(value: Data | Mapping[str, Data]) -> int:
    """Bytes of `value` as JSON. Raises `UnicodeEncodeError` where a text in it holds half a character."""
    try:
        return len(orjson.dumps(value))
    except TypeError:  # what is no Unicode, or a number of more than 64 bits
        return len(to_json(value).encode("utf-8"))


def is_storable(text: str) -> bool:
    """Whether every database takes it: no NUL, no half characters (lone surrogates)."""
    if text.isascii():
        return "\0" not in text
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def from_json(text: str) -> Any:
    """The data again, every object as an `Element`."""
    return elements(orjson.loads(text))


def elements(value: Any) -> Any:
    """`value` with every mapping in it as an `Element`."""
    kind = value.__class__
    if kind is str:
        return value
    if kind is dict or isinstance(value, Mapping):
        # nearly all are text
        return Element({key: item if item.__class__ is str else elements(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [elements(item) for item in value]
    return value
