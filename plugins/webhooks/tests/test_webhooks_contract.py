"""The plugin keeps the contract of plugins, with a receiver that takes everything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from petitbleu.testing import PluginContract, Serve, http_provider

SECRET = "whsec_bWFkZSBmb3IgdGhlc2UgdGVzdHMgYWxvbmUuLi4u"


async def _read(request: web.BaseRequest) -> tuple[str, str, str]:
    return "", json.dumps(json.loads(await request.read())), request.headers["webhook-id"]


class TestWebhooks(PluginContract):
    plugin = "webhooks"

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[Mapping[str, Any]]:
        async with http_provider(_read) as receiver:
            self.receiver = receiver
            port = int(receiver.url.rpartition(":")[2])
            yield {
                "subscriptions": {"crm": {"url": f"{receiver.url}/heard", "secrets": [SECRET]}},
                "fetch": {"networks": ["127.0.0.0/8"], "ports": [port], "plain": True},
            }

    async def test_an_end_is_told(self, petitbleu_server: Serve) -> None:
        """So that the events of the suite do meet it."""
        async with self.serving(petitbleu_server) as server:
            event_id = await self.push(server)
            await server.ended(event_id)
            await self.receiver.until_received(1)
        (told,) = self.receiver.received
        assert str(event_id) in told.text
