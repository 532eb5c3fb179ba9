"""`petitbleu templates …`: from draft to published version and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..commands import Command
from ..errors import TemplateError
from ..instance import Instance, open_instance
from ..rendering import Snapshot
from ..safemode import Withheld
from ..templates import Draft, Seed
from ..types import Attempt, Content, Delivered, Message, TemplateRef
from .local import actor, by_argument
from .output import Progress, as_json, plain, table


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", metavar="TYPE[/CHANNEL]", help="e.g. order_confirmation/email")


def _key(instance: Instance, text: str) -> tuple[str, str]:
    """The channel may be left out where the type has a single one."""
    event_type, _, channel = text.partition("/")
    if channel:
        return event_type, channel
    known = sorted({*instance.drafts.list(), *instance.templates.all_current()})
    channels = [channel for name, channel in known if name == event_type]
    if len(channels) == 1:
        return event_type, channels[0]
    if not channels:
        raise TemplateError(text, "no such template; `petitbleu templates list` shows all")
    raise TemplateError(text, f"has several channels, name one: {', '.join(f'{text}/{name}' for name in channels)}")


def _seed(draft: Draft, name: str | None) -> Seed:
    if not draft.seeds:
        raise TemplateError(draft.snapshot.name, "has no seed in seeds.yaml")
    if name is None:
        return draft.seeds[0]
    for seed in draft.seeds:
        if seed.name == name:
            return seed
    names = ", ".join(seed.name for seed in draft.seeds)
    raise TemplateError(draft.snapshot.name, f"has no seed {name!r}; there are {names}")


# ------------------------------------------------------------------------------------------------------------- list


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        states = await instance.templates.list(instance.drafts)
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


async def _snapshot(instance: Instance, key: tuple[str, str], version: str | None) -> Snapshot:
    """`draft`, a number, or the published version."""
    if version == "draft":
        return instance.drafts.load(*key).snapshot
    number = instance.templates.current(*key) if version is None else _number(version)
    if number is None:
        raise TemplateError("/".join(key), "is not published; use `--version draft` to see the draft")
    return await instance.templates.show(*key, number)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise TemplateError(text, "is neither `draft` nor the number of a version")
    return int(text)


async def _show(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        snapshot = await _snapshot(instance, _key(instance, args.template), args.version)
    if args.json:
        print(snapshot.to_json())
    else:
        print(snapshot.to_text())
    return 0


async def _diff(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        key = _key(instance, args.template)
        old = await _snapshot(instance, key, args.old)
        new = await _snapshot(instance, key, args.new)
    text = old.diff(new)
    sys.stdout.write(text)
    return 0


# -------------------------------------------------------------------------------------------------- preview and proof


async def _preview(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        key = _key(instance, args.template)
        draft = instance.drafts.load(*key)
        seed = _seed(draft, args.seed)
        source: Draft | TemplateRef = draft if args.version == "draft" else TemplateRef(*key, _number(args.version))
        content = await instance.templates.preview(source, seed, args.language)
        notes = instance.notes(key[1], content)
    if args.json:
        as_json({"fields": content.fields, "parts": content.parts, "files": sorted(content.files), "notes": notes})
    elif args.part:
        if args.part not in content.parts:
            raise TemplateError(args.template, f"has no part {args.part!r}; parts are {', '.join(content.parts)}")
        sys.stdout.write(content.parts[args.part])
    else:
        _print_content(content, seed, notes)
    return 0


def _print_content(content: Content, seed: Seed, notes: Sequence[str]) -> None:
    print(f"to: {seed.address}")
    for name, value in content.fields.items():
        if value not in (None, "", [], {}, ()):
            print(f"{name}: {plain(value)}")
    for note in notes:
        print(note)
    for name, text in content.parts.items():
        print(f"\n--- {name} ---\n{text}")


async def _proof(args: argparse.Namespace) -> int:
    failures = 0
    async with open_instance(args.config, args.set, plugins_running=True) as instance:
        key = _key(instance, args.template)
        draft = instance.drafts.load(*key)
        seeds = [_seed(draft, args.seed)] if args.seed else list(draft.seeds)
        for seed in seeds:
            message = await _proof_message(instance, draft, seed, args.to)
            try:
                outcome = await instance.calls.deliver(message, Attempt(1, _go), instance.config.delivery.deadline)
            except Withheld as withheld:
                failures += 1
                print(f"{seed.name}: {message.address}: not sent: {withheld}")
                continue
            sent = isinstance(outcome, Delivered)
            failures += not sent
            print(f"{seed.name}: {message.address}: {type(outcome).__name__.lower()}: {outcome.text}")
    return 1 if failures else 0


async def _go(provider: str) -> None:
    """A proof has no queue row: nothing stands in its way."""


async def _proof_message(instance: Instance, draft: Draft, seed: Seed, to: str | None) -> Message:
    snapshot = draft.snapshot
    content = await instance.templates.preview(draft, seed)
    channel = instance.channels[snapshot.channel]
    event = seed.event(snapshot.event_type, channel, instance.services.now())
    brand = instance.brand_of(snapshot.event_type, snapshot.meta.brand)
    content = instance.branded(content, brand)
    key = f"proof-{int(event.created.timestamp() * 1000)}-{seed.name}@{instance.config.instance.name}"
    ref = TemplateRef(snapshot.event_type, snapshot.channel, 0)
    return Message(event, snapshot.channel, to or seed.address, brand, ref, content, key)


# ------------------------------------------------------------------------------------- publish, unpublish, roll back


async def _publish(args: argparse.Namespace) -> int:
    if bool(args.all) == bool(args.template):
        print("name a template, or use --all", file=sys.stderr)
        return 2
    done: list[dict[str, Any]] = []
    refused = 0
    async with open_instance(args.config, args.set) as instance:
        keys = instance.drafts.list() if args.all else [_key(instance, args.template)]
        progress = Progress("published", len(keys))
        for key in keys:
            try:
                draft = instance.drafts.load(*key)
                published = await instance.templates.publish(draft, actor(args))
            except TemplateError as error:
                refused += 1
                print(f"{'/'.join(key)}: refused: {error}", file=sys.stderr)
            else:
                done.append({"template": "/".join(key), "version": published.version, "changed": published.changed})
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
        key = _key(instance, args.template)
        await instance.templates.unpublish(*key, actor(args))
    print(f"{'/'.join(key)}: unpublished; new events of this type end as not covered")
    return 0


async def _rollback(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        key = _key(instance, args.template)
        published = await instance.templates.rollback(*key, args.version, actor(args))
    how = "is back" if published.changed else "rules already"
    print(f"{'/'.join(key)}: version {published.version} {how}")
    return 0


async def _versions(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        versions = await instance.templates.versions(*_key(instance, args.template))
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
    parser.add_argument("--version", help="a number or `draft` (default: the published version)")


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", nargs="?", help="a version's number or `draft` (default: the published version)")
    parser.add_argument("new", nargs="?", default="draft", help="(default: draft)")


def _preview_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", help="a seed's name (default: the first)")
    parser.add_argument("--language", default="", help="another language than the seed's")
    parser.add_argument("--version", default="draft", help="a number (default: the draft)")
    parser.add_argument("--part", help="print this part alone, e.g. html")


def _proof_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", help="only this seed (default: all)")
    parser.add_argument("--to", help="another address than the seed's")


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", nargs="?", metavar="TYPE[/CHANNEL]", help="e.g. order_confirmation/email")
    parser.add_argument("--all", action="store_true", help="every draft there is")


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", type=int, help="the number of an earlier version")


COMMANDS = (
    Command("list", "every template: published version, state of its draft", _list, _json),
    Command("show", "the content of a version", _show, _with(_which, _version_option, _json)),
    Command("diff", "what a publication would change, or did", _diff, _with(_which, _diff_arguments)),
    Command("preview", "render the draft with a seed", _preview, _with(_which, _preview_arguments, _json)),
    Command("proof", "send the draft to its seeds", _proof, _with(_which, _proof_arguments)),
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
