"""`petitbleu forget`."""

from __future__ import annotations

import argparse

from ..commands import Command, by_argument
from ..errors import PetitbleuError
from ..forgetting import Forget, Forgotten, person
from ..instance import open_instance
from .local import actor
from .output import as_json, table


async def _forget(args: argparse.Namespace) -> int:
    try:
        who = person(args.address, args.country or "")
    except ValueError as error:
        raise PetitbleuError(f"{args.address} {error}") from None
    async with open_instance(args.config, args.set) as instance:
        archive = instance.archive.folder if instance.archive is not None else None
        forget = Forget(instance.store, args.wait, archive=archive)
        if args.dry_run:
            done = await forget.rehearse(who)
        else:
            done = await forget.forget(who, actor(args), write_again=args.write_again, whole=args.vacuum)
    if args.json:
        as_json(
            {
                "removed": +done.removed,
                "blanked": +done.blanked,
                "kept_as_hash": done.kept_as_hash,
                "left": done.left,
                "searched": {
                    "tables": done.tables,
                    "columns": done.columns,
                    "rows": done.rows,
                    "files": done.files,
                    "archived": done.archived,
                },
                "other_addresses": sorted(done.others),
                "dry_run": args.dry_run,
            }
        )
    else:
        _tell(done, args.dry_run)
    return 1 if done.left else 0


def _tell(done: Forgotten, rehearsal: bool) -> None:
    names = sorted({*+done.removed, *+done.blanked})
    heads = ("TABLE", "WOULD GO", "MENTIONED IN") if rehearsal else ("TABLE", "REMOVED", "BLANKED")
    table(heads, [(name, done.removed[name], done.blanked[name]) for name in names])
    if done.kept_as_hash:
        print(f"kept, as a hash: {done.kept_as_hash} entries of the suppression list, by which nothing is sent again")
    if done.others:
        print(f"these events also had: {', '.join(sorted(done.others))}; forget them too, if it is the same person")
    if rehearsal:
        print("nothing is changed (--dry-run)")
    searched = [f"{done.tables} tables, {done.columns} columns, {done.rows} rows", *map(str, done.files)]
    if done.archived is not None:
        searched.append(f"{done.archived} archived events")
    if not done.left and not rehearsal:
        print(f"left: nothing (searched once more: {'; '.join(searched)})")
    for one in done.left:
        print(f"left: {one}")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="an email address, a phone number or a device's token")
    parser.add_argument("--country", help="where a phone number without + is dialled, such as FR")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, change nothing")
    parser.add_argument(
        "--write-again", action="store_true", help="forget also that the person asked not to be written to"
    )
    parser.add_argument(
        "--vacuum", action="store_true", help="write an SQLite file anew; for this the server should be stopped"
    )
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="for messages that are being sent (default: 60)"
    )
    by_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("forget", "remove a person everywhere, and prove it", _forget, _arguments),)
