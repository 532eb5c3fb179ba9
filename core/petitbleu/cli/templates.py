"""`petitbleu templates …`: from draft to published version and back."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from ..commands import Command, by_argument
from ..errors import PetitbleuError, TemplateError
from ..instance import open_instance
from ..intake.eventjson import event_from_json
from ..operating import Preview
from ..types import IncomingEvent, Queue
from .local import LOCAL, actor
from .output import Progress, as_json, images_argument, plain, table


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", metavar="TYPE[/CHANNEL]", help="e.g. order_confirmation/email")


# ------------------------------------------------------------------------------------------------------------- list


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        states = await instance.services.desk.templates.list(LOCAL)
    if args.json:
        as_json(states)
    else:
        table(
            ("TEMPLATE", "PUBLISHED", "DRAFT", "LABELS"),
            [
                (f"{one.event_type}/{one.channel}", one.version or "-", one.draft, ", ".join(one.labels))
                for one in states
            ],
        )
        for one in states:
            if one.problem:
                print(f"\n{one.event_type}/{one.channel} is broken:\n{one.problem}", file=sys.stderr)
    return 0


# ----------------------------------------------------------------------------------------------------- show and diff


async def _show(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        source = await instance.services.desk.templates.source(args.template, LOCAL, args.version)
    if args.json:
        print(source.content)
        return 0
    print("\n".join(f"==> {name}\n{text.rstrip()}\n" for name, text in source.texts.items()))
    return 0


async def _diff(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        text = await instance.services.desk.templates.diff(args.template, LOCAL, args.old, args.new)
    sys.stdout.write(text)
    return 0


async def _needs(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        found = await instance.services.desk.templates.needs(args.template, LOCAL, args.version)
    if args.json:
        as_json(found)
    else:
        table(
            ("PATH", "LATEST EVENTS THAT HAD NOTHING THERE"),
            [(f"ctx.{one.path}", ", ".join(map(str, one.lacking)) or "-") for one in found],
        )
    return 0


# -------------------------------------------------------------------------------------------------- preview and proof


async def _preview(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        event = None if args.event is None else _event(args, instance.queue_of)
        made = await instance.services.desk.templates.preview(
            args.template,
            LOCAL,
            version=args.version,
            seed=args.seed,
            event=event,
            language=args.language,
            images=args.images,
        )
    if args.json:
        as_json({**plain(made), "files": sorted(made.files)})
    elif args.part:
        if args.part not in made.parts:
            raise TemplateError(args.template, f"has no part {args.part!r}; parts are {', '.join(made.parts)}")
        sys.stdout.write(made.parts[args.part])
    else:
        _print_preview(made)
    return 0


def _event(args: argparse.Namespace, queue_of: Callable[[str], Queue]) -> IncomingEvent:
    event_type = args.template.partition("/")[0]
    try:
        value = orjson.loads(sys.stdin.buffer.read() if str(args.event) == "-" else args.event.read_bytes())
        return event_from_json(value, queue_of, event_type=event_type)
    except (OSError, ValueError) as error:
        raise PetitbleuError(f"{args.event}: {error}") from None


def _print_preview(made: Preview) -> None:
    print(f"to: {made.address}")
    for name, value in made.fields.items():
        if value not in (None, "", [], {}, ()):
            shown = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
            print(f"{name}: {shown}")
    for note in made.notes:
        print(note)
    for name, text in made.parts.items():
        print(f"\n--- {name} ---\n{text}")


async def _proof(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set, plugins_running=True) as instance:
        proofs = await instance.services.desk.templates.proof(args.template, actor(args), seed=args.seed, to=args.to)
    for one in proofs:
        print(f"{one.seed}: {one.address}: {one.outcome}: {one.text}")
    return 1 if any(one.outcome != "delivered" for one in proofs) else 0


# ------------------------------------------------------------------------------------- publish, unpublish, roll back


async def _publish(args: argparse.Namespace) -> int:
    if bool(args.all) == bool(args.template):
        print("name a template, or use --all", file=sys.stderr)
        return 2
    done: list[dict[str, Any]] = []
    refused = 0
    async with open_instance(args.config, args.set) as instance:
        names = ["/".join(key) for key in instance.drafts.list()] if args.all else [args.template]
        progress = Progress("published", len(names))
        for name in names:
            try:
                published = await instance.services.desk.templates.publish(name, actor(args))
            except TemplateError as error:
                refused += 1
                print(f"{name}: refused: {error}", file=sys.stderr)
            else:
                done.append({"template": name, "version": published.version, "changed": published.changed})
            progress.step()
    if args.json:
        as_json(done)
    else:
        for one in done:
            how = "published" if one["changed"] else "is published already"
            print(f"{one['template']}: {how}, version {one['version']}")
    return 1 if refused else 0


async def _unpublish(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        await instance.services.desk.templates.unpublish(args.template, actor(args))
    print(f"{args.template}: unpublished; new events of this type end as not covered")
    return 0


async def _rollback(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        published = await instance.services.desk.templates.rollback(args.template, args.version, actor(args))
    how = "is back" if published.changed else "rules already"
    print(f"{args.template}: version {published.version} {how}")
    return 0


async def _versions(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        versions = await instance.services.desk.templates.versions(args.template, LOCAL)
    if args.json:
        as_json(versions)
    else:
        table(
            ("VERSION", "CREATED", "BY", "CONTENT", ""),
            [(one.number, one.created, one.created_by, one.digest[:12], "current" * one.current) for one in versions],
        )
    return 0


# ----------------------------------------------------------------------------------------------------------- arguments


def _with(*more: Callable[[argparse.ArgumentParser], None]) -> Callable[[argparse.ArgumentParser], None]:
    def fill(parser: argparse.ArgumentParser) -> None:
        for one in more:
            one(parser)

    return fill


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _version_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default="", help="a number or `draft` (default: the published version)")


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "old", nargs="?", default="", help="a version's number or `draft` (default: the published version)"
    )
    parser.add_argument("new", nargs="?", default="draft", help="(default: draft)")


def _preview_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", default="", help="a seed's name (default: the first)")
    parser.add_argument("--language", default="", help="another language than the seed's")
    parser.add_argument("--version", default="draft", help="a number (default: the draft)")
    parser.add_argument(
        "--event", type=Path, metavar="FILE", help="in place of a seed, an event as JSON; - is standard input"
    )
    images_argument(parser)
    parser.add_argument("--part", help="print this part alone, e.g. html")


def _proof_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", default="", help="only this seed (default: all)")
    parser.add_argument("--to", default="", help="another address than the seed's")


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", nargs="?", metavar="TYPE[/CHANNEL]", help="e.g. order_confirmation/email")
    parser.add_argument("--all", action="store_true", help="every draft there is")


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", type=int, help="the number of an earlier version")


COMMANDS = (
    Command("list", "every template: published version, state of its draft", _list, _json),
    Command("show", "the content of a version", _show, _with(_which, _version_option, _json)),
    Command(
        "needs",
        "what it reads of ctx, and which of the latest events lacked it",
        _needs,
        _with(_which, _version_option, _json),
    ),
    Command("diff", "what a publication would change, or did", _diff, _with(_which, _diff_arguments)),
    Command("preview", "render the draft with a seed, or an event", _preview, _with(_which, _preview_arguments, _json)),
    Command("proof", "send the draft to its seeds", _proof, _with(_which, _proof_arguments, by_argument)),
    Command(
        "publish",
        "freeze drafts and use them for new messages",
        _publish,
        _with(_publish_arguments, by_argument, _json),
    ),
    Command("unpublish", "use no version for new messages", _unpublish, _with(_which, by_argument)),
    Command("versions", "every version there was", _versions, _with(_which, _json)),
    Command("rollback", "use an earlier version again", _rollback, _with(_which, _rollback_arguments, by_argument)),
)
