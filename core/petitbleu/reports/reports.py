"""The three reports: service level, processing time, history. They are read from counts, never from events.

`compute` is a function of rows; `Reports` reads the rows, no more than an operator may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from operator import add
from typing import Any

from ..errors import AccessDenied, QueryRefused
from ..lifecycle import EXPIRED, FAILED, IGNORED, NOT_COVERED, SENT
from ..services import ErrorKind, Report, ReportLine, ReportQuery
from ..store import Store
from ..store.payload import micros, moment
from ..store.statistics import LEAST, MEASURES, MOST, SUMS, aggregated
from ..suggest import did_you_mean
from ..types import Operator
from .rollup import DAYS, HOURS, MINUTES, RAW, day_of
from .tally import ACCEPTED, BINS, QUEUED, REOPENED, RETRIED

KINDS = ("service_level", "processing_time", "history")
DIMENSIONS = ("period", "type", "channel", "brand", "origin", "status", "cause")
PERIODS = ("minute", "hour", "day", "month")
ERRORS = (FAILED, EXPIRED, NOT_COVERED, IGNORED)
"""What counts as an error: whatever ended without being sent."""
MOST_ROWS = 100_000
MOST_DAYS = timedelta(days=4000)
"""Of a report by day or month, whose parts between two changes of the clocks are looked for one by one."""
_TOO_MANY = "the report would have too many lines; ask for a shorter period, or for less"
_COLUMNS = {"status": "fact"}
_SIZES = {"minute": MINUTES, "hour": HOURS, "day": DAYS, "month": DAYS}
_MICRO = 1_000_000

_MEASURES: Mapping[str, Sequence[str]] = {
    "history": ("events",),
    "service_level": ("events", "timed", "sending"),
    "processing_time": MEASURES,
}
"""What each report reads."""
_JOIN: Mapping[str, Callable[[int, int], int]] = {
    **dict.fromkeys(SUMS, add),
    **dict.fromkeys(LEAST, min),
    **dict.fromkeys(MOST, max),
}

Row = Mapping[str, Any]


@dataclass(slots=True)
class Counts:
    """Rows added up."""

    values: dict[str, int | None] = field(default_factory=dict)

    def add(self, row: Row, names: Iterable[str] = MEASURES) -> None:
        for name in names:
            if (new := row[name]) is not None:
                old = self.values.get(name)
                self.values[name] = int(new) if old is None else _JOIN[name](old, int(new))

    def __getitem__(self, name: str) -> int:
        return self.values.get(name) or 0

    def seconds(self, name: str, ending: str = "") -> float | None:
        value = self.values.get(name + ending)
        return None if value is None else value / _MICRO

    def average(self, name: str) -> float | None:
        timed, total = self["timed"], self.seconds(name)
        return None if not timed or total is None else total / timed

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the events was processed, as exactly as the bins tell."""
        timed = self["timed"]
        least, most = self.seconds("processing", "_min"), self.seconds("processing", "_max")
        if not timed or least is None or most is None:
            return None
        wanted, before = share * timed, 0
        for number in range(len(BINS) + 1):
            inside = self[f"bin{number}"]
            if inside and before + inside >= wanted:
                low = BINS[number - 1] if number else 0.0
                high = BINS[number] if number < len(BINS) else most
                found = low + (high - low) * (wanted - before) / inside
                return min(max(found, least), most)
            before += inside
        return most


# ----------------------------------------------------------------------------------------------------------- computing


def compute(query: ReportQuery, rows: Iterable[Row], zone: tzinfo) -> Report:
    """The report of rows that have the dimensions of `query.by`, `fact` and `cause`, and the counts; `start` if one of
    them is the period."""
    groups: dict[tuple[str, ...], dict[tuple[str, str], Counts]] = {}
    periods: dict[str, tuple[int, int]] = {}
    for row in rows:
        key: list[str] = []
        for name in query.by:
            if name == "period":
                label, span = _period(int(row["start"]), query.every, zone)
                periods[label] = span
                key.append(label)
            else:
                key.append(row[_COLUMNS.get(name, name)])
        counts = groups.setdefault(tuple(key), {}).setdefault((row["fact"], row["cause"]), Counts())
        counts.add(row, _MEASURES[query.kind])
    make = {"service_level": _service_level, "processing_time": _processing_time, "history": _history}[query.kind]
    lines = []
    for group, facts in sorted(groups.items()):
        keys = dict(zip(query.by, group, strict=True))
        since, until = _within(query, periods.get(keys.get("period", "")))
        lines.append(make(replace(query, since=since, until=until), keys, facts))
    if not query.by and not lines:
        lines = [make(query, {}, {})]
    return Report(query.kind, query.since, query.until, query.by, tuple(lines))


