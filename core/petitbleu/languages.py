"""Language tags (BCP 47) and the fallback from a region to its language to the default."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from .types import Event

T = TypeVar("T")

LANGUAGE = "en"
"""The default language of a template that names none."""

TAG = r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*"
"""A language tag as it stands in file and field names."""


@lru_cache(maxsize=1024)
def canonical(tag: str) -> str:
    """`fr_ca` as `fr-CA`; a tag that is none as the empty string."""
    if not re.fullmatch(TAG, tag):
        return ""
    language, *rest = tag.replace("_", "-").split("-")
    return "-".join([language.lower(), *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    if len(part) == 2:
        return part.upper()
    return part.title() if len(part) == 4 and part.isalpha() else part.lower()


@lru_cache(maxsize=1024)
def fallbacks(tag: str) -> tuple[str, ...]:
    """`fr-CA`, `fr`."""
    parts = canonical(tag).split("-") if canonical(tag) else []
    return tuple("-".join(parts[:end]) for end in range(len(parts), 0, -1))


def pick(variants: Mapping[str, T], tag: str, default: str) -> T | None:
    """The variant for `tag`, the one named `""` being in the language `default`; None where there is none."""
    for candidate in fallbacks(tag):
        if candidate in variants:
            return variants[candidate]
        if candidate == default:
            break
    return variants.get("")


def effective(tag: str, available: Iterable[str], default: str) -> str:
    """The language a message for `tag` is written in: `tag` itself when it or a parent is available, else `default`."""
    offered = {default, *available}
    return canonical(tag) if any(candidate in offered for candidate in fallbacks(tag)) else default


def event_language(event: Event) -> str:
    """The event's language, with its country when the language names none: `fr` and `CA` make `fr-CA`."""
    tag = canonical(event.language)
    if tag and "-" not in tag and re.fullmatch(r"[A-Za-z]{2}", event.country):
        return f"{tag}-{event.country.upper()}"
    return tag
