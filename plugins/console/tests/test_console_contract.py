"""The console keeps the contract of plugins."""

from __future__ import annotations

from petitbleu.testing import PluginContract


class TestConsole(PluginContract):
    plugin = "console"
