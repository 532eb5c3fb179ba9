"""What went in and out, how long it took, and what failed: the three reports, from counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from petitbleu import ReportQuery
from pydantic import AwareDatetime, BeforeValidator, Field

from .operation import Answer, Call, Given, Operation, Success, Told

DAY = timedelta(days=1)
_FIRST = datetime(1, 1, 2, tzinfo=UTC)
"""There is no day before the one before it."""


def _written(value: Any) -> Any:
    """No number, which would be taken for seconds since 1970."""
    if isinstance(value, str) and not any(sign in value for sign in ":T"):
        raise ValueError("must be a time with a date and a zone, such as 2026-11-29T09:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


class ErrorKind(Told):
    """Events that ended unsent for one cause."""

    status: str
    cause: str
    events: int
    share: float = Field(description="Of all that ended.")
    filter: dict[str, str] | None = Field(None, description="Lists these events, as `petitbleu events list` has it.")


class ReportLine(Told):
    keys: dict[str, str] = Field(description="What the line stands for, by the names of `by`.")
    values: dict[str, float | None] = Field(description="Numbers of events, seconds, or shares of 1; null: not known.")
    errors: tuple[ErrorKind, ...] = ()


class Report(Told):
    """A report over a period, `until` not in it."""

    kind: str
    since: datetime
    until: datetime
    by: tuple[str, ...]
    lines: tuple[ReportLine, ...]


class ReportPath(Given):
    kind: Literal["service-level", "processing-time", "history"]


class ReportParameters(Given):
    since: Moment | None = Field(None, description="Begin of the period; without it, a day before its end.")
    until: Moment | None = Field(None, description="End of the period; without it, now.")
    by: str = Field(
        "",
        description="What a line stands for, with commas: `period`, `type`, `channel`, `brand`, `origin`; of `history` "
        "also `status` and `cause`.",
    )
    every: Literal["minute", "hour", "day", "month"] = Field("day", description="How long a `period` is.")
    type: str = Field("", description="Only this event type.")
    channel: str = Field("", description="Only this channel.")
    brand: str = Field("", description="Only this brand.")
    origin: str = Field("", description="Only what came from this system.")


async def get_report(call: Call, path: ReportPath, query: ReportParameters) -> Answer:
    until = query.until or call.door.services.now()
    asked = ReportQuery(
        path.kind.replace("-", "_"),
        query.since or max(until, _FIRST) - DAY,
        until,
        tuple(filter(None, query.by.split(","))),
        query.every,
        *(tuple(filter(None, (one,))) for one in (query.type, query.channel, query.brand, query.origin)),
    )
    found = await call.door.services.report(asked, call.operator)
    lines = tuple(
        ReportLine(
            keys=dict(line.keys),
            values=dict(line.values),
            errors=tuple(
                ErrorKind(
                    status=one.status,
                    cause=one.cause,
                    events=one.events,
                    share=one.share,
                    filter=None if one.filter is None else dict(one.filter),
                )
                for one in line.errors
            ),
        )
        for line in found.lines
    )
    return Answer(200, Report(kind=path.kind, since=found.since, until=found.until, by=found.by, lines=lines))


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v1/reports/{kind}",
        name="getReport",
        summary="What went in and out, how long it took, or what became of it",
        text="From counts that are kept longer than the events; a period that lies far back is widened to full hours "
        "or days. Of what the operator may read.",
        tag="Reports",
        right="read",
        run=get_report,
        parameters=ReportPath,
        query=ReportParameters,
        answers={200: Success("The report.", Report)},
    ),
)
