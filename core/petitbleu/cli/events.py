"""`petitbleu push` and `petitbleu events …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, get_type_hints

import orjson

from ..commands import Command
from ..errors import EventProblem, EventsRefused, IntakeError, PetitbleuError, XmlRefused
from ..instance import open_instance
from ..intake.eventjson import event_from_json
from ..intake.eventxml import events_in
from ..operating import EventAttempt, EventFilter, EventReceipt, EventRecord
from ..types import IncomingEvent, Queue
from ..xmldata import parse_xml
from .local import LOCAL
from .output import Progress, as_json, images_argument, limit_argument, listed, plain, table

CHUNK = 500

# ------------------------------------------------------------------------------------------------------------- push


async def _push(args: argparse.Namespace) -> int:
    files: list[Path] = args.files
    pushed: list[dict[str, Any]] = []
    refused = 0
    async with open_instance(args.config, args.set, plugins_running=True) as instance:
        for file in files:
            try:
                events = list(_read(file, instance.queue_of))
            except (OSError, ValueError, XmlRefused) as error:
                refused += 1
                print(f"{file}: {error}", file=sys.stderr)
                continue
            progress = Progress(str(file), len(events))
            for start in range(0, len(events), CHUNK):
                chunk = events[start : start + CHUNK]
                try:
                    ids = await instance.intake(chunk, LOCAL)
                except EventsRefused as error:
                    refused += 1
                    problems = (_moved(problem, start) for problem in error.problems)
                    print("\n".join(f"{file}: {problem}" for problem in problems), file=sys.stderr)
                    break
                except IntakeError as error:
                    refused += 1
                    print(f"{file}: {error}; {start} of its events are stored", file=sys.stderr)
                    break
                pushed += [{"file": str(file), "position": start + n, "id": one} for n, one in enumerate(ids, 1)]
                progress.step(len(chunk))
        await instance.intake.settle()
    if args.json:
        as_json(pushed)
    else:
        for one in pushed:
            print(f"{one['file']}: event {one['position']}: {one['id']}")
    return 1 if refused else 0


def _moved(problem: EventProblem, start: int) -> EventProblem:
    return EventProblem(problem.position + start, problem.external_id, problem.attribute, problem.text)


def _read(file: Path, queue_of: Callable[[str], Queue]) -> Iterator[IncomingEvent]:
    """XML (an envelope, a collection or a single event) or JSON lines, told apart by the first character."""
    content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        yield from events_in(parse_xml(content))
        return
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if line.strip():
            try:
                yield event_from_json(orjson.loads(line), queue_of)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"line {number}: {error.msg}: column {error.colno}") from None


def _push_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="XML or JSON lines; - is standard input")
    parser.add_argument("--json", action="store_true", help="print JSON")


# ------------------------------------------------------------------------------------------------------- list and show

FILTERS: Mapping[str, str] = {
    name: hint.__metadata__[0].description for name, hint in get_type_hints(EventFilter, include_extras=True).items()
}
"""By the field of the filter: what it says of itself."""


def filter_arguments(parser: argparse.ArgumentParser) -> None:
    for name, text in FILTERS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, default="", help=text[0].lower() + text[1:].rstrip(".")
        )


def event_filter(args: argparse.Namespace) -> EventFilter:
    return EventFilter(**{name: getattr(args, name) for name in FILTERS})


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        desk = instance.services.desk.events
        found = await listed(
            lambda limit, cursor: desk.search(event_filter(args), LOCAL, limit, cursor),
            instance.config.limits.rows,
            args.limit,
        )
    if args.json:
        as_json(found)
    else:
        table(
            ("ID", "TYPE", "CHANNEL", "STATUS", "ERRORS", "CREATED", "EXTERNAL ID", "TO", "REASON"),
            [
                (
                    one.id,
                    one.type,
                    one.channel,
                    f"{one.status}, {one.feedback}" if one.feedback else one.status,
                    one.errors,
                    one.created,
                    one.external_id,
                    one.email if one.channel == "email" else one.mobile_phone,
                    one.reason[:60],
                )
                for one in found
            ],
        )
    return 0


async def _show(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        found = await instance.services.desk.events.record(args.id, LOCAL, data=args.data)
    if args.data and found.data is None:
        raise PetitbleuError(f"the data of event {found.event.id} is not kept any more")
    if args.json:
        known = plain(found)
        as_json({**known.pop("event"), **{name: value for name, value in known.items() if name != "data" or args.data}})
        return 0
    for line in way(found):
        print(line)
    if args.data:
        as_json(found.data)
    return 0


async def _message(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        found = await instance.services.desk.events.rendered(args.id, args.attempt, LOCAL, images=args.images)
    if args.json:
        as_json(found)
        return 0
    print(f"attempt {found.number} by {found.channel} to {found.address} with {found.template}")
    for name, text in found.parts.items():
        print(f"-- {name}\n{text}")
    for name, size in found.files.items():
        print(f"-- {name}, {size} bytes")
    return 0


def way(record: EventRecord) -> list[str]:
    """The event's story, a line a step."""
    event = record.event
    to = event.email if event.channel == "email" else event.mobile_phone
    lines = [
        f"event {event.id}  {event.type}  {event.channel}  {to}",
        f"  {event.created:%H:%M:%S.%f}  accepted into the {event.queue} queue"
        + (f", externalId {event.external_id}" if event.external_id else ""),
    ]
    steps = [
        *((one.ended, _attempt(one)) for one in record.attempts),
        *((one.received, _receipt(one)) for one in record.receipts),
        *((one.at, one.reason) for one in record.recyclings),
    ]
    if event.processed is not None:
        seconds = (event.processed - event.created).total_seconds()
        steps.append((event.processed, f"{event.status}, {seconds * 1000:.0f} ms after it came: {event.reason}"))
    # sorted by time alone: of one moment, an attempt comes before what follows from it
    lines += [f"  {at:%H:%M:%S.%f}  {text}" for at, text in sorted(steps, key=itemgetter(0))]
    if event.processed is None and event.process_requested is not None:
        lines.append(f"  {event.status}; next try {event.process_requested:%Y-%m-%d %H:%M:%S} UTC  {event.reason}")
    return lines


def _attempt(one: EventAttempt) -> str:
    return (
        f"attempt {one.number} by {one.provider or '-'} with {one.template or 'no template'}: {one.outcome}"
        + (f" ({one.scope})" if one.scope else "")
        + f" after {(one.ended - one.started).total_seconds() * 1000:.0f} ms: {one.text}"
    )


def _receipt(one: EventReceipt) -> str:
    return f"receipt for attempt {one.number} by {one.provider or '-'}: {one.state}: {one.text}"


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    filter_arguments(parser)
    limit_argument(parser, 50)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _message_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", type=int, help="as it was returned, or without its high byte")
    parser.add_argument("--attempt", type=int, metavar="N", help="of this attempt (default: of the last one)")
    images_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", type=int, help="as it was returned, or without its high byte")
    parser.add_argument("--data", action="store_true", help="also what the caller sent")
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (
    Command("list", "the latest events", _list, _list_arguments),
    Command("show", "one event's way", _show, _show_arguments),
    Command("message", "a message as it was sent, of types with rendered: true", _message, _message_arguments),
)
TOP_COMMANDS = (Command("push", "push events from files", _push, _push_arguments),)
