"""`petitbleu suppressions …` and `petitbleu audit`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from ..addresses import instant
from ..commands import Command, by_argument
from ..config.settings import Duration
from ..errors import PetitbleuError
from ..instance import Instance, open_instance
from ..operating import AuditFilter, ListDefaults, ListForm, Suppression, SuppressionFilter, SuppressionReason
from .local import LOCAL, actor
from .output import as_json, limit_argument, listed, table

_DURATION = TypeAdapter[float](Duration)


def _wanted(args: argparse.Namespace) -> SuppressionFilter:
    if args.address and not args.channel:
        raise PetitbleuError("--address needs --channel, which says what kind of address it is")
    return SuppressionFilter(args.channel or "", args.address or "", args.brand, args.reason or "", args.expired)


# ------------------------------------------------------------------------------------------------------------- list


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        desk = instance.services.desk.suppressions
        found = await listed(
            lambda limit, cursor: desk.find(_wanted(args), LOCAL, limit, cursor),
            instance.config.limits.rows,
            args.limit,
        )
    _show(found, args)
    return 0


def _show(entries: Sequence[Suppression], args: argparse.Namespace) -> None:
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
        entry = await instance.services.desk.suppressions.add(
            args.channel,
            args.address,
            actor(args),
            brand=args.brand or "",
            reason=SuppressionReason(args.reason),
            text=args.text,
            expires=_until(args, instance),
        )
    _show([entry], args)
    return 0


def _until(args: argparse.Namespace, instance: Instance) -> datetime | timedelta | None:
    try:
        if args.duration is not None:
            return timedelta(seconds=_DURATION.validate_python(args.duration))
        return None if args.until is None else instant(args.until, instance.config.instance.time_zone)
    except ValidationError:
        raise PetitbleuError(f"--for {args.duration} should be a duration such as 30d, of ten years at most") from None
    except ValueError as error:
        raise PetitbleuError(f"--until {args.until} {error}") from None


async def _remove(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        done = await instance.services.desk.suppressions.remove(
            args.channel, args.addresses, actor(args), brand=args.brand, reason=args.reason or ""
        )
    _show(done.gone, args)
    for address in done.missing:
        print(f"{address}: is not on the list", file=sys.stderr)
    return 1 if done.missing else 0


# --------------------------------------------------------------------------------------------------- import and export


async def _import(args: argparse.Namespace) -> int:
    name = "standard input" if str(args.file) == "-" else str(args.file)
    try:
        content = sys.stdin.buffer.read() if str(args.file) == "-" else args.file.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PetitbleuError(f"{name}: cannot be read: {error}") from None
    form: ListForm = args.format or ("json" if text.lstrip()[:1] in ("[", "{") else "csv")
    defaults = ListDefaults(args.channel or "", args.reason, args.brand or "", args.country or "")
    async with open_instance(args.config, args.set) as instance:
        count = await instance.services.desk.suppressions.read_in(
            text, form, actor(args), defaults=defaults, name=name, rehearsal=args.dry_run
        )
    if args.json:
        as_json({"imported": count, "dry_run": args.dry_run})
    else:
        print(f"{count} entries" + ("; nothing is changed (--dry-run)" if args.dry_run else " imported"))
    return 0


async def _export(args: argparse.Namespace) -> int:
    form: ListForm = args.format or ("json" if args.file.suffix == ".json" else "csv")
    async with open_instance(args.config, args.set) as instance:
        pieces = instance.services.desk.suppressions.write_out(_wanted(args), form, LOCAL)
        if str(args.file) == "-":
            async for piece in pieces:
                sys.stdout.write(piece)
            return 0
        try:
            with args.file.open("w", encoding="utf-8", newline="") as out:
                async for piece in pieces:
                    out.write(piece)
        except OSError as error:
            raise PetitbleuError(f"{args.file}: cannot be written: {error}") from None
    return 0


# ------------------------------------------------------------------------------------------------------------ audit


async def _audit(args: argparse.Namespace) -> int:
    wanted = AuditFilter(args.action or "", args.object or "", args.by or "", args.origin or "")
    async with open_instance(args.config, args.set) as instance:
        desk = instance.services.desk.audit
        found = await listed(
            lambda limit, cursor: desk.find(wanted, LOCAL, limit, cursor), instance.config.limits.rows, args.limit
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
    parser.add_argument("--reason", choices=[*SuppressionReason], help="only with this reason")
    parser.add_argument("--expired", action="store_true", help="also what is over and not deleted yet")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    _filters(parser)
    limit_argument(parser, 100)
    _json(parser)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", metavar="CHANNEL")
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("--brand", help="for messages of this brand alone")
    parser.add_argument(
        "--reason", choices=[*SuppressionReason], default=SuppressionReason.MANUAL.value, help="default: manual"
    )
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
    parser.add_argument("--reason", choices=[*SuppressionReason], help="what has this reason alone")
    by_argument(parser)
    _json(parser)


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV with a head line, or JSON; - is standard input")
    parser.add_argument("--format", choices=get_args(ListForm), help="default: as the file looks")
    parser.add_argument("--channel", help="of lines that name none")
    parser.add_argument(
        "--reason", choices=[*SuppressionReason], default=SuppressionReason.MANUAL.value, help="of lines that name none"
    )
    parser.add_argument("--brand", help="of lines that name none (default: all brands)")
    parser.add_argument("--country", help="where phone numbers without + are dialled, such as FR")
    parser.add_argument("--dry-run", action="store_true", help="read and check, change nothing")
    by_argument(parser)
    _json(parser)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, nargs="?", default=Path("-"), metavar="FILE", help="default: standard output"
    )
    parser.add_argument("--format", choices=get_args(ListForm), help="default: as the file is called, else csv")
    _filters(parser)


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--action", help="only this, such as suppressions.add, or all of suppressions")
    parser.add_argument("--object", help="only what was done to this, such as email/zoe@example.com")
    parser.add_argument("--by", help="only what this one did")
    parser.add_argument("--origin", help="only what came this way: cli, rest, console")
    limit_argument(parser, 100)
    _json(parser)


COMMANDS = (
    Command("list", "the latest entries", _list, _list_arguments),
    Command("add", "write no more to an address", _add, _add_arguments),
    Command("remove", "write to addresses again", _remove, _remove_arguments),
    Command("import", "add what a file lists, all of it or nothing", _import, _import_arguments),
    Command("export", "write the list to a file", _export, _export_arguments),
)
TOP_COMMANDS = (Command("audit", "who changed what", _audit, _audit_arguments),)
