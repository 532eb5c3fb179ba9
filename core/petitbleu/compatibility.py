"""Names of hooks and arguments that were changed: plugins that use the old ones work on for a while, and are told."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any


class PetitbleuDeprecationWarning(DeprecationWarning):
    """A plugin uses what a later version will not have any more."""


@dataclass(frozen=True, slots=True)
class Former:
    """A hook, or a hook's argument, that has another name since one version, and is refused from another one on.

    Without a new name an argument is only going away; until then it stays in the specification.
    """

    now: str
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class Deprecation:
    """A plugin that uses a former name."""

    plugin: str
    text: str

    def __str__(self) -> str:
        return f"plugin {self.plugin}: {self.text}"


def hook_deprecation(plugin: str, hook: str, former: Former) -> Deprecation:
    return Deprecation(
        plugin, f"the hook {hook} is {former.now} since {former.since}, and refused from {former.until} on"
    )


def argument_deprecation(plugin: str, hook: str, argument: str, former: Former) -> Deprecation:
    now = f"is {former.now!r}" if former.now else "is going away"
    until = f"{now} since {former.since}, and refused from {former.until} on"
    return Deprecation(plugin, f"{hook}: the argument {argument!r} {until}")


def warn(deprecation: Deprecation, implementation: Any) -> None:
    """As a Python warning, at the line of the implementation."""
    code = implementation.__code__
    module = implementation.__module__
    kind = PetitbleuDeprecationWarning
    warnings.warn_explicit(str(deprecation), kind, code.co_filename, code.co_firstlineno, module)


__all__ = ["Deprecation", "Former", "PetitbleuDeprecationWarning", "argument_deprecation", "hook_deprecation", "warn"]