def _within(query: ReportQuery, span: tuple[int, int] | None) -> tuple[datetime, datetime]:
    if span is None:
        return query.since, query.until
    return max(query.since, moment(span[0])), min(query.until, moment(span[1]))


def _period(start: int, every: str, zone: tzinfo) -> tuple[str, tuple[int, int]]:
    local = moment(start).astimezone(zone)
    if every == "month":
        return f"{local:%Y-%m}", _month(local, zone)
    if every == "day":
        return f"{local:%Y-%m-%d}", day_of(start, zone)
    size = _SIZES[every] * _MICRO
    begin = start - start % size
    return moment(begin).astimezone(zone).isoformat(timespec="minutes"), (begin, begin + size)


def _month(local: datetime, zone: tzinfo) -> tuple[int, int]:
    """When the month of that moment begins and ends."""
    first = datetime(local.year, local.month, 1, tzinfo=zone)
    following = (first + timedelta(days=32)).replace(day=1)
    return micros(first.astimezone(UTC)), micros(following.astimezone(UTC))


def _of(facts: Mapping[tuple[str, str], Counts], *names: str) -> int:
    return sum(counts["events"] for (fact, _), counts in facts.items() if fact in names)


def _service_level(query: ReportQuery, keys: Mapping[str, str], facts: Mapping[tuple[str, str], Counts]) -> ReportLine:
    incoming, sent, errors = _of(facts, ACCEPTED), _of(facts, SENT), _of(facts, *ERRORS)
    hours = max((query.until - query.since).total_seconds(), 60.0) / 3600
    ended = sent + errors
    kinds = [
        ErrorKind(
            fact,
            cause,
            counts["events"],
            counts["events"] / ended,
            _filter(query, keys, fact, cause),
        )
        for (fact, cause), counts in sorted(facts.items(), key=lambda one: (-one[1]["events"], one[0]))
        if fact in ERRORS
    ]
    values: dict[str, int | float | None] = {
        "incoming": incoming,
        "incoming_per_hour": incoming / hours,
        "outgoing": sent,
        "outgoing_per_hour": sent / hours,
        "sending_avg": facts.get((SENT, ""), Counts()).average("sending"),
        "errors": errors,
        "error_rate": errors / ended if ended else None,
        "retried": _of(facts, RETRIED),
        "reopened": _of(facts, REOPENED),
    }
    return ReportLine(keys, values, tuple(kinds), _filter(query, keys, "", ""))


def _processing_time(
    query: ReportQuery, keys: Mapping[str, str], facts: Mapping[tuple[str, str], Counts]
) -> ReportLine:
    sent, queued = facts.get((SENT, ""), Counts()), facts.get((QUEUED, ""), Counts())
    values: dict[str, int | float | None] = {"events": sent["timed"]}
    for name in ("queuing", "sending", "processing"):
        values[f"{name}_avg"] = sent.average(name)
        values[f"{name}_min"] = sent.seconds(name, "_min")
        values[f"{name}_max"] = sent.seconds(name, "_max")
    for percent in (50, 95, 99):
        values[f"processing_p{percent}"] = sent.quantile(percent / 100)
    samples = queued["events"]
    values["queued_avg"] = queued["depth"] / samples if samples else None
    values["queued_min"] = queued.values.get("depth_min")
    values["queued_max"] = queued.values.get("depth_max")
    return ReportLine(keys, values, (), _filter(query, keys, SENT, ""))


def _history(query: ReportQuery, keys: Mapping[str, str], facts: Mapping[tuple[str, str], Counts]) -> ReportLine:
    events = sum(counts["events"] for counts in facts.values())
    return ReportLine(keys, {"events": events}, (), _filter(query, keys, keys.get("status", ""), keys.get("cause", "")))


