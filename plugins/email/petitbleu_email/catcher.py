"""A stand-in for the mail relay that `petitbleu demo` starts: takes every mail, and tells what it got."""

from __future__ import annotations

import asyncio
import email.policy
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from petitbleu import Catcher, Caught

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope

PORT = 1025
"""Where the sample configuration expects a relay; a free one where that is taken."""

Take = Callable[[Caught], None]


class Handler:
    """Of an aiosmtpd server."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._numbers = itertools.count(1)

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - what the default policy makes
        number = f"CAUGHT{next(self._numbers):04}"
        self._take(caught(", ".join(envelope.rcpt_tos), message, number))
        return f"250 2.0.0 Ok: queued as {number}"


def caught(to: str, message: EmailMessage, reference: str) -> Caught:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    checks = {
        "has no subject": bool(message["Subject"]),
        "has no sender": "@" in str(message["From"] or ""),
        "has no text part": text is not None and bool(text.get_content().strip()),
        "has no HTML part": html is not None and "</html>" in html.get_content().lower(),
        "is not marked as automatic": message["Auto-Submitted"] == "auto-generated",
        "shows template code": not any(
            code in part.get_content() for part in (text, html) if part is not None for code in ("{{", "{%")
        ),
        "has defects": not message.defects,
    }
    head = [f"From:    {message['From']}", f"To:      {to}", f"Subject: {message['Subject']}", ""]
    body = text.get_content().rstrip().splitlines() if text is not None else []
    return Caught("email", to, reference, (*head, *body), tuple(words for words, right in checks.items() if not right))


@asynccontextmanager
async def catching(take: Take, host: str = "127.0.0.1", port: int = PORT) -> AsyncIterator[int]:
    """Listen; gives the port."""
    # a server does without it
    from aiosmtpd.smtp import SMTP

    handler, loop = Handler(take), asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(handler, enable_SMTPUTF8=True, ident="petitbleu mail catcher", loop=loop)

    try:
        server = await loop.create_server(protocol, host, port)
    except OSError:
        server = await loop.create_server(protocol, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def _in_place(take: Take) -> AsyncIterator[Mapping[str, Any]]:
    async with catching(take) as port:
        yield {"providers": {"main": {"host": "127.0.0.1", "port": port}}}


CATCHER = Catcher("mail catcher", _in_place)
