"""Push to browsers: encrypted for the subscription (RFC 8291), signed as ours (RFC 8292), left with its push service
(RFC 8030)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import http_ece  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric import ec
from petitbleu import (
    Attempt,
    Deferred,
    Delivered,
    Failed,
    Fetched,
    FetchError,
    FetchRefused,
    GuardedClient,
    Outcome,
    Scope,
    Unknown,
    retry_after,
)

from . import payload
from .credentials import Vapid
from .devices import Subscription, subscription
from .fields import LONGEST_TTL, WebFields
from .outcomes import WEB_RULES, outcome_of, read_web
from .settings import Web
from .standing import Note, Standing


class WebProvider:
    """One app's subscriptions, at whatever push services browsers have them."""

    def __init__(
        self,
        name: str,
        settings: Web,
        reply_length: int,
        now: Callable[[], datetime],
        client: GuardedClient,
        connections: int,
    ) -> None:
        self.name = name
        self.standing = Standing(name, asyncio.get_running_loop().time)
        self._reply_length = reply_length
        self._now = now
        self._client = client
        self._connections = connections
        self._vapid = Vapid(settings.key.get_secret_value(), settings.contact, now)

    async def send(self, note: Note, attempt: Attempt) -> Outcome:
        target = subscription(note.token)
        try:
            self._client.check(target.endpoint)
        except FetchRefused as refused:
            return Failed(self.name, f"the subscription's endpoint: {refused}", Scope.MESSAGE)
        await attempt.admit(self.name, target.host, self._connections)
        return self.standing.remember(await self._send(note, target, attempt))

    async def _send(self, note: Note, target: Subscription, attempt: Attempt) -> Outcome:
        fields = note.fields
        assert isinstance(fields, WebFields)  # noqa: S101 - the channel's own type
        body = encrypt(fields.measured(), target)
        headers = self._headers(note, fields, target)
        await attempt.hand_off(self.name)
        try:
            got = await self._client.fetch(target.endpoint, "POST", headers, body)
        except FetchError as error:
            if error.status:
                # it says what became of the message, whatever the body would have
                return self._outcome(Fetched(error.status, {}, b"", target.endpoint), target)
            if error.sent:
                return Unknown(self.name, f"no answer after the request was sent: {error}")
            if isinstance(error, FetchRefused):
                return Failed(self.name, f"the subscription's endpoint: {error}", Scope.MESSAGE)
            return Deferred(self.name, f"no connection: {error}", Scope.PROVIDER)
        return self._outcome(got, target)

    def _outcome(self, got: Fetched, target: Subscription) -> Deferred | Delivered | Failed:
        if 200 <= got.status < 300:
            return Delivered(self.name, f"{got.status} from {target.host}", str(got.status))
        wait = retry_after(got.headers.get("retry-after"), self._now())
        return outcome_of(self.name, WEB_RULES, read_web(got.status, got.body, wait, self._reply_length))

    def _headers(self, note: Note, fields: WebFields, target: Subscription) -> dict[str, str]:
        ttl = payload.time_to_live(fields, note.expires, self._now())
        return {
            "TTL": str(LONGEST_TTL if ttl is None else ttl),
            "Urgency": "high" if fields.priority == "high" else "normal",
            "Topic": payload.collapse_key(note.key, fields.collapse),
            "Authorization": self._vapid.authorization(target.origin),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
        }

    async def close(self) -> None:
        """The client is not ours."""


def encrypt(content: bytes, target: Subscription) -> bytes:
    """One record of RFC 8188 that only the subscription's browser can read, with a key pair of its own."""
    sealed: bytes = http_ece.encrypt(
        content,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=target.key,
        auth_secret=target.secret,
        version="aes128gcm",
    )
    return sealed
