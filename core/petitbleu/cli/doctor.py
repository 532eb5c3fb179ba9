"""`petitbleu doctor`."""

from __future__ import annotations

import argparse

from ..commands import Command
from ..doctor import AREAS, Finding, Level, checkup, resolver
from ..errors import PetitbleuError
from .output import as_json


async def _doctor(args: argparse.Namespace) -> int:
    try:
        ask = resolver(args.dns or "")
    except ValueError as error:
        raise PetitbleuError(f"--dns {args.dns} {error}") from None
    found = await checkup(args.config, args.set, args.areas or AREAS, ask)
    if args.json:
        as_json(found)
    else:
        for area in AREAS:
            _tell(area, [one for one in found if one.area == area])
        counts = {level: sum(one.level is level for one in found) for level in reversed(Level)}
        print(", ".join(_counted(number, level) for level, number in counts.items()))
    return 1 if any(one.level is Level.PROBLEM for one in found) else 0


def _counted(number: int, level: Level) -> str:
    return f"{number} {level}{'s' if number != 1 and level is not Level.OK else ''}"


def _tell(area: str, found: list[Finding]) -> None:
    for number, one in enumerate(found):
        level = one.level.upper() if one.level is not Level.OK else "ok"
        print(f"{area if not number else '':14}{level:9}{one.name}: {one.text}")
        if one.todo:
            print(f"{'':23}→ {one.todo}")


def _area(text: str) -> str:
    if text not in AREAS:
        raise argparse.ArgumentTypeError(f"{text!r} should be one of {', '.join(AREAS)}")
    return text


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("areas", nargs="*", type=_area, metavar="AREA", help=f"only these: {', '.join(AREAS)}")
    parser.add_argument("--dns", metavar="SERVER", help="ask this name server, an IP address, with :PORT perhaps")
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("doctor", "how this installation is, what is wrong, and what to do", _doctor, _arguments),)
