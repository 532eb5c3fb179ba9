"""Reports say of counts what a naive look at the events would, however old and coarse the counts are."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from command_line import runner, sample_copy
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import AccessDenied, Operator, QueryRefused, ReportQuery
from petitbleu.reports.reports import ERRORS, Counts, Reports, compute
from petitbleu.reports.rollup import Rollup
from petitbleu.reports.tally import BINS, bin_of
from petitbleu.store import Store, open_store
from petitbleu.store.payload import micros, moment
from petitbleu.store.statistics import KEY, MEASURES

PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BRANDS = {"order": "shop", "reset": "outlet"}
READER = Operator("ann", frozenset({"read"}))
SECOND, DAY = 1_000_000, 86_400_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """What happened to one event, by which a naive count counts."""

    at: int
    fact: str
    type: str = "order"
    channel: str = "email"
    brand: str = "shop"
    origin: str = "crm"
    cause: str = ""
    queuing: int | None = None
    sending: int | None = None

    def row(self) -> dict[str, Any]:
        """As it is written down."""
        row: dict[str, Any] = dict.fromkeys(MEASURES)
        row |= {name: getattr(self, name) for name in KEY}
        row |= {"span": 0, "start": self.at - self.at % (60 * SECOND), "events": 1}
        if self.queuing is not None and self.sending is not None:
            took = self.queuing + self.sending
            for name, value in (("queuing", self.queuing), ("sending", self.sending), ("processing", took)):
                row |= {name: value, f"{name}_min": value, f"{name}_max": value}
            row |= {"timed": 1, f"bin{bin_of(took)}": 1}
        return row


TOLD = st.builds(
    Told,
    at=st.integers(micros(NOON) - 3 * DAY, micros(NOON) - 1),
    fact=st.sampled_from(["accepted", "failed", "ignored", "expired", "not_covered", "retried", "reopened"]),
    type=st.sampled_from(["order", "reset"]),
    channel=st.sampled_from(["email", "sms"]),
    brand=st.sampled_from(["shop", "outlet"]),
    origin=st.sampled_from(["", "crm"]),
    cause=st.sampled_from(["", "address"]),
) | st.builds(
    Told,
    at=st.integers(micros(NOON) - 3 * DAY, micros(NOON) - 1),
    fact=st.just("sent"),
    type=st.sampled_from(["order", "reset"]),
    queuing=st.integers(0, 10**8),
    sending=st.integers(0, 10**7),
)
BY = st.lists(st.sampled_from(["period", "type", "channel", "brand", "origin", "status", "cause"]), unique=True)


def question(kind: str, **changes: Any) -> ReportQuery:
    return replace(ReportQuery(kind, NOON - timedelta(days=3), NOON), **changes)


async def insert(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    names = ("span", "start", *KEY, *MEASURES)
    for at in range(0, len(rows), 500):
        values = ", ".join(
            "(" + ", ".join("NULL" if row[name] is None else repr(row[name]) for name in names) + ")"
            for row in rows[at : at + 500]
        )
        await store.connection.execute_query(f"INSERT INTO statistics ({', '.join(names)}) VALUES {values}")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


def reports(store: Store, minutes: int = 2 * DAY) -> Reports:
    return Reports(store, BRANDS, PARIS, minutes, 60 * DAY, lambda: micros(NOON))


# ----------------------------------------------------------------------------------------------------------- computing


@given(st.lists(TOLD, max_size=60), BY)
def test_a_history_counts_as_one_would_by_hand(told: list[Told], by: list[str]) -> None:
    found = compute(question("history", by=tuple(by)), [one.row() for one in told], PARIS)
    naive = Counter(
        tuple(
            f"{moment(one.at).astimezone(PARIS):%Y-%m-%d}"
            if name == "period"
            else one.fact
            if name == "status"
            else getattr(one, name)
            for name in by
        )
        for one in told
    )
    assert {tuple(line.keys.values()): line.values["events"] for line in found.lines} == (
        naive or ({} if by else {(): 0})
    )


@given(st.lists(TOLD, min_size=1, max_size=60))
def test_a_service_level_counts_as_one_would_by_hand(told: list[Told]) -> None:
    (line,) = compute(question("service_level"), [one.row() for one in told], PARIS).lines
    facts = Counter(one.fact for one in told)
    errors = [one for one in told if one.fact in ERRORS]
    assert (line.values["incoming"], line.values["outgoing"]) == (facts["accepted"], facts["sent"])
    assert line.values["incoming_per_hour"] == pytest.approx(facts["accepted"] / 72)
    assert line.values["errors"] == len(errors)
    ended = len(errors) + facts["sent"]
    assert line.values["error_rate"] == (pytest.approx(len(errors) / ended) if ended else None)
    assert {(one.status, one.cause): one.events for one in line.errors} == Counter(
        (one.fact, one.cause) for one in errors
    )


@given(st.lists(TOLD, min_size=1, max_size=60))
def test_times_are_those_of_the_events(told: list[Told]) -> None:
    (line,) = compute(question("processing_time"), [one.row() for one in told if one.fact == "sent"], PARIS).lines
    took = sorted(
        (one.queuing + one.sending) / SECOND for one in told if one.queuing is not None and one.sending is not None
    )
    assert line.values["events"] == len(took)
    if took:
        assert line.values["processing_avg"] == pytest.approx(sum(took) / len(took))
        assert (line.values["processing_min"], line.values["processing_max"]) == (took[0], took[-1])
        # a quantile lies in the bin of the event that it is
        for share, name in ((0.5, "processing_p50"), (0.95, "processing_p95"), (0.99, "processing_p99")):
            value, exact = line.values[name], took[max(0, -int(-share * len(took) // 1) - 1)]
            assert value is not None
            edges = [0.0, *BINS, took[-1] + 1]
            number = bin_of(int(exact * SECOND))
            assert edges[number] - 1e-6 <= value <= edges[number + 1] + 1e-6
    else:
        assert line.values["processing_avg"] is None


def test_counts_without_times_have_no_average() -> None:
    counts = Counts()
    counts.add(Told(micros(NOON), "sent").row())
    assert counts.average("processing") is None
    assert counts.quantile(0.5) is None


# ------------------------------------------------------------------------------------------------------------- reading


async def test_reports_are_the_same_however_coarse_the_counts_have_become(store: Store) -> None:
    told = [
        Told(micros(NOON) - number * 7_000 * SECOND, fact, cause=cause, queuing=queuing, sending=number)
        for number in range(1, 400)
        for fact, cause, queuing in (("accepted", "", None), ("sent", "", number), ("failed", "address", None))
    ]
    await insert(store, [one.row() for one in told])
    asked = [
        question("history", since=NOON - timedelta(days=40), by=("period", "status")),
        question("service_level", since=NOON - timedelta(days=40), by=("type",)),
        question("processing_time", since=NOON - timedelta(days=40)),
    ]
    before = [await reports(store).read(one, READER) for one in asked]
    await Rollup(store, 2 * DAY, 10 * DAY, PARIS, "me").sum_up(micros(NOON))
    rows = await store.read("SELECT span, count(*) AS n FROM statistics GROUP BY span", [])
    spans = {row["span"]: row["n"] for row in rows}
    assert {*spans} >= {60, 3600, 86_400}
    assert sum(spans.values()) < len(told)
    assert [await reports(store).read(one, READER) for one in asked] == before
    # days are days of Paris, whose clocks went back on the 25th of October
    assert sum(int(line.values["events"] or 0) for line in before[0].lines) == len(told)
    naive = Counter(f"{moment(one.at).astimezone(PARIS):%Y-%m-%d}" for one in told)
    days: Counter[str] = Counter()
    for line in before[0].lines:
        days[line.keys["period"]] += int(line.values["events"] or 0)
    assert days == naive


async def test_a_line_of_errors_lists_its_events(store: Store) -> None:
    at = micros(NOON) - 600 * SECOND
    await insert(store, [Told(at, "failed", cause="address").row(), Told(at, "sent").row()])
    (line,) = (await reports(store).read(question("service_level", types=("order",)), READER)).lines
    (error,) = line.errors
    assert (error.status, error.cause, error.events, error.share) == ("failed", "address", 1, 0.5)
    assert error.filter == {
        "ended_since": "2026-11-17T12:00:00Z",
        "ended_before": "2026-11-20T12:00:00Z",
        "status": "failed",
        "cause": "address",
        "type": "order",
    }


async def test_an_operator_reads_what_the_rights_reach(store: Store) -> None:
    at = micros(NOON) - 60 * SECOND
    await insert(store, [Told(at, "accepted", name, brand=BRANDS[name]).row() for name in BRANDS])

    async def types(operator: Operator, **asked: Any) -> dict[str, Any]:
        found = await reports(store).read(question("history", by=("type",), **asked), operator)
        return {line.keys["type"]: line.values["events"] for line in found.lines}

    assert await types(READER) == {"order": 1, "reset": 1}
    assert await types(READER, types=("reset",)) == {"reset": 1}
    assert await types(replace(READER, event_types=frozenset({"reset"}))) == {"reset": 1}
    assert await types(replace(READER, event_types=frozenset({"reset"})), types=("order",)) == {}
    assert await types(replace(READER, brands=frozenset({"shop"}))) == {"order": 1}
    with pytest.raises(AccessDenied):
        await types(Operator("zoe", frozenset({"push"})))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "histroy"}, "did you mean 'history'"),
        ({"by": ("brnd",)}, "did you mean 'brand'"),
        ({"by": ("type", "type")}, "twice"),
        ({"kind": "service_level", "by": ("status",)}, "history alone"),
        ({"since": NOON + timedelta(days=1)}, "in the future"),
        ({"since": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "beyond the years"),
        ({"since": datetime(1, 1, 3, tzinfo=UTC), "by": ("period",), "every": "day"}, "too many lines"),
        ({"since": datetime(1, 1, 3, tzinfo=UTC), "by": ("period",), "every": "month"}, "too many lines"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_words(store: Store, changes: Any, words: str) -> None:
    with pytest.raises(QueryRefused, match=words):
        await reports(store).read(replace(question("history"), **changes), READER)


async def test_old_periods_are_widened_to_what_is_known(store: Store) -> None:
    since = datetime(2026, 8, 3, 9, 30, tzinfo=UTC)
    found = await reports(store).read(question("history", since=since, until=NOON - timedelta(days=4)), READER)
    assert (found.since, found.until) == (
        datetime(2026, 8, 2, 22, 0, tzinfo=UTC),
        datetime(2026, 11, 16, 12, 0, tzinfo=UTC),
    )


async def test_a_report_over_a_year_counts_what_is_kept_by_days_hours_and_minutes(store: Store) -> None:
    """300 days by the day, 58 by the hour and 2 by the minute, of 6 types, each with four facts: 110,000 rows."""
    for span, count, begin in ((86_400, 300, 60), (3600, 58 * 24, 2), (60, 2 * 1440, 0)):
        last = micros(NOON) - begin * DAY
        await store.connection.execute_query(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}), "
            "t(type) AS (SELECT 1 UNION ALL SELECT type + 1 FROM t WHERE type < 6), "
            "f(fact) AS (VALUES ('accepted'), ('sent'), ('failed'), ('retried')) "
            "INSERT INTO statistics (span, start, fact, type, channel, brand, origin, events, timed, sending) "
            f"SELECT {span}, {last} - CAST(i AS bigint) * {span * SECOND}, fact, 'type' || type, 'email', 'shop', "
            "'crm', 100, 100, 5 FROM n CROSS JOIN t CROSS JOIN f"
        )
    for every in ("month", "day"):
        asked = question("service_level", since=NOON - timedelta(days=360), by=("period", "type"), every=every)
        found = await reports(store).read(asked, READER)
        events = (300 + 58 * 24 + 2 * 1440) * 6 * 100
        assert sum(int(line.values["incoming"] or 0) for line in found.lines) == events


# ---------------------------------------------------------------------------------------------------------- by command


def test_the_command_prints_tables_json_and_csv(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fill() -> None:
        async with open_store(sqlite_url) as store:
            at = store.now() - 120 * SECOND
            sent = Told(at, "sent", queuing=200_000, sending=100_000)
            await insert(
                store, [one.row() for one in (Told(at, "accepted"), sent, Told(at, "failed", cause="address"))]
            )

    asyncio.run(fill())
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    code, out, _ = run("report", "service-level", "--by", "type")
    assert code == 0
    assert "order  1" in out
    assert "petitbleu events list --ended-since" in out
    assert "--status failed --cause address --type order" in out
    code, out, _ = run("report", "processing-time", "--json")
    (line,) = json.loads(out)["lines"]
    assert line["values"]["processing_avg"] == pytest.approx(0.3)
    code, out, _ = run("report", "history", "--csv", "--by", "status,cause")
    found = list(csv.reader(io.StringIO(out)))
    assert found == [
        ["status", "cause", "events"],
        ["accepted", "", "1"],
        ["failed", "address", "1"],
        ["sent", "", "1"],
    ]
    code, _, err = run("report", "history", "--from", "yesterday")
    assert (code, "write it as" in err) == (1, True)
