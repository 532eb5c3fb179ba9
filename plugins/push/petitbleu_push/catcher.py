"""Stand-ins for Apple's and Google's services that `petitbleu demo` starts: they take every notification, and tell what
they got. Web push is led nowhere: what was encrypted for a browser, nobody else can show."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import H2Error
from petitbleu import Catcher, Caught

from .settings import PushSettings

if TYPE_CHECKING:
    from aiohttp import web

NOBODY = "0000"
"""A token that ends so is nobody's: the app is gone from its device."""
SAMPLE = "com.example.shop"
"""The app of the sample events, where the settings have no app at all."""
LARGEST = 65_536
"""Bytes of a request."""

Take = Callable[[Caught], None]


@dataclass(slots=True)
class _Request:
    headers: Mapping[str, str]
    body: bytearray = field(default_factory=bytearray)


class Apple(asyncio.Protocol):
    """One connection of HTTP/2 in clear, without an upgrade (RFC 9113 3.3)."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, _Request] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    self._requests[event.stream_id] = _Request({str(k): str(v) for k, v in event.headers})
                elif isinstance(event, DataReceived):
                    self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                    if (request := self._requests.get(event.stream_id)) and len(request.body) <= LARGEST:
                        request.body += event.data
                elif isinstance(event, StreamEnded):
                    self._answer(event.stream_id, self._requests.pop(event.stream_id))
        except (H2Error, KeyError):
            self.close()
        self._flush()

    def _answer(self, number: int, request: _Request) -> None:
        token = request.headers.get(":path", "").removeprefix("/3/device/")
        name = request.headers.get("apns-id", "")
        if token.endswith(NOBODY):
            gone = {"reason": "Unregistered", "timestamp": int(time.time() * 1000)}
            self._h2.send_headers(number, [(":status", "410"), ("apns-id", name)])
            self._h2.send_data(number, json.dumps(gone).encode(), end_stream=True)
            return
        self._take(apple_caught(token, name, request.headers, bytes(request.body)))
        self._h2.send_headers(number, [(":status", "200"), ("apns-id", name)], end_stream=True)

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._h2.data_to_send())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def apple_caught(token: str, name: str, headers: Mapping[str, str], body: bytes) -> Caught:
    payload = _json(body)
    aps = payload.get("aps")
    alert = aps.get("alert", {}) if isinstance(aps, dict) else {}
    needed = ("apns-topic", "apns-push-type", "apns-id", "apns-collapse-id", "authorization")
    problems = [f"has no {one}" for one in needed if not headers.get(one)]
    shown = {**alert, **{one: payload[one] for one in ("image", "link") if one in payload}}
    return _caught("ios", token, name, f"{headers.get('apns-topic', '')}, APNs", shown, body, problems)


def _address(message: Mapping[str, Any]) -> str:
    return str(message.get("token") or message.get("fid") or "")


def google_caught(message: Mapping[str, Any], name: str, body: bytes) -> Caught:
    token = _address(message)
    if "apns" in message:
        passed = message["apns"]
        headers = {"authorization": "google", "apns-topic": "by Google", **passed.get("headers", {})}
        return apple_caught(token, name, headers, json.dumps(passed.get("payload")).encode())
    notification, data = message.get("notification", {}), message.get("data", {})
    android = message.get("android", {})
    problems = [] if android.get("notification", {}).get("tag") or not notification else ["has no tag"]
    shown = {**notification, **{one: data[one] for one in ("link",) if one in data}}
    return _caught("android", token, name, "FCM", shown, body, problems)


def _caught(
    channel: str, token: str, name: str, service: str, shown: Mapping[str, Any], body: bytes, problems: Sequence[str]
) -> Caught:
    short = token if len(token) <= 24 else f"{token[:12]}…{token[-8:]}"
    lines = (f"To:      {short} ({service})", f"Push:    {len(body)} bytes", "")
    texts = [str(shown[one]) for one in ("title", "subtitle", "body") if shown.get(one)]
    extras = [f"[{one}: {shown[one]}]" for one in ("image", "link") if shown.get(one)]
    found = [*problems]
    if not texts:
        found.append("shows nothing")
    if any(code in body.decode("utf-8", "replace") for code in ("{{", "{%")):
        found.append("shows template code")
    return Caught(channel, token, name, (*lines, *"\n".join([*texts, *extras]).split("\n")), tuple(found))


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Google:
    """Gives anybody a token and takes every message."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._numbers = itertools.count(1)

    async def token(self, request: web.Request) -> web.Response:
        from aiohttp import web

        await request.read()
        return web.json_response({"access_token": "caught", "expires_in": 3600, "token_type": "Bearer"})

    async def send(self, request: web.Request) -> web.Response:
        from aiohttp import web

        body = await request.read()
        message = _json(body).get("message")
        if not isinstance(message, dict):
            return web.json_response({"error": {"status": "INVALID_ARGUMENT"}}, status=400)
        if _address(message).endswith(NOBODY):
            kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
            details = [{"@type": kind, "errorCode": "UNREGISTERED"}]
            return web.json_response({"error": {"status": "NOT_FOUND", "details": details}}, status=404)
        name = f"projects/{request.match_info['project']}/messages/{next(self._numbers)}"
        self._take(google_caught(message, name, body))
        return web.json_response({"name": name})


@asynccontextmanager
async def catching_apple(take: Take) -> AsyncIterator[str]:
    """Listen; gives the address."""
    connections: list[Apple] = []

    def protocol() -> Apple:
        connections.append(Apple(take))
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for connection in connections:
                connection.close()


@asynccontextmanager
async def catching_google(take: Take) -> AsyncIterator[str]:
    """Listen; gives the address."""
    # a server does without it
    from aiohttp import web

    google = Google(take)
    app = web.Application()
    app.router.add_post("/token", google.token)
    app.router.add_post("/v1/projects/{project}/messages:send", google.send)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def service_account(url: str) -> str:
    """The JSON of an account that exists nowhere else, with a key made up on the spot."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "project_id": "caught",
        "client_email": "demo@caught.iam.gserviceaccount.example",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": f"{url}/token",
    }
    return json.dumps(account)


def apns_key() -> str:
    """Known to nobody, as the stand-in checks none."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def catcher(settings: PushSettings) -> Catcher:
    """In place of every service of every app."""

    @asynccontextmanager
    async def in_place(take: Take) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            apple = {"url": await stack.enter_async_context(catching_apple(take))}
            url = await stack.enter_async_context(catching_google(take))
            google = {"url": url, "service_account": service_account(url)}
            apps: dict[str, dict[str, Any]] = {name: {} for name in settings.apps}
            for name, app in settings.apps.items():
                if app.apns is not None:
                    apps[name]["apns"] = apple
                if app.fcm is not None:
                    apps[name]["fcm"] = google
            if not apps:
                apple |= {"team": "PETITBLEU1", "key_id": "DEMOKEY001", "key": apns_key(), "topic": SAMPLE}
                apps["sample"] = {"uuid": SAMPLE, "apns": apple, "fcm": google}
            yield {"apps": apps, "fetch": {"hosts": ["127.0.0.1"]}}

    start: Callable[[Take], AbstractAsyncContextManager[Mapping[str, Any]]] = in_place
    return Catcher("push catcher", start)
