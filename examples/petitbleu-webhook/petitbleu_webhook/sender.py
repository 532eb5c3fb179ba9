"""Posts messages, and says what the answers mean; the README has the table for people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from petitbleu import (
    Attempt,
    Check,
    Deferred,
    Delivered,
    Failed,
    Fetched,
    FetchError,
    FetchRefused,
    GuardedClient,
    Message,
    Outcome,
    Scope,
    Services,
)

from .messages import body, signed
from .settings import WebhookSettings, secret_bytes

GONE = 410
REFUSED = (400, 411, 413, 415, 422)
"""It is this message that the receiver will never take."""


class Sender:
    """The plugin's state."""

    def __init__(self, settings: WebhookSettings, services: Services, client: GuardedClient) -> None:
        self._settings = settings
        self._services = services
        self._client = client
        self._secrets = {
            name: [secret_bytes(secret.get_secret_value()) for secret in one.secrets]
            for name, one in settings.receivers.items()
        }
        self._trouble: dict[str, str] = {}

    async def deliver(self, message: Message, attempt: Attempt) -> Outcome:
        receiver = self._settings.receiver_of(message.address)
        if receiver is None:
            # it was, when the event came
            return Deferred("", "plugins.webhook.receivers: none has this address", Scope.US)
        try:
            content = body(message)
        except ValueError as error:
            return Failed(receiver, str(error), Scope.MESSAGE)
        await attempt.admit(receiver, urlsplit(message.address).netloc.lower(), self._settings.connections)
        await attempt.hand_off(receiver)
        found = await self._post(receiver, message, content)
        if getattr(found, "scope", None) is Scope.PROVIDER:
            self._trouble[receiver] = found.text
        else:
            self._trouble.pop(receiver, None)
        return found

    async def _post(self, receiver: str, message: Message, content: bytes) -> Outcome:
        now = self._services.now()
        headers = {"Content-Type": "application/json", **signed(self._secrets[receiver], message.key, now, content)}
        try:
            got = await self._client.fetch(message.address, "POST", headers, content)
        except FetchRefused as refused:
            if not refused.sent:
                return Failed(receiver, str(refused), Scope.MESSAGE)
            return Deferred(receiver, str(refused), Scope.PROVIDER)
        except FetchError as error:
            # whether it was taken or not: a receiver knows a repeat by its webhook-id
            return Deferred(receiver, str(error), Scope.PROVIDER)
        return outcome(receiver, got, now, self._settings.reply_length)

    def checks(self) -> list[Check]:
        """One for each receiver, with a warning while it takes nothing: that is no trouble of ours."""
        return [
            Check(name, True, self._trouble.get(name, "takes messages, as far as is known"), name in self._trouble)
            for name in self._settings.receivers
        ]


def outcome(receiver: str, got: Fetched, now: datetime, longest: int) -> Outcome:
    """Only 2xx says that it was taken."""
    code = str(got.status)
    text = " ".join("".join(c if c.isprintable() else " " for c in got.body.decode("utf-8", "replace")).split())
    words = f"{code} {text[:longest]}".strip()
    if 200 <= got.status < 300:
        return Delivered(receiver, code, code)
    if got.status == GONE:
        return Failed(receiver, words, Scope.ADDRESS, code)
    if got.status in REFUSED:
        return Failed(receiver, words, Scope.MESSAGE, code)
    return Deferred(receiver, words, Scope.PROVIDER, code, wait(got.headers.get("retry-after"), now))


def wait(value: str | None, now: datetime) -> float | None:
    """`Retry-After`, in seconds or as a date (RFC 9110 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal() and len(value.strip()) < 10:
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError):
        return None


@asynccontextmanager
async def open_sender(settings: WebhookSettings, services: Services) -> AsyncIterator[Sender]:
    async with GuardedClient(settings.fetch, settings.connections) as client:
        yield Sender(settings, services, client)
