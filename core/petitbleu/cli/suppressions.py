"""`petitbleu suppressions …` and `petitbleu audit`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..addresses import instant
from ..audit import recorded
from ..commands import Command
from ..config.settings import Duration
from ..errors import PetitbleuError
from ..instance import Instance, open_instance
from ..suppression import Reason
from ..suppression.exchange import Reader, Writer
from ..suppression.register import Entry, Wanted
from .local import actor, by_argument
from .output import as_json, table

FORMS = ("csv", "json")
_DURATION = TypeAdapter[float](Duration)


def _wanted(instance: Instance, args: argparse.Namespace) -> Wanted:
    address = args.address or ""
    if address:
        if not args.channel:
            raise PetitbleuError("--address needs --channel, which says what kind of address it is")
        address = _key(instance, args.channel, address)
    return Wanted(args.channel or "", address, args.brand, args.reason or "", args.expired)


def _key(instance: Instance, channel: str, address: str) -> str:
    try:
        return instance.register.key(channel, address)
    except ValueError as error:
        text = str(error)
        raise PetitbleuError(f"{address!r} {text}" if text.startswith("is ") else text) from None


# ------------------------------------------------------------------------------------------------------------- list


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        found = await instance.register.find(_wanted(instance, args), args.limit)
    _show(found, args)
    return 0


def _show(entries: Sequence[Entry], args: argparse.Namespace) -> None:
    if args.json:
        as_json(entries)
        return
    table(
        ("CHANNEL", "ADDRESS", "BRAND", "REASON", "SINCE", "UNTIL", "BY", "TEXT"),
        [
            (one.channel, _short(one.address), one.brand, one.reason, one.created, one.expires, one.by, one.text[:60])
            for one in entries
        ],
    )


def _short(key: str) -> str:
    """Of a token, what people know it again by."""
    return f"{key[:15]}{key[key.index('…') :]}" if key.startswith("sha256:") else key


# ------------------------------------------------------------------------------------------------------ add and remove


async def _add(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        _known_brand(instance, args.brand or "")
        entry = Entry(
            args.channel,
            _key(instance, args.channel, args.address),
            args.brand or "",
            Reason(args.reason),
            args.text,
            instance.services.now(),
            _until(args, instance),
            args.by,
        )
        await instance.register.put([entry], actor(args), "suppressions.add")
    _show([entry], args)
    return 0


def _until(args: argparse.Namespace, instance: Instance) -> datetime | None:
    now = instance.services.now()
    try:
        if args.duration is not None:
            return now + timedelta(seconds=_DURATION.validate_python(args.duration))
        until = None if args.until is None else instant(args.until, instance.config.instance.time_zone)
    except ValidationError:
        raise PetitbleuError(f"--for {args.duration} should be a duration such as 30d, of ten years at most") from None
    except ValueError as error:
        raise PetitbleuError(f"--until {args.until} {error}") from None
    if until is not None and until <= now:
        raise PetitbleuError(f"--until {args.until} is over already")
    return until


def _known_brand(instance: Instance, brand: str) -> None:
    if brand and brand not in instance.config.brands:
        known = ", ".join(sorted(instance.config.brands)) or "none"
        raise PetitbleuError(f"{brand!r} is not declared in brands; there are: {known}")


async def _remove(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        keys = [_key(instance, args.channel, one) for one in args.addresses]
        gone = await instance.register.remove(args.channel, keys, actor(args), args.brand, args.reason or "")
    missing = [
        address for address, key in zip(args.addresses, keys, strict=True) if key not in {one.address for one in gone}
    ]
    _show(gone, args)
    for address in missing:
        print(f"{address}: is not on the list", file=sys.stderr)
    return 1 if missing else 0


# --------------------------------------------------------------------------------------------------- import and export


async def _import(args: argparse.Namespace) -> int:
    name = "standard input" if str(args.file) == "-" else str(args.file)
    try:
        content = sys.stdin.buffer.read() if str(args.file) == "-" else args.file.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PetitbleuError(f"{name}: cannot be read: {error}") from None
    form = args.format or ("json" if text.lstrip()[:1] in ("[", "{") else "csv")
    async with open_instance(args.config, args.set) as instance:
        _known_brand(instance, args.brand or "")
        reader = Reader(
            instance.register.key,
            instance.config.instance.time_zone,
            instance.config.brands,
            args.channel or "",
            args.reason,
            args.brand or "",
            args.country or "",
        )
        entries = reader.read(text, form, name)
        if not args.dry_run:
            await instance.register.put(entries, actor(args), "suppressions.import")
    if args.json:
        as_json({"imported": len(entries), "dry_run": args.dry_run})
    else:
        print(f"{len(entries)} entries" + ("; nothing is changed (--dry-run)" if args.dry_run else " imported"))
    return 0


async def _export(args: argparse.Namespace) -> int:
    form = args.format or ("json" if args.file.suffix == ".json" else "csv")
    async with open_instance(args.config, args.set) as instance:
        wanted = _wanted(instance, args)
        if str(args.file) == "-":
            await _write(instance, wanted, Writer(sys.stdout, form))
            return 0
        try:
            with args.file.open("w", encoding="utf-8", newline="") as out:
                await _write(instance, wanted, Writer(out, form))
        except OSError as error:
            raise PetitbleuError(f"{args.file}: cannot be written: {error}") from None
    return 0


async def _write(instance: Instance, wanted: Wanted, writer: Writer) -> None:
    async for entry in instance.register.walk(wanted):
        writer.write(entry)
    writer.end()


# ------------------------------------------------------------------------------------------------------------ audit


async def _audit(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        found = await recorded(
            instance.store, action=args.action or "", object_=args.object or "", by=args.by or "", limit=args.limit
        )
    if args.json:
        as_json(found)
        return 0
    table(
        ("AT", "BY", "FROM", "ACTION", "OBJECT", "DETAIL"),
        [(one.at, one.by, f"{one.origin} {one.address}", one.action, one.object, _detail(one.detail)) for one in found],
    )
    return 0


def _detail(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in detail.items() if value not in ("", None))


# -------------------------------------------------------------------------------------------------------- arguments


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--channel", help="only of this channel")
    parser.add_argument("--address", help="only this address")
    parser.add_argument("--brand", help='only for this brand; "" is what holds for all')
    parser.add_argument("--reason", choices=[*Reason], help="only with this reason")
    parser.add_argument("--expired", action="store_true", help="also what is over and not deleted yet")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    _filters(parser)
    parser.add_argument("--limit", type=int, default=100, help="lines at most (default: 100)")
    _json(parser)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", metavar="CHANNEL")
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("--brand", help="for messages of this brand alone")
    parser.add_argument("--reason", choices=[*Reason], default=Reason.MANUAL.value, help="default: manual")
    parser.add_argument("--text", default="", help="why, for the record")
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--for", dest="duration", metavar="DURATION", help="for so long, such as 30d (default: for ever)")
    ends.add_argument("--until", metavar="TIME", help="until then, such as 2027-01-31T00:00Z")
    by_argument(parser)
    _json(parser)


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", metavar="CHANNEL")
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS")
    parser.add_argument("--brand", help='what holds for this brand alone; "" is what holds for all')
    parser.add_argument("--reason", choices=[*Reason], help="what has this reason alone")
    by_argument(parser)
    _json(parser)


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV with a head line, or JSON; - is standard input")
    parser.add_argument("--format", choices=FORMS, help="default: as the file looks")
    parser.add_argument("--channel", help="of lines that name none")
    parser.add_argument("--reason", choices=[*Reason], default=Reason.MANUAL.value, help="of lines that name none")
    parser.add_argument("--brand", help="of lines that name none (default: all brands)")
    parser.add_argument("--country", help="where phone numbers without + are dialled, such as FR")
    parser.add_argument("--dry-run", action="store_true", help="read and check, change nothing")
    by_argument(parser)
    _json(parser)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, nargs="?", default=Path("-"), metavar="FILE", help="default: standard output"
    )
    parser.add_argument("--format", choices=FORMS, help="default: as the file is called, else csv")
    _filters(parser)


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--action", help="only this, such as suppressions.add, or all of suppressions")
    parser.add_argument("--object", help="only what was done to this, such as email/zoe@example.com")
    parser.add_argument("--by", help="only what this one did")
    parser.add_argument("--limit", type=int, default=100, help="lines at most (default: 100)")
    _json(parser)


COMMANDS = (
    Command("list", "the latest entries", _list, _list_arguments),
    Command("add", "write no more to an address", _add, _add_arguments),
    Command("remove", "write to addresses again", _remove, _remove_arguments),
    Command("import", "add what a file lists, all of it or nothing", _import, _import_arguments),
    Command("export", "write the list to a file", _export, _export_arguments),
)
TOP_COMMANDS = (Command("audit", "who changed what", _audit, _audit_arguments),)
