"""What the other values are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

Data: TypeAlias = "dict[str, Data] | list[Data] | str | int | float | bool | None"


class Settings(BaseModel):
    """Base of every settings and template-field model: an unknown key is refused, a built value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Queue(StrEnum):
    """Real time is served before batch."""

    REALTIME = "realtime"
    BATCH = "batch"


class Scope(StrEnum):
    """Whose fault an outcome is. Only `ADDRESS` says anything about the recipient."""

    ADDRESS = "address"
    MESSAGE = "message"
    PROVIDER = "provider"
    US = "us"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a health report. With `warning` it is `ok`, but somebody should look."""

    name: str
    ok: bool
    text: str
    warning: bool = False
