"""The plugin keeps the contract of channels, with aiosmtpd as the relay."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from aiosmtpd.smtp import SMTP
from petitbleu.testing import Answer, ChannelContract, Provider

REPLIES = {
    Answer.ACCEPT: "250 2.0.0 Ok: queued",
    Answer.REFUSE_MESSAGE: "554 5.7.1 looks like spam",
    Answer.LATER: "451 4.3.0 disk full",
}
QUICK = {"wait": 5, "connect": 2, "ehlo": 2, "command": 2, "data": 5, "quit": 0.2}


class Relay(Provider):
    """Refuses recipients when they are named, and messages when they are whole."""

    def __init__(self) -> None:
        super().__init__()
        self._server: asyncio.Server | None = None
        self._sessions: list[SMTP] = []
        self._port = 0

    async def open(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._session, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]
            self.settings = {"providers": {"main": {"host": "127.0.0.1", "port": self._port, "timeouts": QUICK}}}

    async def close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            for session in self._sessions:
                _break_off(session)
            self._sessions.clear()
            await server.wait_closed()

    def _session(self) -> SMTP:
        self._sessions.append(SMTP(self, enable_SMTPUTF8=True, loop=asyncio.get_running_loop()))
        return self._sessions[-1]

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.answer is Answer.REFUSE_ADDRESS:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        mail: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        # a header that a text smuggled in would be among those
        people = [*envelope.rcpt_tos, *(str(value) for name in ("To", "Cc", "Bcc") for value in mail.get_all(name, []))]
        text = f"{mail['Subject']} {mail.get_body(('plain',)).get_content()} {mail.get_body(('html',)).get_content()}"
        answer = await self.take(" ".join(people), text, str(mail["Message-ID"]))
        if answer not in REPLIES:
            _break_off(server)
        return REPLIES.get(answer, "")


def _break_off(session: SMTP) -> None:
    transport: Any = session.transport
    if transport is not None:
        transport.abort()


class TestEmail(ChannelContract):
    plugin = channel = "email"
    attributes = MappingProxyType({"email": "zoe@example.com"})
    template = MappingProxyType(
        {
            "template.yaml": 'sender: shop@example.com\nsubject: "News: {{ rtEvent.ctx.text }}"\n',
            "body.html.j2": "<html><body>{{ rtEvent.ctx.text }}</body></html>",
            "body.txt.j2": "News: {{ rtEvent.ctx.text }}",
        }
    )

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with Relay().listening() as relay:
            yield relay
