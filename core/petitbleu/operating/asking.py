"""Who asks, and how an answer comes piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..types import Operator

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Actor:
    """An operator at work. `origin` is the way in, such as `cli`, `rest` or `console`; `address` is the IP address,
    where there is one, as seen through the trusted proxies."""

    operator: Operator
    origin: str
    address: str = ""

    @property
    def login(self) -> str:
        return self.operator.login


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A piece of a listing. `cursor` asks for the next one; empty: there is none."""

    items: Sequence[T]
    cursor: str = ""
