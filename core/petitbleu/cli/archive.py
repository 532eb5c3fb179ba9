"""`petitbleu archive …`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import orjson

from ..archive import ArchiveFile, Archiver
from ..commands import Command
from ..errors import NotFound, PetitbleuError
from ..instance import Instance, open_instance
from ..store import whole_id
from .output import as_json, limit_argument, table

FIELDS = ("type", "status", "external_id", "email", "mobile_phone", "channel", "origin", "brand")
"""What events of the archive can be looked for by."""


def _archive(instance: Instance) -> Archiver:
    if instance.archive is None:
        raise PetitbleuError("retention.archive.path is not set: there is no archive")
    return instance.archive


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        archive = _archive(instance)
        folder = archive.folder

        def read() -> list[tuple[Any, ...]]:
            return [
                (file.day, archive.terms.until(file), file.type, folder.events(file), file.size, file.path)
                for file in folder.files()
            ]

        found = await asyncio.to_thread(read)
    heads = ("day", "until", "type", "events", "bytes", "file")
    if args.json:
        as_json([dict(zip(heads, row, strict=True)) for row in found])
    else:
        table([head.upper() for head in heads], found)
    return 0


async def _show(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        number = whole_id(args.id, instance.config.instance.cell)
        found = await asyncio.to_thread(_found, _archive(instance), args, {}, number)
    if not found:
        raise NotFound(f"there is no event {number} in the archive")
    as_json(found[-1])
    return 0


async def _search(args: argparse.Namespace) -> int:
    wanted = {name: value for name in FIELDS if (value := getattr(args, name))}
    async with open_instance(args.config, args.set) as instance:
        # of an event that was archived twice, the last line
        known = {one["id"]: one for one in await asyncio.to_thread(_found, _archive(instance), args, wanted)}
    found = list(known.values())[: args.limit]
    if args.json:
        as_json(found)
        return 0
    table(
        ("ID", "TYPE", "CHANNEL", "STATUS", "CREATED", "EXTERNAL ID", "TO", "ARCHIVED"),
        [
            (
                one["id"],
                one["type"],
                one["channel"],
                one["status"],
                one["created"][:19].replace("T", " "),
                one["external_id"],
                one["email"] if one["channel"] == "email" else one["mobile_phone"],
                one["archived"][:10],
            )
            for one in found
        ],
    )
    return 0


def _found(
    archive: Archiver, args: argparse.Namespace, wanted: Mapping[str, str], number: int | None = None
) -> list[dict[str, Any]]:
    """In the order in which they were archived, `--limit` and one file more than that at most."""
    found: list[dict[str, Any]] = []
    for file in archive.folder.files():
        if not _within(file, args):
            continue
        for line in archive.folder.lines(file, number, _suspect(wanted)):
            event = orjson.loads(line)
            if number is not None and event["id"] != str(number):
                continue
            if all(event.get(name) == value for name, value in wanted.items()):
                found.append(event)
        if number is None and len(found) >= args.limit:
            break
    return found


def _within(file: ArchiveFile, args: argparse.Namespace) -> bool:
    since, before = args.since, args.before
    return (since is None or file.day >= since) and (before is None or file.day < before)


def _suspect(wanted: Mapping[str, str]) -> Callable[[bytes], bool]:
    """Whether a piece may have such an event, before each of its lines is read."""
    needles = [orjson.dumps(value) for value in wanted.values()]
    return lambda whole: all(needle in whole for needle in needles)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} should be a day such as 2026-11-23") from None


def _days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=_day, metavar="DAY", help="only what was archived on this day (UTC) or later")
    parser.add_argument("--before", type=_day, metavar="DAY", help="only what was archived before this day")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", type=int, help="as it was returned, or without its high byte")
    _days(parser)


def _search_arguments(parser: argparse.ArgumentParser) -> None:
    for name in FIELDS:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, default="", help="only events with this value")
    _days(parser)
    limit_argument(parser, 50)
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (
    Command("list", "the files, and until when they are kept", _list, _list_arguments),
    Command("show", "an archived event with its whole way, as JSON", _show, _show_arguments),
    Command("search", "archived events, by what they have; the earliest first", _search, _search_arguments),
)
