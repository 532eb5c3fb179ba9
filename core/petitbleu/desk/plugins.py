"""What is loaded, from where, and what it does when."""

from __future__ import annotations

from collections.abc import Sequence

from ..answers import CoreAnswers
from ..config.settings import DeliverySettings
from ..hosting.calls import Calls
from ..hosting.plugins import CORE, TIMED, Loaded
from ..operating import HookFacts, PluginFacts


def plugin_facts(loaded: Loaded, calls: Calls, delivery: DeliverySettings) -> list[PluginFacts]:
    """In the order in which they are called."""
    return [
        PluginFacts(
            order,
            plugin.name,
            plugin.version,
            plugin.distribution,
            calls.channels_of(plugin.name),
            [
                HookFacts(
                    hook,
                    [plugin.name] if hook == "petitbleu_deliver" else hook_order(loaded, hook),
                    _deadline(calls, plugin.name, hook, delivery),
                )
                for hook in loaded.manager.hooks
                if hook in plugin.hooks
            ],
            [one.text for one in loaded.deprecations if one.plugin == plugin.name],
        )
        for order, plugin in enumerate(loaded.plugins, 1)
    ]


def hook_order(loaded: Loaded, hook: str) -> Sequence[str]:
    """Who has the hook, as they are called."""
    asked = [one.plugin_name for one in loaded.of(hook) if one.plugin_name != CORE]
    return [*asked, CORE] if hasattr(CoreAnswers, hook) else asked


def _deadline(calls: Calls, plugin: str, hook: str, delivery: DeliverySettings) -> float | None:
    if hook not in TIMED:
        return None
    return calls.deadline(plugin, hook, delivery.deadline if hook == "petitbleu_deliver" else delivery.hook_deadline)[0]
