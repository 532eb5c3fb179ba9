"""Who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ..types import Operator
from .asking import Page


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change as it is stored. `action` is a word such as `suppressions.add`, `object` what it was done to, such as
    `email/zoe@example.com`; `origin` is empty where feedback did it."""

    id: int
    at: datetime
    by: str
    origin: str
    address: str
    action: str
    object: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """`action` may be the beginning of one, such as `suppressions`."""

    action: str = ""
    object: str = ""
    by: str = ""
    origin: str = ""


class AuditDesk(Protocol):
    """Who changed what."""

    async def find(self, wanted: AuditFilter, operator: Operator, limit: int, cursor: str = "") -> Page[AuditEntry]:
        """The latest first. Right `audit`, and no narrowing."""
        ...
