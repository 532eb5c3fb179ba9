"""A server that behaves like LINE's Messaging API where a push message is concerned, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

TOKEN = "line-token-0123456789abcdef/+="
ZOE, GONE = f"U{'a1' * 16}", f"U{'0f' * 16}"


@dataclass
class LineServer:
    """`taken` has what was accepted, by retry key; `faults` are used up one by one, before anything else."""

    url: str = ""
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    users: set[str] = field(default_factory=lambda: {ZOE})
    left: int = 1000
    """Messages of this month."""
    faults: deque[str] = field(default_factory=deque)
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0

    def messages(self) -> list[dict[str, Any]]:
        return [message for request in self.taken.values() for message in request["messages"]]

    async def push(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        fault = self.faults.popleft() if self.faults else ""
        if fault == "hang":
            await asyncio.sleep(60)
        if fault in ("reset", "html", "500", "rate", "redirect"):
            return self._fault(fault, request)
        answer = await self._answer(request)
        if answer.status == 200 and fault == "lose the answer":
            return self._fault("reset", request)
        return answer

    def _fault(self, fault: str, request: web.Request) -> web.Response:
        if fault == "reset":
            assert request.transport is not None
            request.transport.abort()
        if fault == "rate":
            return _error(429, "The API rate limit has been exceeded. Try again later.")
        if fault == "redirect":
            return web.Response(status=302, headers={"Location": "https://elsewhere.example.com/"})
        if fault == "html":
            return web.Response(status=502, text="<html>\n<h1>Bad gateway</h1>\0</html>", content_type="text/html")
        return _error(500, "Internal server error")

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _error(401, "Authentication failed. Confirm that the access token in the header is valid.")
        key = request.headers.get("X-Line-Retry-Key", "")
        try:
            uuid.UUID(key)
        except ValueError:
            return _error(400, "X-Line-Retry-Key is not a UUID")
        asked = await request.json()
        if problems := list(_problems(asked)):
            details = [{"property": name, "message": text} for name, text in problems]
            return _error(400, f"The request body has {len(details)} error(s)", details=details)
        if asked["to"] not in self.users:
            return _error(400, "The property, 'to', in the request body is invalid (line: -, column: -)")
        if key in self.taken:
            first = {"X-Line-Accepted-Request-Id": self.taken[key]["request"]}
            return _error(409, "The retry key is already accepted", first, sentMessages=self.taken[key]["sent"])
        if self.left < 1:
            return _error(429, "You have reached your monthly limit.")
        self.left -= 1
        sent = [{"id": str(4_610_000 + len(self.taken) * 10 + n)} for n, _ in enumerate(asked["messages"])]
        self.taken[key] = {**asked, "request": str(uuid.uuid4()), "sent": sent}
        return web.json_response({"sentMessages": sent}, headers={"X-Line-Request-Id": self.taken[key]["request"]})


def _problems(asked: Any) -> Any:
    messages = asked.get("messages", [])
    if not 1 <= len(messages) <= 5:
        yield "messages", "Size must be between 1 and 5"
    for n, message in enumerate(messages):
        text = message.get("text", "") if message["type"] == "text" else "x"
        if not 1 <= len(text.encode("utf-16-le", "surrogatepass")) // 2 <= 5000:
            yield f"messages[{n}].text", "Length must be between 1 and 5000"
        if message["type"] == "flex" and not message.get("altText"):
            yield f"messages[{n}].altText", "May not be empty"
        if message["type"] == "image" and not message["originalContentUrl"].startswith("https://"):
            yield f"messages[{n}].originalContentUrl", "Must be a valid HTTPS URL"


def _error(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    told = {"X-Line-Request-Id": str(uuid.uuid4()), **(headers or {})}
    return web.json_response({"message": message, **more}, status=status, headers=told)


@asynccontextmanager
async def line_server() -> AsyncIterator[LineServer]:
    line = LineServer()
    app = web.Application()
    app.router.add_post("/v2/bot/message/push", line.push)
    server = TestServer(app)
    await server.start_server()
    line.url = str(server.make_url("")).rstrip("/")
    try:
        yield line
    finally:
        await server.close()
