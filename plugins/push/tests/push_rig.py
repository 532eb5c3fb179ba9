"""Servers that behave like Apple's, Google's and browsers' push services, and messages to send them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from petitbleu import Attempt, Content, Event, Message, Outcome, Queue, Scope, Services, TemplateRef
from petitbleu_push.sender import FIELDS, Sender, open_sender
from petitbleu_push.settings import PushSettings

HERE = Path(__file__).parent
TOKEN = "1f" * 32
TEAM, KEY_ID, TOPIC = "TEAM123456", "KEY1234567", "com.example.shop"
QUICK = {"wait": 5, "connect": 5, "answer": 2}
SHOP = "3b2f7c1e-0000-4000-8000-00000000000a"


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def node() -> str:
    """The machine's node, or the one that came as a package."""
    found = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    assert found, "these tests need node"
    return found


@dataclass
class Apple:
    """The node server, seen from here."""

    process: asyncio.subprocess.Process
    key: ec.EllipticCurvePrivateKey
    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    sessions: int = 0
    open: int = 0
    _done: deque[asyncio.Future[None]] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said = json.loads(line)
            if "port" in said:
                self.port = said["port"]
            elif said.get("session") == "open":
                self.sessions += 1
                self.open += 1
            elif said.get("session") == "closed":
                self.open -= 1
            elif "done" in said:
                self._done.popleft().set_result(None)
            else:
                self.seen.append(said)
            self._news.set()

    async def until(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not ready():
                self._news.clear()
                await self._news.wait()

    async def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        done = asyncio.get_running_loop().create_future()
        self._done.append(done)
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        await asyncio.wait_for(done, 10)

    async def script(self, *steps: dict[str, Any]) -> None:
        await self.tell(script=steps)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Of an app that is reached by this server."""
        given = {
            "team": TEAM,
            "key_id": KEY_ID,
            "key": pem(self.key),
            "topic": TOPIC,
            "url": f"http://127.0.0.1:{self.port}",
            "timeouts": QUICK,
        }
        return {**given, **changes}


StartApple = Callable[..., AbstractAsyncContextManager[Apple]]


@asynccontextmanager
async def started(node_path: str, tls: trustme.LeafCert | None = None, **settings: Any) -> AsyncIterator[Apple]:
    """`settings` are those of HTTP/2 that the server begins with."""
    key = ec.generate_private_key(ec.SECP256R1())
    options = {
        "tls": tls
        and {
            "key": tls.private_key_pem.bytes().decode(),
            "cert": "".join(part.bytes().decode() for part in tls.cert_chain_pems),
        },
        "publicKey": public_pem(key),
        "keyId": KEY_ID,
        "team": TEAM,
        "topics": [TOPIC, f"{TOPIC}.voip"],
        "settings": settings,
    }
    process = await asyncio.create_subprocess_exec(
        node_path,
        str(HERE / "node" / "apns.mjs"),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    apple = Apple(process, key)
    listening = asyncio.create_task(apple.listen())
    try:
        await apple.until(lambda: apple.port > 0)
        yield apple
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        await listening


# ---------------------------------------------------------------------------------------------------- what we send


class Clock:
    """The database's, for `services.now`."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def fake_services(now: Callable[[], datetime]) -> Services:
    """Of all services the plugin uses the clock alone."""
    services = object.__new__(Services)
    object.__setattr__(services, "now", now)
    return services


def opened(apps: Mapping[str, Any], now: Callable[[], datetime] | None = None, **settings: Any) -> Any:
    return open_sender(PushSettings.model_validate({"apps": apps, **settings}), fake_services(now or Clock()))


def ios(apple: Apple, now: Callable[[], datetime] | None = None, **changes: Any) -> Any:
    """A sender with one app at this server."""
    return opened({"shop": {"uuid": SHOP, "apns": apple.settings(**changes)}}, now)


def make(
    number: int = 1,
    channel: str = "ios",
    token: str = TOKEN,
    app: Mapping[str, str] | None = None,
    expires: float | None = 3600,
    **fields: Any,
) -> Message:
    created = datetime.now(UTC)
    expiration = None if expires is None else created + timedelta(seconds=expires)
    data: dict[str, Any] = {"mobileApp": {"@uuid": SHOP, **(app or {})}}
    event = Event(
        number, "order", Queue.REALTIME, channel, data, created, {"registrationToken": token}, expiration=expiration
    )
    shown = {"title": "Shipped", "body": "Your parcel is on its way", **fields}
    rendered = FIELDS[channel].model_validate(shown).model_dump()
    return Message(
        event, channel, token, "shop", TemplateRef("order", channel, 1), Content({}, rendered), f"{number}@demo"
    )


@dataclass
class Handed:
    """Attempts, and what the plugin asked the core for."""

    admitted: list[tuple[str, str, int]] = field(default_factory=list)
    handed_off: list[str] = field(default_factory=list)

    async def admit(self, provider: str, destination: str, at_once: int = 0, /) -> None:
        self.admitted.append((provider, destination, at_once))

    async def hand_off(self, provider: str) -> None:
        self.handed_off.append(provider)

    def attempt(self) -> Attempt:
        return Attempt(1, self.hand_off, self.admit)


async def send(to: Sender, message: Message | None = None, handed: Handed | None = None) -> Outcome:
    return await to.deliver(message or make(), (handed or Handed()).attempt())


def verdict(outcome: Outcome) -> tuple[type, Scope | None, str]:
    """What the core goes by."""
    return type(outcome), getattr(outcome, "scope", None), getattr(outcome, "code", "")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# ------------------------------------------------------------------------------------------------------------ Google

ACCOUNT = "push@shop-1.iam.gserviceaccount.test"
DEVICE = "fGx7:APA91b-" + "Zk_9" * 30


@cache
def account_key() -> rsa.RSAPrivateKey:
    """It takes longer to make than most tests last."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Google:
    """Takes service accounts' assertions and messages as Google does, and misbehaves on command: `script` holds what
    the next messages get, `grants` what the next requests for a token get."""

    def __init__(self) -> None:
        self.key = account_key()
        self.seen: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.script: deque[Callable[[web.Request], Awaitable[web.StreamResponse]]] = deque()
        self.grants: deque[web.Response] = deque()
        self.asked = 0
        self.valid: set[str] = set()
        self.lifetime = 3600
        self.gate = asyncio.Event()
        self.port = 0

    async def token(self, request: web.Request) -> web.Response:
        self.asked += 1
        form = await request.post()
        claims = jwt.decode(
            str(form["assertion"]),
            self.key.public_key(),
            algorithms=["RS256"],
            audience="https://oauth2.googleapis.com/token",
        )
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assert claims["iss"] == ACCOUNT
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        if self.grants:
            return self.grants.popleft()
        token = f"ya29.{self.asked}"
        self.valid.add(token)
        return web.json_response({"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"})

    async def send(self, request: web.Request) -> web.StreamResponse:
        message = await request.json()
        self.seen.append(message)
        self.headers.append(dict(request.headers))
        if self.script:
            return await self.script.popleft()(request)
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.valid:
            return error(401, "UNAUTHENTICATED")
        if set(message) != {"message"} or not set(message["message"]) <= {
            "token",
            "fid",
            "notification",
            "data",
            "android",
            "apns",
        }:
            return error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        if not all(isinstance(value, str) for value in message["message"].get("data", {}).values()):
            return error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        return web.json_response({"name": f"projects/shop-1/messages/0:{len(self.seen)}%31bd1c96"})

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def settings(self, **changes: Any) -> dict[str, Any]:
        account = {
            "type": "service_account",
            "project_id": "shop-1",
            "client_email": ACCOUNT,
            "private_key": pem(self.key),
            "token_uri": self.url("/token"),
        }
        return {"service_account": json.dumps(account), "url": self.url(), "timeouts": QUICK, **changes}


def error(
    status: int, word: str, code: str = "", text: str = "Refused.", headers: Mapping[str, str] | None = None
) -> web.Response:
    """As Google's APIs say it; `code` is what FCM adds in the details."""
    found: dict[str, Any] = {"code": status, "message": text, "status": word}
    if code:
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        found["details"] = [{"@type": "type.googleapis.com/google.rpc.BadRequest"}, {"@type": kind, "errorCode": code}]
    return web.json_response({"error": found}, status=status, headers=headers)


def always(response: web.Response) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return response

    return answer


@asynccontextmanager
async def google_started() -> AsyncIterator[Google]:
    google = Google()
    app = web.Application()
    app.router.add_post("/token", google.token)
    app.router.add_post("/v1/projects/shop-1/messages:send", google.send)
    async with TestServer(app, host="127.0.0.1") as server:
        assert server.port is not None
        google.port = server.port
        yield google
        google.gate.set()


def android(google: Google, now: Callable[[], datetime] | None = None, **changes: Any) -> Any:
    return opened({"shop": {"uuid": SHOP, "fcm": google.settings(**changes)}}, now)


# ----------------------------------------------------------------------------------------------------------- browsers


class Browser:
    """A browser's half of a subscription."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)
        self.public = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def token(self) -> str:
        keys = {"p256dh": b64(self.public), "auth": b64(self.secret)}
        return json.dumps({"endpoint": self.endpoint, "expirationTime": None, "keys": keys}, separators=(",", ":"))

    @property
    def private(self) -> str:
        """The 32 bytes of the private key, in base64url."""
        return b64(self.key.private_numbers().private_value.to_bytes(32))


class PushService:
    """Keeps what it is sent, and answers what `script` holds."""

    def __init__(self) -> None:
        self.seen: list[tuple[Mapping[str, str], bytes]] = []
        self.script: deque[Callable[[web.Request], Awaitable[web.StreamResponse]]] = deque()
        self.gate = asyncio.Event()
        self.port = 0

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((dict(request.headers), await request.read()))
        if self.script:
            return await self.script.popleft()(request)
        return web.Response(status=201, headers={"Location": f"/message/{len(self.seen)}"})

    def browser(self) -> Browser:
        return Browser(f"http://127.0.0.1:{self.port}/send/a-secret-of-the-browser")


@asynccontextmanager
async def push_service_started() -> AsyncIterator[PushService]:
    service = PushService()
    app = web.Application()
    app.router.add_post("/send/{id}", service.take)
    async with TestServer(app, host="127.0.0.1") as server:
        assert server.port is not None
        service.port = server.port
        yield service
        service.gate.set()


def web_app(service: PushService, key: str, now: Callable[[], datetime] | None = None, **fetch: Any) -> Any:
    """A sender that may dial this machine."""
    guard = {"hosts": ["127.0.0.1"], "networks": ["127.0.0.1/32"], "ports": [service.port], "plain": True, **fetch}
    settings = {"shop": {"uuid": SHOP, "web": {"key": key, "contact": "mailto:ops@example.com"}}}
    return opened(settings, now, fetch=guard)
