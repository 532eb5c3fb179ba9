"""What every plugin must do, as tests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, TypeAlias

import aiohttp
import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from ..config import json_schema
from ..errors import ConfigError, EventsRefused
from .hostile import HOSTILE
from .instances import merged
from .leaks import nothing_left
from .recording import RecordingChannel
from .server import Server

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Server]]
"""The fixture `petitbleu_server`."""
NOTE: Mapping[str, Mapping[str, str | bytes]] = {"note/record": {"body.txt.j2": "{{ rtEvent.ctx.text }}"}}


class PluginContract:
    """A suite that any plugin passes; subclass it in a test module and name the plugin.

    It settles how a plugin starts and stops, how it takes its settings, that it keeps secrets, and that events, hostile
    ones too, go by it unharmed. Events of the type `note` go to a `RecordingChannel`.
    """

    pytestmark = pytest.mark.asyncio

    plugin: str
    """Its name in the configuration."""
    module: object | None = None
    """The module itself, where it is not installed."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """Its section of the configuration."""
    instance: Mapping[str, Any] = MappingProxyType({})
    """Further sections that it needs."""

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[Mapping[str, Any]]:
        """What the plugin talks to, running for a test; yields settings to be put on top of `settings`."""
        yield {}

    # --------------------------------------------------------------------------------------------- what suites stand on

    def arguments(self) -> dict[str, Any]:
        """Of `serving`, beside settings: modules, templates and the like."""
        return {"modules": {"recorder": RecordingChannel()}, "templates": NOTE}

    async def push(self, server: Server, text: str = "Hello", **attributes: str) -> int:
        """An event that meets the plugin, with a text of its own."""
        given: dict[str, Any] = {"email": "zoe@example.com", "wishedChannel": "record", **attributes}
        return await server.push("note", {"text": text}, **given)

    def _given(self, own: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
        given = self.arguments()
        modules = {**({} if self.module is None else {self.plugin: self.module}), **given.pop("modules", {})}
        plugins = {self.plugin: merged(self.settings, own), **given.pop("plugins", {})}
        sections = merged(merged(self.instance, given.pop("settings", {})), settings)
        return {**given, "plugins": plugins, "modules": modules, "settings": sections}

    @asynccontextmanager
    async def serving(self, serve: Serve, **settings: Any) -> AsyncIterator[Server]:
        """A server with the plugin, and with further sections of the configuration."""
        async with self.outside() as own, serve(**self._given(own, **settings)) as server:
            yield server

    def secrets(self, server: Server) -> list[str]:
        """Values of the settings that nobody may see again."""
        return [one for one in _secrets(server.instance.config.plugin_settings.get(self.plugin)) if len(one) > 3]

    def said(self, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
        """What Petitbleu and the plugin wrote to the log."""
        own = "" if self.module is None else getattr(self.module, "__name__", "").partition(".")[0]
        return [one for one in caplog.records if one.name.startswith(("petitbleu", own or "petitbleu"))]

    def complaints(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        """Errors in the log."""
        return [one.getMessage() for one in self.said(caplog) if one.levelno >= logging.ERROR or one.exc_info]

    def left_behind(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        """What the server had to end in the plugin's place."""
        # what hooks did wrong names the hook
        named = [one for one in self.said(caplog) if getattr(one, "plugin", "") == self.plugin]
        return [one.getMessage() for one in named if not hasattr(one, "hook")]

    # --------------------------------------------------------------------------------------------------------- settings

    async def test_its_settings_are_in_order(self, petitbleu_server: Serve) -> None:
        """As `petitbleu check` finds, which can also describe them to an editor."""
        async with self.serving(petitbleu_server) as server:
            types = server.instance.calls.settings_types()
        described = json_schema(types)["properties"]["plugins"]
        # one that has no settings is a name and nothing else
        assert self.plugin not in types or self.plugin in str(described)

    async def test_an_unknown_setting_is_refused_where_it_stands(self, petitbleu_server: Serve) -> None:
        async with self.outside() as own:
            async with petitbleu_server(**self._given(own)) as server:
                secrets = self.secrets(server)
            wrong = self._given(merged(own, {"no_such_setting": 1}))
            with pytest.raises(ConfigError) as raised:
                async with petitbleu_server(**wrong):
                    """It must not start."""
        assert f"plugins.{self.plugin}.no_such_setting" in str(raised.value)
        assert [one for one in secrets if one in str(raised.value)] == []

    async def test_its_secrets_are_not_shown(self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        async with self.serving(petitbleu_server) as server:
            secrets = self.secrets(server)
            section = server.instance.config.plugin_settings.get(self.plugin)
            await server.ended(await self.push(server))
        shown = [f"{section!r} {section}", *(f"{one.getMessage()} {vars(one)}" for one in self.said(caplog))]
        assert [text for text in shown for secret in secrets if secret in text] == []

    # ----------------------------------------------------------------------------------------------------- its lifetime

    async def test_it_leaves_nothing_behind(self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture) -> None:
        """No task and no connection, and no complaint on the way out."""
        async with self.outside() as own, nothing_left(), petitbleu_server(**self._given(own)) as server:
            await server.ended(await self.push(server))
        assert self.complaints(caplog) + self.left_behind(caplog) == []

    async def test_it_is_well_and_says_so(self, petitbleu_server: Serve) -> None:
        async with self.serving(petitbleu_server) as server, aiohttp.ClientSession() as client:
            await server.ended(await self.push(server))
            async with client.get(f"{server.url}/readyz") as answer:
                assert answer.status == 200, await answer.text()

    async def test_it_starts_again(self, petitbleu_server: Serve) -> None:
        async with self.serving(petitbleu_server) as server:
            first = await server.ended(await self.push(server))
            await server.restart()
            second = await server.ended(await self.push(server))
        assert (first.status, second.status) == ("sent", "sent")

    # ----------------------------------------------------------------------------------------------------------- events

    async def test_hostile_events_do_it_no_harm(
        self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with self.serving(petitbleu_server) as server:
            ends = {name: await self._end(server, text) for name, text in HOSTILE.items()}
            after = await server.ended(await self.push(server))
            failures = server.failures
        assert failures == {}
        assert after.status == "sent"
        assert {name: end for name, end in ends.items() if end not in ("sent", "failed", "ignored", "refused")} == {}
        assert self.complaints(caplog) == []

    async def _end(self, server: Server, text: str) -> str:
        try:
            return (await server.ended(await self.push(server, text))).status
        except EventsRefused:
            return "refused"


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode("utf-8", "replace")
    elif isinstance(value, BaseModel):
        for _, inner in value:
            yield from _secrets(inner)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _secrets(inner)


__all__ = ["PluginContract", "Serve"]
