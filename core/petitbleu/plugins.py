"""Finding, loading and checking plugins.

Only what the configuration lists is imported, and only once everything is right does the server start: a listed plugin
that is missing, broken, installed twice or that misspells a hook stops the start with one error that names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

import pluggy
from pluggy import HookImpl, PluginValidationError

from . import hookspecs
from .errors import PluginError
from .suggest import did_you_mean

GROUP = "petitbleu"
CORE = "core"
PREFIX = "petitbleu_"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin: its name in the configuration, where it came from, what it implements."""

    name: str
    module: object
    distribution: str
    version: str
    hooks: tuple[str, ...]


TIMED = tuple(
    name
    for name, value in vars(hookspecs).items()
    if name.startswith(PREFIX) and (inspect.iscoroutinefunction(value) or name == "petitbleu_lifespan")
)
"""The hooks that may take time, and have a deadline."""


@dataclass(slots=True)
class Loaded:
    """The plugins of one server, in configuration order, the core's own answers last.

    `settings` and `states` are filled in while the server starts: the typed section of each plugin, and what its
    lifespan yielded.
    """

    manager: pluggy.PluginManager
    plugins: tuple[Plugin, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    implementations: dict[str, tuple[HookImpl, ...]] = field(default_factory=dict)

    def of(self, hook: str) -> tuple[HookImpl, ...]:
        """The implementations of a hook in the order they are called."""
        return self.implementations.get(hook, ())

    def distribution(self, plugin: str) -> str:
        return next((f"{one.distribution} {one.version}" for one in self.plugins if one.name == plugin), "petitbleu")

    def timed(self) -> dict[str, list[str]]:
        """By plugin, its hooks that have a deadline, by their short names."""
        return {one.name: [hook.removeprefix(PREFIX) for hook in one.hooks if hook in TIMED] for one in self.plugins}

    def add_core(self, answers: object) -> None:
        """Register the core's own answers; they come after every plugin's."""
        _register(self.manager, CORE, answers, "petitbleu")
        self.implementations = _implementations(self.manager)


def load(
    names: Sequence[str],
    found: Iterable[EntryPoint] | None = None,
    given: Mapping[str, object] = MappingProxyType({}),
) -> Loaded:
    """Import the plugins called `names`, in that order; those that are `given`, modules or objects, are there already.

    Raises `PluginError`.
    """
    available = _by_name(entry_points(group=GROUP) if found is None else found)
    manager = pluggy.PluginManager("petitbleu")
    manager.add_hookspecs(hookspecs)
    plugins = [_given(name, given[name]) if name in given else _load_one(name, available) for name in names]
    # pluggy calls the last registered first; the administrator's list is the order of calls
    for plugin in reversed(plugins):
        _register(manager, plugin.name, plugin.module, plugin.distribution)
    manager.check_pending()
    return Loaded(manager, tuple(plugins), implementations=_implementations(manager))


def available_plugins() -> list[str]:
    return sorted(_by_name(entry_points(group=GROUP)))


def _by_name(points: Iterable[EntryPoint]) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in points:
        same = found.setdefault(point.name, [])
        # a development install is listed twice when its folder is also on the path
        if all((point.value, _distribution(point)) != (other.value, _distribution(other)) for other in same):
            same.append(point)
    return found


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist is not None else ("", "")


def _load_one(name: str, available: Mapping[str, Sequence[EntryPoint]]) -> Plugin:
    points = available.get(name, ())
    if not points:
        hint = did_you_mean(name, available) or f"installed are: {', '.join(sorted(available)) or 'none'}"
        raise PluginError(name, "", "", f"is not installed (no entry point {name!r} in the group {GROUP!r}); {hint}")
    if len(points) > 1:
        owners = " and ".join(f"{_distribution(point)[0]} ({point.value})" for point in points)
        raise PluginError(name, owners, "", "is installed twice; uninstall one of them")
    distribution, version = _distribution(points[0])
    try:
        module = points[0].load()
    except (Exception, SystemExit) as error:
        cause = f"cannot be imported from {points[0].value}: {type(error).__name__}: {error}"
        raise PluginError(name, f"{distribution} {version}", "", cause) from error
    hooks = _hooks(module)
    if not hooks:
        cause = f"{points[0].value} has no function marked with petitbleu.hookimpl"
        raise PluginError(name, f"{distribution} {version}", "", cause)
    return Plugin(name, module, distribution, version, hooks)


def _given(name: str, module: object) -> Plugin:
    hooks = _hooks(module)
    if not hooks:
        raise PluginError(name, "", "", f"{module!r:.200} has no function marked with petitbleu.hookimpl")
    return Plugin(name, module, "", "", hooks)


def _hooks(module: object) -> tuple[str, ...]:
    return tuple(attribute for attribute in dir(module) if _is_implementation(module, attribute))


def _is_implementation(module: object, attribute: str) -> bool:
    return getattr(getattr(module, attribute, None), "petitbleu_impl", None) is not None


def _register(manager: pluggy.PluginManager, name: str, module: object, distribution: str) -> None:
    for hook in _hooks(module):
        _check(name, distribution, hook, getattr(module, hook))
    try:
        manager.register(module, name)
    except (PluginValidationError, ValueError) as error:
        raise PluginError(name, distribution, "", " ".join(str(error).split())) from error


def _check(plugin: str, distribution: str, hook: str, implementation: Any) -> None:
    specification = getattr(hookspecs, hook, None)
    if specification is None or not hook.startswith(PREFIX):
        known = [known for known in dir(hookspecs) if known.startswith(PREFIX)]
        raise PluginError(
            plugin, distribution, hook, f"there is no such hook; {did_you_mean(hook, known)}".rstrip("; ")
        )
    options = implementation.petitbleu_impl
    if options["wrapper"] or options["hookwrapper"]:
        raise PluginError(plugin, distribution, hook, "is a wrapper; hooks are implemented by plain functions only")
    if options["tryfirst"] or options["trylast"]:
        raise PluginError(plugin, distribution, hook, "asks for its own place; the configuration orders plugins")
    asked = inspect.iscoroutinefunction(specification)
    if inspect.iscoroutinefunction(implementation) != asked:
        raise PluginError(plugin, distribution, hook, f"must be {'async def' if asked else 'def'}")
    known_arguments = set(inspect.signature(specification).parameters)
    unknown = [name for name in inspect.signature(implementation).parameters if name not in known_arguments]
    if unknown:
        cause = f"has no argument {unknown[0]!r}; it offers {', '.join(sorted(known_arguments)) or 'none'}"
        raise PluginError(plugin, distribution, hook, cause)


def _implementations(manager: pluggy.PluginManager) -> dict[str, tuple[HookImpl, ...]]:
    """By hook, in configuration order; the core, which registers last, is called last all the same."""
    hooks = [name for name in dir(hookspecs) if name.startswith(PREFIX)]
    latest_first = {name: getattr(manager.hook, name).get_hookimpls()[::-1] for name in hooks}
    return {name: tuple(sorted(found, key=lambda one: one.plugin_name == CORE)) for name, found in latest_first.items()}
