"""Push messages, one request for each."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from petitbleu import Attempt, Check, Deferred, Failed, Message, Outcome, Scope

from .messages import body
from .outcomes import outcome
from .settings import LineSettings

LONGEST_ANSWER = 65_536
_KEYS = uuid.UUID("f2a4d2a6-6d0f-4a51-9f7b-6f6f0f8c1f6e")
"""The namespace of retry keys."""


class Sender:
    """All accounts: the plugin's state."""

    def __init__(self, settings: LineSettings, session: ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._trouble: dict[str, str] = {}

    async def deliver(self, message: Message, attempt: Attempt) -> Outcome:
        account = self._settings.account_of(message.brand)
        if account is None:
            return Deferred("", f"plugins.line.accounts: none speaks for the brand {message.brand!r}", Scope.US)
        try:
            request = body(message.address, message.content)
        except ValueError as error:
            return Failed("", str(error), Scope.MESSAGE)
        await attempt.admit(account, "", self._settings.connections)
        await attempt.hand_off(account)
        found = await self._post(account, request, retry_key(message.key))
        if getattr(found, "scope", None) is Scope.PROVIDER:
            self._trouble[account] = found.text
        else:
            self._trouble.pop(account, None)
        return found

    async def _post(self, account: str, request: bytes, key: str) -> Outcome:
        settings = self._settings
        headers = {
            "Authorization": f"Bearer {settings.accounts[account].token.get_secret_value()}",
            "Content-Type": "application/json",
            "X-Line-Retry-Key": key,
        }
        url = f"{settings.url}/v2/bot/message/push"
        try:
            async with self._session.post(url, data=request, headers=headers, allow_redirects=False) as response:
                answer = await _read(response)
        except TimeoutError:
            return Deferred(account, f"no answer in {settings.answer:g} s", Scope.PROVIDER)
        except (ClientError, OSError) as error:
            return Deferred(account, f"no answer: {str(error) or type(error).__name__}", Scope.PROVIDER)
        return outcome(account, response.status, response.headers, answer, settings.limit_wait, settings.reply_length)

    def checks(self) -> list[Check]:
        """What LINE said last; one that refuses us is worth a look, and fails no message."""
        return [
            Check(name, True, self._trouble.get(name, "well, as far as is known"), warning=name in self._trouble)
            for name in self._settings.accounts
        ]


async def _read(response: ClientResponse) -> bytes:
    """The beginning of the body; what is longer is not read on."""
    found = bytearray()
    async for chunk in response.content.iter_chunked(LONGEST_ANSWER):
        found += chunk
        if len(found) > LONGEST_ANSWER:
            response.close()
            break
    return bytes(found[:LONGEST_ANSWER])


def retry_key(key: str) -> str:
    """The same UUID for every try of one message, on every machine: LINE takes a message under one key once."""
    return str(uuid.uuid5(_KEYS, key))


@asynccontextmanager
async def open_sender(settings: LineSettings) -> AsyncIterator[Sender]:
    """Certificates are verified, redirects not followed, the environment's proxies not asked. How many requests there
    are at a time is settled where messages are admitted."""
    connector = TCPConnector(limit=0, ssl=ssl.create_default_context())
    timeout = ClientTimeout(total=settings.answer, sock_connect=settings.connect)
    async with ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield Sender(settings, session)
