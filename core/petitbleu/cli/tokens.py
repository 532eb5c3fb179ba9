"""`petitbleu operators token create | list | revoke`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TextIO

from pydantic import TypeAdapter, ValidationError

from ..commands import Command, by_argument
from ..config.settings import Duration
from ..errors import PetitbleuError
from ..instance import Instance, open_instance
from ..operating import ApiToken
from .local import LOCAL, actor
from .output import as_json, plain, table

_DURATION = TypeAdapter[float](Duration)


async def _create(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        new = await instance.services.desk.installation.create_token(
            args.login,
            args.name,
            actor(args),
            rights=args.rights,
            event_types=args.event_types,
            brands=args.brands,
            expires=None if args.expires is None else timedelta(seconds=_seconds(args)),
        )
        if args.json:
            as_json({"token": new.token, **plain(new.known)})
        else:
            print(new.token)
            print("This is the only time it is shown. Callers send it as `Authorization: Bearer …`.", file=sys.stderr)
            _show(instance, [new.known], sys.stderr)
    return 0


def _seconds(args: argparse.Namespace) -> float:
    try:
        return _DURATION.validate_python(args.expires)
    except ValidationError:
        text = f"--expires {args.expires} should be a duration such as 90d, of ten years at most"
        raise PetitbleuError(text) from None


async def _list(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        desk = instance.services.desk.installation
        found = await desk.tokens(LOCAL, args.login or "", everything=args.all)
        if args.json:
            as_json([{**plain(one), "state": one.state(instance.services.now())} for one in found])
        else:
            _show(instance, found)
    return 0


async def _revoke(args: argparse.Namespace) -> int:
    async with open_instance(args.config, args.set) as instance:
        for token_id in args.ids:
            revoked = await instance.services.desk.installation.revoke_token(token_id, actor(args))
            print(f"token {token_id} of {revoked.login}, {revoked.name}: revoked")
    return 0


def _show(instance: Instance, tokens: Sequence[ApiToken], out: TextIO | None = None) -> None:
    now = instance.services.now()
    table(
        ("ID", "LOGIN", "NAME", "TOKEN", "RIGHTS", "TYPES", "BRANDS", "CREATED", "EXPIRES", "USED", "STATE"),
        [
            (
                one.id,
                one.login,
                one.name,
                f"{one.start}…",
                ", ".join(sorted(one.rights)),
                "all" if one.event_types is None else ", ".join(sorted(one.event_types)),
                "all" if one.brands is None else ", ".join(sorted(one.brands)),
                one.created,
                one.expires or "never",
                one.used or "never",
                one.state(now),
            )
            for one in tokens
        ],
        out,
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("login", metavar="LOGIN", help="the operator in whose name it calls")
    parser.add_argument("--name", required=True, help="what it is for, such as the name of the calling system")
    parser.add_argument("--rights", type=_names, metavar="RIGHT,…", help="fewer than the operator has, such as push")
    parser.add_argument("--event-types", type=_names, metavar="TYPE,…", help="only these event types")
    parser.add_argument("--brands", type=_names, metavar="BRAND,…", help="only these brands")
    parser.add_argument("--expires", metavar="DURATION", help="after so long, such as 90d (default: never)")
    by_argument(parser)
    _json(parser)


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--login", help="only those of this operator")
    parser.add_argument("--all", action="store_true", help="also those that are revoked or have expired")
    _json(parser)


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", type=int, metavar="ID")
    by_argument(parser)


COMMANDS = (
    Command("create", "make a token, and show it once", _create, _create_arguments),
    Command("list", "the tokens that are valid, and when they were last used", _list, _list_arguments),
    Command("revoke", "let tokens hold no more", _revoke, _revoke_arguments),
)
