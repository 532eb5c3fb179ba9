"""Addresses that are not written to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Protocol

from ..types import Operator
from .asking import Actor, Page

ListForm = Literal["csv", "json"]


class SuppressionReason(StrEnum):
    """Why an address is not written to. Of several the first is named."""

    COMPLAINT = "complaint"
    HARD = "hard"
    UNSUBSCRIBED = "unsubscribed"
    MANUAL = "manual"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Suppression:
    """A line of the list. `address` is a key; brand "" is every brand; without `expires` it holds for ever."""

    channel: str
    address: str
    brand: str
    reason: SuppressionReason
    text: str
    created: datetime | None
    expires: datetime | None
    by: str


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """Which entries are meant; what is empty or None leaves it open. An address wants its channel. `expired` takes
    those too that hold no more."""

    channel: str = ""
    address: str = ""
    brand: str | None = None
    reason: str = ""
    expired: bool = False


@dataclass(frozen=True, slots=True)
class ListDefaults:
    """What lines of a list leave open. Numbers without `+` are dialled in `country`."""

    channel: str = ""
    reason: str = SuppressionReason.MANUAL.value
    brand: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Unsuppressed:
    """What was taken off the list, and the addresses (as they were given) that were not on it."""

    gone: Sequence[Suppression]
    missing: Sequence[str]


class SuppressionDesk(Protocol):
    """Addresses that are not written to. Right `suppress`; brands narrow it to their own entries, and an operator whose
    rights are narrowed to event types has no part in it."""

    async def find(
        self, wanted: SuppressionFilter, operator: Operator, limit: int, cursor: str = ""
    ) -> Page[Suppression]:
        """The latest first."""
        ...

    async def add(
        self,
        channel: str,
        address: str,
        actor: Actor,
        *,
        brand: str = "",
        reason: SuppressionReason = SuppressionReason.MANUAL,
        text: str = "",
        expires: datetime | timedelta | None = None,
    ) -> Suppression:
        """Until `expires`, or for so long from now on; None: for ever. An entry of the same channel, address, brand and
        reason is replaced."""
        ...

    async def remove(
        self, channel: str, addresses: Sequence[str], actor: Actor, *, brand: str | None = None, reason: str = ""
    ) -> Unsuppressed: ...

    async def read_in(
        self,
        text: str,
        form: ListForm,
        actor: Actor,
        *,
        defaults: ListDefaults = ListDefaults(),
        name: str = "list",
        rehearsal: bool = False,
    ) -> int:
        """All of a list or nothing; gives the number of its entries. `name` is what problems call it."""
        ...

    def write_out(self, wanted: SuppressionFilter, form: ListForm, operator: Operator) -> AsyncIterator[str]:
        """The list in pieces of text."""
        ...
