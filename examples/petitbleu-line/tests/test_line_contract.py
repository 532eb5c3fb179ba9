"""The plugin keeps the contract of channels."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType

from aiohttp import web
from line_server import TOKEN, ZOE
from petitbleu.testing import Answer, ChannelContract, HttpProvider, Provider

REFUSALS = {
    Answer.REFUSE_ADDRESS: (400, "The property, 'to', in the request body is invalid (line: -, column: -)"),
    Answer.REFUSE_MESSAGE: (400, "The request body has 1 error(s)"),
    Answer.LATER: (500, "Internal server error"),
}


class Line(HttpProvider):
    def respond(self, answer: Answer) -> web.StreamResponse:
        if answer is Answer.ACCEPT:
            sent = [{"id": f"{4_610_000 + len(self.received)}"}]
            return web.json_response({"sentMessages": sent}, headers={"X-Line-Request-Id": "1"})
        status, text = REFUSALS[answer]
        return web.json_response({"message": text}, status=status)


async def read(request: web.BaseRequest) -> tuple[str, str, str]:
    asked = json.loads(await request.read())
    texts = [message["text"] for message in asked["messages"]]
    return asked["to"], "\n".join(texts), request.headers["X-Line-Retry-Key"]


class TestLine(ChannelContract):
    plugin = channel = "line"
    attributes = MappingProxyType({"lineUserId": ZOE})
    repeats_are_known = True
    template = MappingProxyType({"body.txt.j2": "{{ rtEvent.ctx.text }}"})

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with Line(read).listening() as line:
            line.settings = {"url": line.url, "accounts": {"shop": {"token": TOKEN}}, "answer": 2}
            yield line
