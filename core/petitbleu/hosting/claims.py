"""Who claims what: routes and names that two plugins, or a plugin and the core, cannot both have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aiohttp import web

from ..errors import PluginError
from .plugins import CORE, Loaded

COMMANDS = frozenset(
    (
        *("alerts", "archive", "audit", "check", "demo", "doctor", "encrypt", "events", "forget", "init", "migrate"),
        *("new-plugin", "operators", "plugins", "purge", "push", "queue", "reload", "report", "serve"),
        *("suppressions", "templates"),
    )
)
"""The core's own subcommands, and groups of them."""

_VARIABLE = re.compile(r"\{[A-Za-z_]\w*")


def add_routes(app: web.Application, claimed: Iterable[tuple[str, web.RouteDef]], loaded: Loaded) -> None:
    """Add each plugin's routes. Two claims on one method and path, whatever its variables are called, and a route that
    aiohttp will not have, raise `PluginError`."""
    taken: dict[str, list[tuple[frozenset[str], str]]] = {}
    for plugin, route in claimed:
        methods = frozenset(("GET", "HEAD")) if route.method == "GET" else frozenset((route.method.upper(),))
        path = _VARIABLE.sub("{", route.path)
        for others, first in taken.setdefault(path, []):
            # a plugin's own route for all methods is for those that it has no other for
            if methods & others or (plugin != first and "*" in methods | others):
                cause = f"claims {route.method} {route.path}, which {_whose(first)} has"
                raise PluginError(plugin, loaded.distribution(plugin), "", cause)
        taken[path].append((methods, plugin))
        try:
            app.add_routes([route])
        except (ValueError, TypeError, RuntimeError, AssertionError) as error:
            cause = f"{route.method} {route.path} cannot be a route: {error}"
            raise PluginError(plugin, loaded.distribution(plugin), "", cause) from error


def check_names(what: str, claimed: Iterable[tuple[str, Sequence[str]]], taken: Iterable[str], loaded: Loaded) -> None:
    """Refuse what two plugins call the same, or what the core calls so."""
    owners = dict.fromkeys(taken, CORE)
    for plugin, names in claimed:
        for name in names:
            if name in owners:
                cause = f"claims the {what} {name!r}, which {_whose(owners[name])} has"
                raise PluginError(plugin, loaded.distribution(plugin), "", cause)
            owners[name] = plugin


def _whose(owner: str) -> str:
    return "the core" if owner == CORE else f"plugin {owner}"


__all__ = ["COMMANDS", "add_routes", "check_names"]
