"""Packages of plugins to begin with: `petitbleu new-plugin` writes them from the files below `templates/`.

Each file there ends in `.in`, so that nobody takes it for one of ours. `@name@` and the like in it, and the words in
capitals in its path, become the plugin's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from ..errors import PetitbleuError

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {
    "channel": "a way to reach people, which sends messages by a provider",
    "intake": "a way in for events, with a route of its own",
    "router": "rules of your own about channel and brand, and data added to events",
    "observer": "told what became of every event",
}
PREFIX = "petitbleu-"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 30


def new_plugin(name: str, kind: str, folder: Path, taken: Iterable[str] = ()) -> Path:
    """Write the package `petitbleu-NAME` below `folder` and return where it is. Raises `PetitbleuError`.

    `taken` are names of plugins that are there already.
    """
    check_name(name, taken)
    target = folder / f"{PREFIX}{name}"
    if target.exists() or target.is_symlink():
        raise PetitbleuError(f"{target} exists; nothing in it is changed")
    words = name.split("-")
    values = {
        "name": name,
        "module": f"petitbleu_{'_'.join(words)}",
        "entry": "_".join(words),
        "class": "".join(word.capitalize() for word in words),
        "camel": words[0] + "".join(word.capitalize() for word in words[1:]),
        "upper": "_".join(words).upper(),
        "version": version("petitbleu"),
    }
    places = {"MODULE": values["module"], "ENTRY": values["entry"], "TESTS": "tests", "gitignore": ".gitignore"}
    for source in (TEMPLATES / "common", TEMPLATES / kind):
        for file in sorted(source.rglob("*.in")):
            place = str(file.relative_to(source)).removesuffix(".in")
            for word, own in places.items():
                place = place.replace(word, own)
            path = target / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_filled(file.read_text("utf-8"), values), "utf-8")
    return target


def check_name(name: str, taken: Iterable[str] = ()) -> None:
    """Raises `PetitbleuError` unless a plugin may be called so."""
    if name.startswith(PREFIX):
        raise PetitbleuError(f"{name!r}: give it without {PREFIX}, which comes before every name")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise PetitbleuError(
            f"{name!r} is no name for a plugin: small letters and digits, with single hyphens between words, "
            f"{_LONGEST} at most, such as text-gate"
        )
    if name.replace("-", "_") in {one.replace("-", "_") for one in taken}:
        raise PetitbleuError(f"{name!r} is the name of a plugin that is installed here")


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], text)


__all__ = ["KINDS", "check_name", "new_plugin"]
