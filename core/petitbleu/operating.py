"""What operators ask and do, on whatever way they come: values and contracts of `Services.desk`.

Whoever only looks is an `Operator`; whoever changes something is an `Actor`, and the audit says who it was. A right
that is lacking is `AccessDenied`, what an operator's rights do not reach does not exist, and what cannot be done raises
a `PetitbleuError` in words for the operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from .types import Operator

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


# ------------------------------------------------------------------------------------------------------------- events

EventAction = Literal["cancel", "retry", "resend", "hold", "release"]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant: those that are all of what is said here; what is empty leaves it open.

    `status` is a name of the status table, or `open`: whatever is not sent yet and not paused. `created_since` is the
    first moment, `created_before` the first one after.
    """

    type: str = ""
    status: str = ""
    feedback: str = ""
    external_id: str = ""
    email: str = ""
    mobile_phone: str = ""
    channel: str = ""
    origin: str = ""
    queue: str = ""
    template: str = ""
    created_since: str = ""
    created_before: str = ""


@dataclass(frozen=True, slots=True)
class EventAttempt:
    """A hand-over to a provider. `template` is `type/channel vN`; `scope` and `code` are empty where the outcome has
    none; `awaited` is the number of parts for which a receipt may come."""

    number: int
    channel: str
    provider: str
    template: str
    started: datetime
    ended: datetime
    outcome: str
    scope: str
    code: str
    text: str
    reference: str
    feedback: str
    awaited: int


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """A receipt for attempt `number`: `at` by the provider's clock, `received` by ours."""

    number: int
    channel: str
    provider: str
    state: str
    text: str
    code: str
    scope: str
    permanent: bool
    at: datetime | None
    received: datetime


@dataclass(frozen=True, slots=True)
class EventRecycling:
    """That the event went on by another channel after attempt `number`."""

    at: datetime
    number: int
    origin: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one request. `text` says what was done (or would be), or why not."""

    id: int
    ok: bool
    text: str
    new_id: int | None = None
    """Of a resend: the id of the new event."""


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
