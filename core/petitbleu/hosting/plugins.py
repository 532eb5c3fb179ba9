"""Finding, loading and checking plugins.

Only what the configuration lists is imported, and only once everything is right does the server start: a listed plugin
that is missing, broken, installed twice or that misspells a hook stops the start with one error that names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import metadata
from importlib.metadata import Distribution, EntryPoint
from types import MappingProxyType
from typing import Any, NamedTuple

import pluggy
from pluggy import PluginValidationError

from .. import hookspecs
from ..compatibility import Deprecation, Former, argument_deprecation, hook_deprecation, warn
from ..errors import PluginError
from ..suggest import did_you_mean

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


class Implementation(NamedTuple):
    """A hook as a plugin has it. `argnames` are the specification's names of its arguments, in its order."""

    plugin_name: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]


@dataclass(slots=True)
class Loaded:
    """The plugins of one server, in configuration order, the core's own answers last.

    `settings` and `states` are filled in while the server starts: the typed section of each plugin, and what its
    lifespan yielded.
    """

    manager: Manager
    plugins: tuple[Plugin, ...]
    deprecations: tuple[Deprecation, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    implementations: dict[str, tuple[Implementation, ...]] = field(default_factory=dict)

    def of(self, hook: str) -> tuple[Implementation, ...]:
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
        self.implementations = self.manager.implementations()


class Manager(pluggy.PluginManager):
    """pluggy's, with former names of hooks and arguments."""

    def __init__(self, specs: Any) -> None:
        super().__init__("petitbleu")
        self.specs = specs
        self.hooks = [name for name in vars(specs) if name.startswith(PREFIX)]
        self.former_hooks: Mapping[str, Former] = specs.FORMER_HOOKS
        self.former_arguments: Mapping[str, Mapping[str, Former]] = specs.FORMER_ARGUMENTS
        self.add_hookspecs(specs)
        for hook, arguments in self.former_arguments.items():
            specification: Any = getattr(self.hook, hook).spec
            specification.argnames = (*specification.argnames, *(set(arguments) - set(specification.argnames)))

    def current(self, hook: str) -> str:
        """The name that a hook has now."""
        return self.former_hooks[hook].now if hook in self.former_hooks else hook

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """A former hook's implementation is one of the hook."""
        # pluggy would look at all that a module has, which is a third of loading it
        if not name.startswith(PREFIX):
            return None
        options = super().parse_hookimpl_opts(plugin, name)
        former = self.former_hooks.get(name)
        return options if options is None or former is None else {**options, "specname": former.now}

    def implementations(self) -> dict[str, tuple[Implementation, ...]]:
        """By hook, in configuration order; the core, which registers last, is called last all the same."""
        found = {}
        for hook in self.hooks:
            former = self.former_arguments.get(hook, {})
            all_of_it = [
                Implementation(
                    one.plugin_name,
                    one.function,
                    tuple(former[name].now or name if name in former else name for name in one.argnames),
                )
                for one in getattr(self.hook, hook).get_hookimpls()[::-1]
            ]
            found[hook] = tuple(sorted(all_of_it, key=lambda one: one.plugin_name == CORE))
        return found


def load(
    names: Sequence[str],
    found: Iterable[EntryPoint] | None = None,
    given: Mapping[str, object] = MappingProxyType({}),
    specs: Any = hookspecs,
) -> Loaded:
    """Import the plugins called `names`, in that order; those that are `given`, modules or objects, are there already.

    `specs` is the page of the hooks. Raises `PluginError`.
    """
    # a look at all that is installed takes as long as all the rest
    looked = found if found is not None or set(names) <= set(given) else installed()
    available = _by_name(looked or ())
    manager = Manager(specs)
    plugins = [_given(name, given[name]) if name in given else _load_one(name, available) for name in names]
    # pluggy calls the last registered first; the administrator's list is the order of calls
    deprecations = [
        one
        for plugin in reversed(plugins)
        for one in _register(manager, plugin.name, plugin.module, plugin.distribution)
    ]
    manager.check_pending()
    called = [replace(one, hooks=tuple(sorted(map(manager.current, one.hooks)))) for one in plugins]
    return Loaded(manager, tuple(called), tuple(deprecations[::-1]), implementations=manager.implementations())


def available_plugins() -> list[str]:
    return sorted(_by_name(installed()))


def installed() -> list[EntryPoint]:
    """`entry_points(group=GROUP)`, without reading what all other packages offer."""
    ours = [one for one in metadata.distributions() if f"[{GROUP}]" in (one.read_text("entry_points.txt") or "")]
    # of several of one name the first on the path is the one that is installed
    names = {one.metadata["Name"] for one in ours}
    return [point for name in sorted(names) for point in metadata.distribution(name).entry_points.select(group=GROUP)]


def _by_name(points: Iterable[EntryPoint]) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in points:
        same = found.setdefault(point.name, [])
        # a development install is listed twice when its folder is also on the path
        if all((point.value, _distribution(point)) != (other.value, _distribution(other)) for other in same):
            same.append(point)
    return found


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return ("", "") if point.dist is None else _named(point.dist)


@lru_cache(maxsize=16)
def _named(found: Distribution) -> tuple[str, str]:
    """Its name and version. Each look at what it tells of itself reads its file, README and all, and many plugins may
    come from one."""
    told = found.metadata
    return told["Name"], told["Version"]


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


def _register(manager: Manager, name: str, module: object, distribution: str) -> list[Deprecation]:
    """Gives the former names that it uses."""
    found: list[Deprecation] = []
    hooks = _hooks(module)
    for hook in hooks:
        now = manager.current(hook)
        if now != hook and now in hooks:
            raise PluginError(name, distribution, hook, f"is {now} by its former name, which is there too")
        found += _check(manager, name, distribution, hook, getattr(module, hook))
    try:
        manager.register(module, name)
    except (PluginValidationError, ValueError) as error:
        raise PluginError(name, distribution, "", " ".join(str(error).split())) from error
    return found


def _check(manager: Manager, plugin: str, distribution: str, hook: str, implementation: Any) -> Iterator[Deprecation]:
    now = manager.current(hook)
    specification = getattr(manager.specs, now, None)
    if specification is None or not hook.startswith(PREFIX):
        raise PluginError(
            plugin, distribution, hook, f"there is no such hook; {did_you_mean(hook, manager.hooks)}".rstrip("; ")
        )
    options = implementation.petitbleu_impl
    if options["wrapper"] or options["hookwrapper"]:
        raise PluginError(plugin, distribution, hook, "is a wrapper; hooks are implemented by plain functions only")
    if options["tryfirst"] or options["trylast"]:
        raise PluginError(plugin, distribution, hook, "asks for its own place; the configuration orders plugins")
    asked = inspect.iscoroutinefunction(specification)
    if inspect.iscoroutinefunction(implementation) != asked:
        raise PluginError(plugin, distribution, hook, f"must be {'async def' if asked else 'def'}")
    if now != hook:
        yield _told(hook_deprecation(plugin, hook, manager.former_hooks[hook]), implementation)
    offered = sorted(inspect.signature(specification).parameters)
    former = manager.former_arguments.get(now, {})
    for name in inspect.signature(implementation).parameters:
        if name in former:
            yield _told(argument_deprecation(plugin, hook, name, former[name]), implementation)
        elif name not in offered:
            cause = f"has no argument {name!r}; it offers {', '.join(offered) or 'none'}"
            raise PluginError(plugin, distribution, hook, cause)


def _told(deprecation: Deprecation, implementation: Any) -> Deprecation:
    warn(deprecation, implementation)
    return deprecation