def _filter(query: ReportQuery, keys: Mapping[str, str], status: str, cause: str) -> Mapping[str, str] | None:
    """What `petitbleu events list` needs to list the events of a line, as they are now: what was opened again since is
    under what it became. None: a line about steps on the way, which no event's record keeps."""
    if status not in ("", ACCEPTED, SENT, *ERRORS):
        return None
    when = "ended" if status in (SENT, *ERRORS) else "created"
    found = {f"{when}_since": _written(query.since), f"{when}_before": _written(query.until)}
    if when == "ended":
        found["status"] = status
    if cause:
        found["cause"] = cause
    for name, values in (
        ("type", query.types),
        ("channel", query.channels),
        ("brand", query.brands),
        ("origin", query.origins),
    ):
        value = keys.get(name, values[0] if len(values) == 1 else "")
        if value:
            found[name] = value
    return found


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# ------------------------------------------------------------------------------------------------------------- reading


class Reports:
    """`brands` maps every event type to its brand; `minutes` and `hours` are how long counts are kept by them, in
    microseconds like `now`."""

    def __init__(
        self,
        store: Store,
        brands: Mapping[str, str],
        zone: tzinfo,
        minutes: int,
        hours: int,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._brands = brands
        self._zone = zone
        self._minutes = minutes
        self._hours = max(minutes, hours)
        self._now = now

    async def read(self, query: ReportQuery, operator: Operator) -> Report:
        """Raises `QueryRefused`, `AccessDenied`."""
        query = self._checked(query)
        types = self._readable(query, operator)
        rows: list[Row] = []
        for statement, values in self._statements(query, types):
            rows += await self._store.read(f"{statement} LIMIT {MOST_ROWS}", values)
            if len(rows) >= MOST_ROWS:
                raise QueryRefused(_TOO_MANY)
        return compute(query, rows, self._zone)

    def _checked(self, query: ReportQuery) -> ReportQuery:
        _known("report", query.kind, KINDS)
        _known("every", query.every, PERIODS)
        for name in query.by:
            _known("by", name, DIMENSIONS)
        if query.kind != "history" and {"status", "cause"} & {*query.by}:
            raise QueryRefused("by status or cause is the report history alone")
        if len({*query.by}) != len(query.by):
            raise QueryRefused("by names a dimension twice")
        try:
            since, until = self._rounded(query.since), self._rounded(min(query.until, moment(self._now())), up=True)
        except OverflowError:
            raise QueryRefused("the period lies beyond the years 1 to 9999") from None
        if since >= until:
            raise QueryRefused("the period ends before it begins, or lies in the future")
        if "period" in query.by and query.every in ("day", "month") and until - since > MOST_DAYS:
            raise QueryRefused(_TOO_MANY)
        return replace(query, since=since, until=until)

    def _rounded(self, at: datetime, up: bool = False) -> datetime:
        """To full minutes, hours or days, as finely as is known of that time."""
        exact, age = micros(at), self._now() - micros(at)
        if age > self._hours:
            begin, end = day_of(exact, self._zone)
        else:
            size = (HOURS if age > self._minutes else MINUTES) * _MICRO
            begin = exact - exact % size
            end = begin + size
        return moment(end if up and exact > begin else begin)

    def _readable(self, query: ReportQuery, operator: Operator) -> tuple[str, ...] | None:
        """The types to read, None: all."""
        if not operator.may("read"):
            raise AccessDenied
        if operator.event_types is None and operator.brands is None:
            return query.types or None
        readable = [name for name, brand in self._brands.items() if operator.may("read", name, brand)]
        return tuple(name for name in readable if not query.types or name in query.types)

    def _statements(self, query: ReportQuery, types: tuple[str, ...] | None) -> Iterator[tuple[str, list[Any]]]:
        """What to read, with parameters, our own words but for these."""
        terms, values = _terms(query, types)
        wanted = f"fact = '{SENT}'" if query.kind == "processing_time" else f"fact <> '{QUEUED}'"
        parts = [([wanted, *terms], values)]
        if query.kind == "processing_time" and (depth := _depth(query, types)) is not None:
            parts.append(depth)
        dimensions = ["fact", "cause", *(name for name in query.by if name not in ("period", "status", "cause"))]
        for since, until, begin in self._segments(query):
            grouped = [*dimensions, *([begin] if begin else [])]
            columns = [*dimensions, *([f"{begin} AS start"] if begin else []), aggregated(_MEASURES[query.kind])]
            for where, given in parts:
                statement = (
                    f"SELECT {', '.join(columns)} FROM statistics "  # noqa: S608
                    f"WHERE span IN ({RAW}, {MINUTES}, {HOURS}, {DAYS}) AND start >= ? AND start < ? "
                    f"AND {' AND '.join(where)} GROUP BY {', '.join(grouped)}"
                )
                yield statement, [since, until, *given]

    def _segments(self, query: ReportQuery) -> Iterator[tuple[int, int, str]]:
        """The period in parts in which the clocks stand alike, each with the SQL for when a row's period begins."""
        since, until = micros(query.since), micros(query.until)
        if "period" not in query.by:
            yield since, until, ""
            return
        size = _SIZES[query.every] * _MICRO
        if query.every in ("minute", "hour"):
            yield since, until, f"start - start % {size}"
            return
        if query.every == "month":
            while since < until:
                end = min(until, _month(moment(since).astimezone(self._zone), self._zone)[1])
                yield since, end, f"start * 0 + {since}"
                since = end
            return
        while since < until:
            end, offset = day_of(since, self._zone)[1], self._offset(since)
            if offset is None:
                # the clocks change on this day: it is a part of its own
                yield since, min(end, until), f"start * 0 + {since}"
            else:
                while end < until and self._offset(end) == offset:
                    end = day_of(end, self._zone)[1]
                yield since, min(end, until), f"start - (start + {offset}) % {size}"
            since = end

    def _offset(self, at: int) -> int | None:
        """From UTC on the day of that moment, in microseconds; None: it changes on that day."""
        begin, end = day_of(at, self._zone)
        first, last = (moment(one).astimezone(self._zone).utcoffset() for one in (begin, end - 1))
        return int((first or timedelta()).total_seconds() * _MICRO) if first == last else None


def _known(what: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        hint = did_you_mean(name, names)
        raise QueryRefused(f"{what}: {name!r} is none of {', '.join(names)}" + (f"; {hint}" if hint else ""))


def _terms(query: ReportQuery, types: tuple[str, ...] | None) -> tuple[list[str], list[Any]]:
    terms: list[str] = []
    values: list[Any] = []
    for column, wanted in (
        ("type", types),
        ("channel", query.channels or None),
        ("brand", query.brands or None),
        ("origin", query.origins or None),
    ):
        if wanted is not None:
            terms.append(f"{column} IN ({', '.join('?' * len(wanted)) or 'NULL'})")
            values += wanted
    return terms, values


def _narrowed(query: ReportQuery, types: tuple[str, ...] | None) -> dict[str, tuple[str, ...]]:
    wanted = {"type": types, "channel": query.channels or None, "brand": query.brands or None}
    return {name: values for name, values in wanted.items() if values is not None}


def _depth(query: ReportQuery, types: tuple[str, ...] | None) -> tuple[list[str], list[Any]] | None:
    """Which rows say how many events were open: there is one of each type, channel and brand, and one of all. None: of
    what is asked for, nobody knows."""
    narrowed, by = _narrowed(query, types), {*query.by} - {"period"}
    if query.origins or "origin" in by or len({*narrowed, *by}) > 1:
        return None
    terms = [f"fact = '{QUEUED}'"]
    if not narrowed and not by:
        return [*terms, "type = ''", "channel = ''", "brand = ''"], []
    (name,) = {*narrowed, *by}
    values = narrowed.get(name)
    if values is None:
        return [*terms, f"{name} <> ''"], []
    if len(values) > 1 and not by:
        return None
    return [*terms, f"{name} IN ({', '.join('?' * len(values)) or 'NULL'})"], [*values]


__all__ = ["DIMENSIONS", "ERRORS", "KINDS", "PERIODS", "Counts", "Reports", "compute"]
