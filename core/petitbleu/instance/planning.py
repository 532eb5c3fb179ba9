"""A configuration with its plugins loaded and checked, before any database is opened."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias

from ..addresses import email_address, phone_number, registration_token
from ..alerts.notifying import content
from ..channels import EMAIL, MOBILE_PHONE, wishes
from ..config import (
    Config,
    RawConfig,
    build_config,
    check_catch_all,
    check_channels,
    check_deadlines,
    check_messages,
    find_config,
    read_config,
)
from ..hosting.calls import Calls
from ..hosting.conduct import Conduct
from ..hosting.plugins import Loaded, load
from ..safemode import SafeMode
from ..types import Channel, Retry

Source: TypeAlias = Path | RawConfig | None
"""Where a configuration comes from: its folder (None: the usual one), or what was read there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration with its plugins loaded and checked, before any database is opened."""

    raw: RawConfig
    config: Config
    loaded: Loaded
    calls: Calls
    channels: Mapping[str, Channel]


def plan(source: Source, overrides: Sequence[str], plugins: Mapping[str, object] = MappingProxyType({})) -> Plan:
    """`plugins` are those that need not be installed. Raises `ConfigError` or `PluginError`."""
    raw = source if isinstance(source, RawConfig) else read_config(find_config(source), overrides)
    loaded = load(raw.plugin_names(), given=plugins)
    types = Calls(loaded, 1.0).settings_types()
    config = build_config(raw, types)
    loaded.settings.update(config.plugin_settings)
    conduct = Conduct(config.monitoring.trouble)
    delivery = config.delivery
    check_deadlines(raw, loaded.timed())
    calls = Calls(
        loaded, delivery.hook_deadline, delivery.hook_grace, delivery.deadlines, conduct, config.limits.unheard
    )
    calls.commands(_nothing_opened)
    calls.catchers()
    channels = {name: _tuned(config, channel) for name, channel in calls.channels().items()}
    served = {wish.channel for wish in wishes(channels.values()).values()}
    check_channels(raw, served, {name: channel.providers for name, channel in channels.items()})
    checks = {name: _address_check(channel) for name, channel in channels.items()}
    check_catch_all(raw, checks)
    check_messages(raw, checks, {name: partial(_tried, channel) for name, channel in channels.items()})
    calls.safe_mode = _safe_mode(config, channels)
    return Plan(raw, config, loaded, calls, channels)


def _nothing_opened(arguments: argparse.Namespace) -> NoReturn:
    """Commands are only checked here; whoever is to run one asks for them with a way to open what it is run on."""
    raise RuntimeError("a plugin's command was run while the configuration is being read")


def _address_check(channel: Channel) -> Callable[[str], str]:
    own = {EMAIL: email_address, MOBILE_PHONE: phone_number}
    return channel.address_check or own.get(channel.address, registration_token)


def _tried(channel: Channel, fields: Mapping[str, Any]) -> object:
    return content(channel, "title", "text", fields)


def _safe_mode(config: Config, channels: Mapping[str, Channel]) -> SafeMode | None:
    safe = config.safe_mode
    if not safe.enabled:
        return None
    kinds = {name: channel.address for name, channel in channels.items()}
    return SafeMode(safe.allow, safe.catch_all, safe.sink, safe.prefix, kinds)


def _tuned(config: Config, channel: Channel) -> Channel:
    """With the administrator's retries in place of the plugin's."""
    retry = config.delivery.retry.get(channel.name)
    return channel if retry is None else replace(channel, retry=Retry(retry.first, retry.cap, retry.tries))
