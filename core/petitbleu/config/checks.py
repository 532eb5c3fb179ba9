"""What of a configuration can only be checked once plugins are known: channels, providers, hooks, addresses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError, ConfigProblem
from .build import RawConfig
from .complaints import hint
from .yamltree import dotted, select


def check_channels(
    raw: RawConfig, channels: Collection[str], providers: Mapping[str, Collection[str]] = MappingProxyType({})
) -> None:
    """Refuse rules, retries, terms and limits for channels that are not among `channels`, and limits for other
    providers than those a channel says it has. Raises `ConfigError`."""
    named = [
        (node.place, path, node.value)
        for pattern in (
            "routing.rules.*.channel",
            "routing.rules.*.when.channel",
            "recycling.rules.*.to",
            "recycling.rules.*.when.channel",
            "alerts.messages.*.channel",
        )
        for path, node in select(raw.tree, pattern.split("."), ())
    ]
    named += [
        (node.key or node.place, path, path[-1])
        for pattern in ("delivery.retry.*", "delivery.failover.*", "suppression.channels.*", "safe_mode.catch_all.*")
        for path, node in select(raw.tree, pattern.split("."), ())
    ]
    limited = [
        (node.key or node.place, path, *str(path[-1]).partition("/")[::2])
        for path, node in select(raw.tree, ["delivery", "providers", "*"], ())
    ]
    named += [(place, path, channel) for place, path, channel, _ in limited]
    problems = [
        ConfigProblem(str(place), dotted(path), f"no plugin here serves the channel {name!r}{hint(name, channels)}")
        for place, path, name in named
        if isinstance(name, str) and name and name not in channels
    ]
    problems += [
        ConfigProblem(str(place), dotted(path), f"{channel} has no provider {name!r}{hint(name, known)}")
        for place, path, channel, name in limited
        if (known := providers.get(channel)) and name not in known
    ]
    if problems:
        raise ConfigError(problems)


def check_catch_all(raw: RawConfig, checks: Mapping[str, Callable[[str], str]]) -> None:
    """Refuse addresses of `safe_mode.catch_all` that are none of their channel's. Raises `ConfigError`."""
    problems = []
    for path, node in select(raw.tree, ["safe_mode", "catch_all", "*"], ()):
        check = checks.get(str(path[-1]))
        if check is None or not isinstance(node.value, str):
            continue
        try:
            check(node.value)
        except ValueError as error:
            problems.append(ConfigProblem(str(node.place), dotted(path), str(error)))
    if problems:
        raise ConfigError(problems)


def check_messages(
    raw: RawConfig,
    checks: Mapping[str, Callable[[str], str]],
    fields: Mapping[str, Callable[[Mapping[str, Any]], object]],
) -> None:
    """Refuse addresses and fields of `alerts.messages` that are none of their channel's; `fields` tries some, and
    raises pydantic's `ValidationError`. Raises `ConfigError`."""
    problems = []
    for path, node in select(raw.tree, ["alerts", "messages", "*"], ()):
        message = node.plain()
        channel = message["channel"]
        for inner, to in select(node, ["to", "*"], path):
            try:
                checks[channel](str(to.value))
            except ValueError as error:
                problems.append(ConfigProblem(str(to.place), dotted(inner), str(error)))
        given = node.at("fields")
        try:
            fields[channel](message.get("fields") or {})
        except ValidationError as error:
            place = str((given or node).place)
            problems += [
                ConfigProblem(place, dotted((*path, "fields", *one["loc"])), one["msg"])
                for one in error.errors(include_url=False, include_input=False)
            ]
    if problems:
        raise ConfigError(problems)


def check_deadlines(raw: RawConfig, hooks: Mapping[str, Collection[str]]) -> None:
    """Refuse deadlines for plugins and hooks that are not among `hooks`, which has the hooks of each plugin that a
    deadline can be for. Raises `ConfigError`."""
    problems = []
    for path, node in select(raw.tree, ["delivery", "deadlines", "*"], ()):
        plugin = str(path[-1])
        if plugin not in hooks:
            text = f"{plugin!r} is not in the list of plugins{hint(plugin, hooks)}"
            problems.append(ConfigProblem(str(node.key or node.place), dotted(path), text))
            continue
        for hook, child in node.children():
            if hook != "*" and hook not in hooks[plugin]:
                text = f"{plugin} has no hook {str(hook)!r} that takes time{hint(str(hook), hooks[plugin])}"
                problems.append(ConfigProblem(str(child.key or child.place), dotted((*path, hook)), text))
    if problems:
        raise ConfigError(problems)
