"""A core for tests of the email plugin: it keeps what the plugin tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from petitbleu import (
    Auth,
    Desk,
    Event,
    EventQuery,
    FoundEvent,
    Operator,
    Outbox,
    Queue,
    Receipt,
    Report,
    ReportQuery,
    Services,
)

CREATED = datetime(2026, 11, 23, 10, 0, 0, 250_000, tzinfo=UTC)
ID = (1 << 56) + 4711


@dataclass
class Core:
    """`events` by id; `trouble` is what storing and loading raise."""

    events: dict[int, Event] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    calls: int = 0
    trouble: Exception | None = None

    async def record_receipts(self, receipts: Sequence[Receipt]) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.calls += 1
        self.receipts += receipts

    async def load_event(self, event_id: int) -> Event | None:
        return self.events.get(event_id)

    async def find(self, query: EventQuery, operator: Operator) -> list[FoundEvent]:
        return []

    async def count(self, query: EventQuery, operator: Operator) -> int:
        return 0

    async def report(self, query: ReportQuery, operator: Operator) -> Report:
        return Report(query.kind, query.since, query.until, query.by, ())

    async def pending(self) -> tuple[int, int]:
        return 0, 1

    def event(self, number: int = ID, **values: Any) -> Event:
        """One that is stored."""
        made = Event(number, "test", Queue.REALTIME, "email", {}, values.pop("created", CREATED), **values)
        self.events[number] = made
        return made

    def services(self, cell: int = 1, delivers: bool = True) -> Services:
        return Services(
            instance="test",
            cell=cell,
            public_url="",
            time_zone=UTC,
            body_limit=1,
            event_limit=1000,
            auth=cast(Auth, None),
            statuses={},
            event_types={},
            channels=list,
            find_events=self.find,
            count_events=self.count,
            pending=self.pending,
            load_event=self.load_event,
            now=lambda: CREATED,
            masked=lambda event: event.data,
            record_receipts=self.record_receipts,
            desk=cast(Desk, None),
            report=self.report,
            delivers=delivers,
            outbox=cast(Outbox, None),
        )
