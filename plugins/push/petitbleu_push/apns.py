"""Apple's push service: one request for each notification, many at a time on few connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from hpack import NeverIndexedHeaderTuple
from petitbleu import Attempt, Deferred, Delivered, Failed, Outcome, Scope, Unknown, retry_after

from . import payload
from .credentials import ProviderToken
from .fields import IosFields
from .http2 import ConnectFailed, Headers, Lost, Response, Unprocessed, tls_context
from .outcomes import APNS_RULES, outcome_of, plain, read_apns
from .pool import NoRoom, Pool
from .settings import Apns
from .standing import Note, Standing

TRIES = 4
"""Of a request that the server did nothing with, one after the other within one attempt."""


class ApnsProvider:
    """One app's way to Apple."""

    def __init__(self, name: str, settings: Apns, reply_length: int, now: Callable[[], datetime]) -> None:
        clock = asyncio.get_running_loop().time
        self.name = name
        self.standing = Standing(name, clock)
        self._settings = settings
        self._reply_length = reply_length
        self._now = now
        parts = urlsplit(settings.address)
        self._scheme, self._authority = parts.scheme.encode(), parts.netloc.encode()
        self._token = ProviderToken(
            settings.key.get_secret_value(), settings.team, settings.key_id, settings.token_life, now, clock
        )
        self._pool = Pool(
            settings.address,
            tls_context(None if settings.ca_file is None else str(settings.ca_file)),
            settings.connections,
            settings.streams,
            settings.timeouts.wait,
            settings.timeouts.connect,
            settings.ping,
        )

    async def send(self, note: Note, attempt: Attempt) -> Outcome:
        await attempt.admit(self.name, "", self._pool.at_once)
        return self.standing.remember(await self._send(note, attempt))

    async def _send(self, note: Note, attempt: Attempt) -> Outcome:
        fields = note.fields
        assert isinstance(fields, IosFields)  # noqa: S101 - the channel's own type
        body = fields.measured()
        extra = [
            NeverIndexedHeaderTuple(name.encode(), value.encode())
            for name, value in apns_headers(note, fields, self._now(), self._settings.topic).items()
        ]
        handed_off = False
        trouble = ""
        for _ in range(TRIES):
            try:
                connection = await self._pool.reserve()
            except (ConnectFailed, NoRoom) as error:
                return Deferred(self.name, plain(str(error), self._reply_length), Scope.PROVIDER)
            try:
                if not handed_off:
                    await attempt.hand_off(self.name)
                    handed_off = True
                authorization = self._token.value()
                headers = self._head(note.token, authorization, extra)
                response = await connection.request(headers, body, self._settings.timeouts.answer)
            except Unprocessed as error:
                trouble = str(error)
                continue
            except Lost as error:
                return Unknown(self.name, plain(f"no answer after the request was sent: {error}", self._reply_length))
            finally:
                self._pool.release(connection)
            outcome = self._outcome(response, note)
            if outcome.code == "403 ExpiredProviderToken" and self._token.renew(authorization):
                trouble = outcome.text
                continue
            return outcome
        return Deferred(self.name, plain(f"taken by no connection: {trouble}", self._reply_length), Scope.PROVIDER)

    def _head(self, token: str, authorization: bytes, extra: Headers) -> Headers:
        # what differs from request to request is kept out of the compression's table (RFC 7541 6.2.3)
        return [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":authority", self._authority),
            NeverIndexedHeaderTuple(b":path", b"/3/device/" + token.encode()),
            (b"authorization", authorization),
            *extra,
        ]

    def _outcome(self, response: Response, note: Note) -> Deferred | Delivered | Failed:
        if response.status == 200:
            reference = response.headers.get(b"apns-id", b"").decode("ascii", "replace")[:64]
            return Delivered(self.name, "200", "200", reference)
        wait = response.headers.get(b"retry-after", b"").decode("ascii", "replace")
        answer, since = read_apns(response.status, response.body, retry_after(wait, self._now()))
        outcome = outcome_of(self.name, APNS_RULES, answer)
        if outcome.scope is Scope.ADDRESS and since is not None:
            if note.registered is not None and note.registered > since:
                text = f"{answer.code}: gone since {since:%Y-%m-%dT%H:%M:%SZ}, but registered again after that"
                return Deferred(self.name, text, Scope.MESSAGE, answer.code)
            return Failed(
                self.name, f"{answer.code}: gone since {since:%Y-%m-%dT%H:%M:%SZ}", outcome.scope, outcome.code
            )
        return outcome

    async def close(self) -> None:
        await self._pool.close()


def apns_headers(note: Note, fields: IosFields, now: datetime, topic: str = "") -> dict[str, str]:
    """Apple, "Sending notification requests to APNs". Each try of a message has the same id and collapse id."""
    found = {
        "apns-push-type": "background" if fields.silent else "alert",
        "apns-priority": "10" if fields.priority == "high" and not fields.silent else "5",
        "apns-id": payload.message_id(note.key),
        "apns-collapse-id": payload.collapse_key(note.key, fields.collapse),
    }
    if fields.topic or topic:
        found["apns-topic"] = fields.topic or topic
    until = payload.keep_until(fields, note.expires, now)
    if until is not None:
        # 0 means: now or never
        found["apns-expiration"] = str(int(until.timestamp())) if until > now else "0"
    return found
