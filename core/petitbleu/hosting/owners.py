"""Whose code is running: a plugin's, told by its hook implementations and its modules, or the core's."""

from __future__ import annotations

from types import FrameType, ModuleType
from typing import NamedTuple

from .plugins import CORE, Loaded


class Owner(NamedTuple):
    """`hook` is "" for code that no hook has called: a task, a route, a callback."""

    plugin: str
    hook: str


class Owners:
    def __init__(self, loaded: Loaded) -> None:
        found = [
            (implementation.function.__code__, Owner(implementation.plugin_name, hook))
            for hook, implementations in loaded.implementations.items()
            for implementation in implementations
            if hasattr(implementation.function, "__code__")
        ]
        self._kept = [code for code, _ in found]
        # by identity: code compares by its content, which takes long and makes twins one
        self._hooks = {id(code): owner for code, owner in found}
        self._prefixes = {
            name: plugin.name
            for plugin in loaded.plugins
            if (name := _module(plugin.module)) != "petitbleu" and not name.startswith("petitbleu.")
        }
        self._modules: dict[str, str | None] = {}

    def of_module(self, name: str) -> str | None:
        """A plugin, or `core`; None: neither's, a library."""
        try:
            return self._modules[name]
        except KeyError:
            owner = CORE if name == "petitbleu" or name.startswith("petitbleu.") else None
            above = name
            while above and owner is None:
                owner = self._prefixes.get(above)
                above = above.rpartition(".")[0]
            self._modules[name] = owner
            return owner

    def creator(self, frame: FrameType | None) -> str | None:
        """The plugin that the innermost code of ours or of a plugin belongs to; None where that is the core's."""
        while frame is not None:
            owner = self.of_module(frame.f_globals.get("__name__", ""))
            if owner is None and (known := self._hooks.get(id(frame.f_code))) is not None:
                owner = known.plugin
            if owner is not None:
                return None if owner == CORE else owner
            frame = frame.f_back
        return None

    def of(self, frame: FrameType | None) -> Owner:
        """The plugin whose code is the innermost, with the hook that called it; otherwise the core's."""
        inner = ""
        core = Owner(CORE, "")
        while frame is not None:
            owner = self._hooks.get(id(frame.f_code))
            if owner is None:
                plugin = self.of_module(frame.f_globals.get("__name__", ""))
                if plugin is not None and plugin != CORE:
                    inner = inner or plugin
            elif owner.plugin == CORE:
                core = owner
            elif not inner or inner == owner.plugin:
                return owner
            frame = frame.f_back
        return Owner(inner, "") if inner else core


def _module(plugin: object) -> str:
    return plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__


__all__ = ["Owner", "Owners"]
