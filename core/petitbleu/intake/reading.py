"""One event's attributes, read: each is right, or it is said what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..data import json_size

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")


class Refused(Exception):
    """One attribute cannot be used."""


class Reading:
    """The attributes of one event, and what is wrong with them."""

    __slots__ = ("found", "values")

    def __init__(self, values: Mapping[str, str], found: list[tuple[str, str]]) -> None:
        self.values = values
        self.found = found

    def one(self, name: str, parse: Callable[[str], Any], default: Any = None) -> Any:
        """An attribute as `parse` has it, or the default where it is empty or wrong."""
        given = self.values.get(name)
        if not given or not (text := given.strip()):
            return default
        try:
            return parse(text)
        except (ValueError, Refused) as error:
            self.found.append((name, str(error)))
            return default

    def failed(self) -> set[str]:
        return {name for name, _ in self.found}


def half_characters(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What cannot be stored, nor sent to anybody: JSON can hold it, XML cannot."""
    found = []
    for name, value in data.items():
        try:
            json_size({name: value})
        except UnicodeEncodeError:
            told = name.encode("ascii", "replace").decode()
            found.append((told, "holds half a character (a lone surrogate), which is no text"))
    return found


def read_priority(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or int(text) > 100:
        raise Refused(f"{text[:32]!r} is not a whole number from 0 (first) to 100")
    return int(text)


def read_language(text: str) -> str:
    if not _LANGUAGE.fullmatch(text) or len(text) > 32:
        raise Refused(f"{text[:32]!r} is not a language tag such as fr or fr-CA")
    return text.replace("_", "-")
