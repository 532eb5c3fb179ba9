"""The plugin keeps the contract of channels on each platform."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from types import MappingProxyType
from typing import Any

import http_ece  # type: ignore[import-untyped]
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from h2.exceptions import H2Error
from petitbleu.testing import Answer, ChannelContract, HttpProvider, Provider
from petitbleu_push.catcher import Apple as CaughtConnection
from petitbleu_push.catcher import service_account
from push_rig import ACCOUNT, DEVICE, KEY_ID, SHOP, TEAM, TOKEN, TOPIC, Browser, b64, error, pem

QUICK = {"wait": 5, "connect": 2, "answer": 5}


TEMPLATE = """\
title: News
body: "It says: {{ rtEvent.ctx.text }}"
data: {text: "{{ rtEvent.ctx.text }}"}
"""


class PushContract(ChannelContract):
    plugin = "push"
    children = MappingProxyType({"mobileApp": {"@uuid": SHOP}})
    template = MappingProxyType({"template.yaml": TEMPLATE})


# --------------------------------------------------------------------------------------------------------------- Apple

APNS = {
    Answer.ACCEPT: (200, ""),
    Answer.REFUSE_ADDRESS: (410, "Unregistered"),
    Answer.REFUSE_MESSAGE: (400, "DeviceTokenNotForTopic"),
    Answer.LATER: (503, "ServiceUnavailable"),
}


class Apple(Provider):
    """In clear, without an upgrade."""

    def __init__(self) -> None:
        super().__init__()
        key = pem(ec.generate_private_key(ec.SECP256R1()))
        self._given = {"team": TEAM, "key_id": KEY_ID, "key": key, "topic": TOPIC, "timeouts": QUICK}
        self._server: asyncio.Server | None = None
        self.connections: list[Connection] = []
        self._port = 0

    async def open(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]
            apns = {**self._given, "url": f"http://127.0.0.1:{self._port}"}
            self.settings = {"apps": {"shop": {"uuid": SHOP, "apns": apns}}}

    async def close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            for connection in self.connections:
                connection.abort()
            tasks = [task for connection in self.connections for task in connection.tasks]
            self.connections.clear()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()


class Connection(CaughtConnection):
    def __init__(self, provider: Apple) -> None:
        super().__init__(lambda _: None)
        self.tasks: set[asyncio.Task[None]] = set()
        self._provider = provider
        provider.connections.append(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, number: int, request: Any) -> None:
        task = asyncio.create_task(self._later(number, request.headers, bytes(request.body)))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _later(self, number: int, headers: Mapping[str, str], body: bytes) -> None:
        payload = json.loads(body)
        token = headers[":path"].removeprefix("/3/device/")
        answer = await self._provider.take(token, payload["text"], headers["apns-id"])
        if answer not in APNS:
            self.abort()
            return
        status, reason = APNS[answer]
        try:
            self._h2.send_headers(number, [(":status", str(status)), ("apns-id", headers["apns-id"])])
            self._h2.send_data(number, json.dumps({"reason": reason}).encode() if reason else b"", end_stream=True)
        except H2Error:
            # who asked has gone meanwhile
            return
        self._flush()


class TestIos(PushContract):
    channel = "ios"
    attributes = MappingProxyType({"registrationToken": TOKEN})

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with Apple().listening() as apple:
            yield apple


# -------------------------------------------------------------------------------------------------------------- Google

FCM = {
    Answer.REFUSE_ADDRESS: (404, "NOT_FOUND", "UNREGISTERED"),
    Answer.REFUSE_MESSAGE: (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    Answer.LATER: (503, "UNAVAILABLE", "UNAVAILABLE"),
}


class Google(HttpProvider):
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"access_token": "ya29.once", "expires_in": 3600, "token_type": "Bearer"})
        return await super().handle(request)

    def respond(self, answer: Answer) -> web.StreamResponse:
        if answer is Answer.ACCEPT:
            return web.json_response({"name": f"projects/shop-1/messages/0:{len(self.received)}"})
        return error(*FCM[answer], headers={"Retry-After": "900"} if answer is Answer.LATER else None)


async def _read_fcm(request: web.BaseRequest) -> tuple[str, str, str]:
    message = json.loads(await request.read())["message"]
    # the message itself has no key; the device shows the last one with this tag
    return message["token"], message["data"]["text"], message["android"]["notification"]["tag"]


@cache
def made_up_account() -> Mapping[str, str]:
    """With a key that takes longer to make than most tests last."""
    found: Mapping[str, str] = json.loads(service_account(""))
    return found


class TestAndroid(PushContract):
    channel = "android"
    attributes = MappingProxyType({"registrationToken": DEVICE})

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with Google(_read_fcm, wait=900).listening() as google:
            account = {**made_up_account(), "client_email": ACCOUNT, "token_uri": f"{google.url}/token"}
            fcm = {"service_account": json.dumps(account), "url": google.url, "timeouts": QUICK}
            google.settings = {"apps": {"shop": {"uuid": SHOP, "fcm": fcm}}}
            yield google


# ------------------------------------------------------------------------------------------------------------ browsers

WEB = {Answer.ACCEPT: 201, Answer.REFUSE_ADDRESS: 410, Answer.REFUSE_MESSAGE: 413}


class TestWeb(PushContract):
    channel = "web"

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        service = HttpProvider(self._read, WEB, wait=900)
        async with service.listening():
            self.browser = Browser(f"{service.url}/send/a-secret-of-the-browser")
            self.attributes = {"registrationToken": self.browser.token}
            key = b64(ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32))
            port = int(service.url.rpartition(":")[2])
            service.settings = {
                "apps": {"shop": {"uuid": SHOP, "web": {"key": key, "contact": "mailto:ops@example.com"}}},
                "fetch": {"hosts": ["127.0.0.1"], "networks": ["127.0.0.1/32"], "ports": [port], "plain": True},
            }
            yield service

    async def _read(self, request: web.BaseRequest) -> tuple[str, str, str]:
        sealed = await request.read()
        opened = http_ece.decrypt(
            sealed, private_key=self.browser.key, auth_secret=self.browser.secret, version="aes128gcm"
        )
        return request.path, json.loads(opened)["data"]["text"], request.headers["Topic"]
