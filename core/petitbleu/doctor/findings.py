"""One line of what was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`PROBLEM` is what keeps messages from arriving, or will."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`name` is what was looked at, such as a provider or a domain; `todo` what to do, where there is something."""

    area: str
    name: str
    level: Level
    text: str
    todo: str = ""
