"""Firebase Cloud Messaging, HTTP v1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote

import orjson
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from petitbleu import Attempt, Deferred, Delivered, Failed, Outcome, Scope, Unknown, retry_after

from . import payload
from .apns import apns_headers
from .fields import AndroidFields, IosFields
from .google import AccessToken, NoToken
from .outcomes import FCM_RULES, outcome_of, read_fcm
from .settings import Fcm
from .standing import Note, Standing

LARGEST_ANSWER = 65_536


class FcmProvider:
    """One Firebase project."""

    def __init__(self, name: str, settings: Fcm, reply_length: int, now: Callable[[], datetime]) -> None:
        self.name = name
        self.standing = Standing(name, asyncio.get_running_loop().time)
        self._settings = settings
        self._reply_length = reply_length
        self._now = now
        self._url = f"{settings.url}/v1/projects/{quote(settings.project_id, safe=':')}/messages:send"
        self._token = AccessToken(settings.account, settings.timeouts.connect, lambda: now().timestamp())
        timeouts = settings.timeouts
        self._session = ClientSession(
            connector=TCPConnector(limit=settings.connections),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(
                total=timeouts.wait + timeouts.connect + timeouts.answer,
                connect=timeouts.wait + timeouts.connect,
                sock_connect=timeouts.connect,
                sock_read=timeouts.answer,
            ),
        )

    async def send(self, note: Note, attempt: Attempt) -> Outcome:
        await attempt.admit(self.name, "", self._settings.connections)
        return self.standing.remember(await self._send(note, attempt))

    async def _send(self, note: Note, attempt: Attempt) -> Outcome:
        handed_off = False
        outcome: Deferred | Delivered | Failed = Deferred(self.name, "no access token", Scope.PROVIDER)
        for _ in range(2):
            try:
                token = await self._token.value()
            except NoToken as error:
                return outcome if handed_off else Deferred(self.name, str(error), Scope.PROVIDER)
            if not handed_off:
                await attempt.hand_off(self.name)
                handed_off = True
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            try:
                async with self._session.post(
                    self._url, data=self._body(note), headers=headers, allow_redirects=False
                ) as response:
                    outcome = self._outcome(response, await _read(response))
            except (ClientConnectorError, ConnectionTimeoutError) as error:
                return Deferred(self.name, f"no connection: {type(error).__name__}", Scope.PROVIDER)
            except (ClientError, TimeoutError, OSError) as error:
                return Unknown(self.name, f"no answer after the request was sent: {type(error).__name__}")
            if response.status != 401 or "THIRD_PARTY" in outcome.code or not self._token.refused(token):
                return outcome
        return outcome

    def _body(self, note: Note) -> bytes:
        fields = note.fields
        if isinstance(fields, IosFields):
            return payload.fcm_for_ios(apns_headers(note, fields, self._now()), fields.measured(), note.token)
        assert isinstance(fields, AndroidFields)  # noqa: S101 - the channel's own type
        tag = payload.collapse_key(note.key, fields.collapse)
        return payload.fcm(fields, note.token, tag, payload.time_to_live(fields, note.expires, self._now()))

    def _outcome(self, response: ClientResponse, body: bytes) -> Deferred | Delivered | Failed:
        if response.status == 200:
            return Delivered(self.name, "200", "200", _name(body))
        wait = retry_after(response.headers.get("Retry-After"), self._now())
        return outcome_of(self.name, FCM_RULES, read_fcm(response.status, body, wait, self._reply_length))

    async def close(self) -> None:
        await self._token.close()
        await self._session.close()


async def _read(response: ClientResponse) -> bytes:
    """What there is of the body. The status says what became of the message, also where the connection breaks here."""
    found = bytearray()
    with suppress(ClientError, TimeoutError, OSError):
        async for chunk in response.content.iter_any():
            found += chunk
            if len(found) > LARGEST_ANSWER:
                response.close()
                break
    return bytes(found)


def _name(body: bytes) -> str:
    """Google's own id of the message, such as `projects/shop/messages/0:1500415314455276%31bd1c9631bd1c96`."""
    try:
        found = orjson.loads(body)["name"]
    except (ValueError, KeyError, TypeError):
        return ""
    return found[:200] if isinstance(found, str) and found.isprintable() else ""
