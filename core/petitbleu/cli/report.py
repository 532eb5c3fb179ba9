"""`petitbleu report …`."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

from ..addresses import instant
from ..commands import Command
from ..errors import QueryRefused
from ..instance import open_instance
from ..reports.reports import DIMENSIONS, PERIODS
from ..services import Report, ReportLine, ReportQuery
from .local import LOCAL
from .output import as_json, table

_HEADS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "service_level": (
        ("INCOMING", "incoming", ""),
        ("PER HOUR", "incoming_per_hour", "rate"),
        ("OUTGOING", "outgoing", ""),
        ("PER HOUR", "outgoing_per_hour", "rate"),
        ("SENDING", "sending_avg", "seconds"),
        ("ERRORS", "errors", ""),
        ("RATE", "error_rate", "share"),
        ("RETRIED", "retried", ""),
        ("REOPENED", "reopened", ""),
    ),
    "processing_time": (
        ("SENT", "events", ""),
        *(
            (f"{name.upper()} {kind.upper()}", f"{name}_{kind}", "seconds")
            for name in ("queuing", "sending", "processing")
            for kind in ("avg", "min", "max")
        ),
        ("P50", "processing_p50", "seconds"),
        ("P95", "processing_p95", "seconds"),
        ("P99", "processing_p99", "seconds"),
        *((f"QUEUED {kind.upper()}", f"queued_{kind}", "rate") for kind in ("avg", "min", "max")),
    ),
    "history": (("EVENTS", "events", ""),),
}
"""For people: the head, which value it is, and how it is written."""


async def _report(kind: str, args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        zone, now = instance.config.instance.time_zone, instance.services.now()
        query = ReportQuery(
            kind,
            _time(args.since, zone) if args.since else now - timedelta(days=1),
            _time(args.until, zone) if args.until else now,
            _names(args.by),
            args.every,
            tuple(args.type),
            tuple(args.channel),
            tuple(args.brand),
            tuple(args.origin),
        )
        found = await instance.services.report(query, LOCAL)
    if args.json:
        as_json(found)
    elif args.csv:
        _csv(found)
    else:
        _print(found, zone)
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _time(text: str, zone: tzinfo) -> datetime:
    """A date alone is its beginning."""
    try:
        return instant(f"{text}T00:00:00" if len(text) == 10 else text, zone)
    except ValueError as error:
        raise QueryRefused(f"{text}: {error}") from None


def _print(report: Report, zone: tzinfo) -> None:
    since, until = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (report.since, report.until))
    print(f"{report.kind.replace('_', ' ')}, {since} to {until} {zone}")
    heads = _HEADS[report.kind]
    if len(heads) > 10 and len(report.lines) == 1:
        (line,) = report.lines
        table(("", ""), [(head.lower(), _written(line, name, kind)) for head, name, kind in heads])
    else:
        table(
            [*(name.upper() for name in report.by), *(head for head, _, _ in heads)],
            [[*line.keys.values(), *(_written(line, name, kind) for _, name, kind in heads)] for line in report.lines],
        )
    errors = [(line, one) for line in report.lines for one in line.errors]
    if errors:
        print()
        table(
            [*(name.upper() for name in report.by), "STATUS", "CAUSE", "EVENTS", "SHARE", "THESE EVENTS"],
            [
                [*line.keys.values(), one.status, one.cause, one.events, f"{one.share:.1%}", _command(one.filter)]
                for line, one in errors
            ],
        )


def _written(line: ReportLine, name: str, kind: str) -> str:
    value = line.values[name]
    if value is None:
        return "-"
    return {"seconds": f"{value:.3f} s", "share": f"{value:.1%}", "rate": f"{value:.1f}"}.get(kind, f"{value}")


def _command(found: Mapping[str, str] | None) -> str:
    options = (f"--{name.replace('_', '-')} {value}" for name, value in (found or {}).items())
    return " ".join(("petitbleu events list", *options)) if found else ""


def _csv(report: Report) -> None:
    """A line for each line of the report; errors by kind have columns of their own."""
    out = csv.writer(sys.stdout)
    values = [name for _, name, _ in _HEADS[report.kind]]
    kinds = sorted({(one.status, one.cause) for line in report.lines for one in line.errors})
    out.writerow([*report.by, *values, *("_".join(filter(None, kind)) for kind in kinds)])
    for line in report.lines:
        errors = {(one.status, one.cause): one.events for one in line.errors}
        numbers = [line.values[name] for name in values]
        out.writerow(
            [
                *line.keys.values(),
                *("" if number is None else round(number, 6) for number in numbers),
                *(errors.get(kind, 0) for kind in kinds),
            ]
        )


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="since", metavar="TIME", help="from when, such as 2026-11-01 (default: a day ago)"
    )
    parser.add_argument("--to", dest="until", metavar="TIME", help="until when, not included; now")
    parser.add_argument("--by", default="", metavar="NAMES", help=f"a line for each: {', '.join(DIMENSIONS)}")
    parser.add_argument("--every", default="day", choices=PERIODS, help="with --by period (default: day)")
    for name in ("type", "channel", "brand", "origin"):
        parser.add_argument(f"--{name}", action="append", default=[], help=f"only this {name}; may be repeated")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")


def _reporting(name: str, text: str) -> Command:
    async def run(args: argparse.Namespace) -> int:
        return await _report(name.replace("-", "_"), args)

    return Command(name, text, run, _arguments)


COMMANDS = (
    _reporting("service-level", "how much came and went, how fast, and what failed"),
    _reporting("processing-time", "how long events waited and took"),
    _reporting("history", "how many events of which type, status, channel, origin, period"),
)
