"""A receiver of webhooks as its users would write it, on somebody else's library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

SECRET = "whsec_bWFkZSBmb3IgdGhlc2UgdGVzdHMgYWxvbmUuLi4u"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """Keeps what it verified as (webhook-id, message); `answer` may be replaced. One whose sender's clock is moved
    (`moved`) leaves the time of messages alone."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.requests = 0
        self.moved = False
        self.answer: Answer = self.well
        app = web.Application()
        app.router.add_post("/in", self._take)
        self.server = TestServer(app)

    async def well(self, request: web.Request) -> web.StreamResponse:
        return web.Response()

    async def down(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, text="closed for the day")

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        answer = await self.answer(request)
        if answer.status < 300:
            body = await request.read()
            self.heard.append((request.headers["webhook-id"], self._verified(body, request.headers)))
        return answer

    def _verified(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        webhook = Webhook(SECRET)
        if self.moved:
            at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            assert headers["webhook-signature"] == webhook.sign(headers["webhook-id"], at, body.decode())
            return dict(json.loads(body))
        return dict(webhook.verify(body, dict(headers)))

    async def until(self, messages: int) -> None:
        async with asyncio.timeout(20):
            while len(self.heard) < messages:
                await asyncio.sleep(0.02)

    def settings(self, **more: Any) -> Mapping[str, Any]:
        """Of the plugin, with one subscription `shop`."""
        fetch = {"plain": True, "networks": ["127.0.0.0/8"], "ports": [self.server.port], "timeout": 2}
        endpoint = {"url": str(self.server.make_url("/in")), "secrets": [SECRET], **more}
        return {"subscriptions": {"shop": endpoint}, "fetch": fetch}
