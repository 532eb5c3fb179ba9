"""A server with the console and somebody who looks at it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import aiohttp
import petitbleu_console
from petitbleu.testing import PASSWORD, RecordingChannel, Server

TEMPLATES = {
    "note/record": {
        "body.txt.j2": "Hello {{ rtEvent.ctx.name }}, order {{ rtEvent.ctx.order.id }}",
        "seeds.yaml": "seeds:\n  - name: zoe\n    address: zoe@example.com\n    ctx: {name: Zoé, order: {id: 7}}\n",
    },
    "note/letter": {
        "body.txt.j2": "Hello {{ rtEvent.ctx.name }}, by letter",
        "seeds.yaml": "seeds:\n  - {name: zoe, address: '+33612345678', ctx: {name: Zoé}}\n",
    },
}
EVERY_RIGHT = ("push", "read", "data", "publish", "suppress", "audit", "admin")
OPERATORS: dict[str, dict[str, Any]] = {
    "chief": {"rights": list(EVERY_RIGHT)},
    "reader": {"rights": ["read"]},
    "pusher": {"rights": ["push"]},
    "elsewhere": {"rights": list(EVERY_RIGHT), "event_types": ["other"]},
}
HOSTILE = "<script>alert(1)</script> \"quoted\" 'single' \u202eright to left\u202c &amp; " + "x" * 500


def modules(channel: RecordingChannel) -> dict[str, object]:
    return {"recorder": channel, "console": petitbleu_console, "printer": RecordingChannel("letter", "mobilePhone")}


@dataclass
class Visitor:
    """Somebody at a browser that has no scripts."""

    server: Server
    session: aiohttp.ClientSession
    text: str = ""
    status: int = 0
    headers: Any = field(default_factory=dict)
    path: str = ""

    async def go(self, path: str, **more: Any) -> str:
        """The page at `path`, below `/console/`."""
        return await self._took(self.session.get(f"{self.server.url}/console/{path}", **more))

    async def post(self, path: str, data: dict[str, str], **more: Any) -> str:
        """A form, with the key of the page that was last shown."""
        return await self._took(
            self.session.post(f"{self.server.url}/console/{path}", data={"key": self.key, **data}, **more)
        )

    async def sign_in(self, login: str, password: str = PASSWORD, to: str = "/console/events") -> str:
        return await self.post("sign-in", {"login": login, "password": password, "to": to})

    async def _took(self, asked: Any) -> str:
        async with asked as answer:
            self.status, self.headers, self.path = answer.status, answer.headers, answer.url.path
            self.text = unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html := await answer.text("utf-8"))))
            self.html = html
            return self.text

    @property
    def key(self) -> str:
        found = re.search(r'name="key" value="([^"]*)"', getattr(self, "html", ""))
        return unescape(found[1]) if found else ""
