"""The plugin keeps the contract of channels."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType

from aiohttp import web
from petitbleu.testing import Answer, ChannelContract, HttpProvider, Provider

SECRET = "whsec_b25lIGZvciB0aGUgY29udHJhY3QncyB0ZXN0cyBhbG9uZQ=="
with socket.create_server(("127.0.0.1", 0)) as _probe:
    PORT = _probe.getsockname()[1]
"""The address is the event's, so it must be known before the provider listens."""


async def read(request: web.BaseRequest) -> tuple[str, str, str]:
    asked = json.loads(await request.read())
    return str(request.url), asked["data"]["text"], request.headers["webhook-id"]


class Hooks(HttpProvider):
    async def open(self) -> None:
        self._port = PORT
        await super().open()


class TestWebhook(ChannelContract):
    plugin = channel = "webhook"
    attributes = MappingProxyType({"webhookUrl": f"http://127.0.0.1:{PORT}/hooks/42"})
    repeats_are_known = True
    template = MappingProxyType({"body.json.j2": '{"text": {{ rtEvent.ctx.text | tojson }}}'})

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with Hooks(read, {Answer.REFUSE_ADDRESS: 410}, wait=600).listening() as hooks:
            hooks.settings = {
                "receivers": {"shop": {"url": f"{hooks.url}/hooks/", "secrets": [SECRET]}},
                "fetch": {"plain": True, "networks": ["127.0.0.0/8"], "ports": [PORT], "timeout": 2},
            }
            yield hooks
