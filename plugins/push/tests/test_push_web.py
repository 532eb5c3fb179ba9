"""Web push: what the push service is given is opened by node's crypto and by http-ece; nothing else is dialled."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import http_ece  # type: ignore[import-untyped]
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from petitbleu import Deferred, Delivered, Failed, Outcome, Scope
from petitbleu_push.devices import subscription
from petitbleu_push.webpush import encrypt
from push_rig import SHOP, Browser, Clock, Handed, PushService, always, b64, make, opened, pem, send, verdict, web_app
from pywebpush import WebPusher  # type: ignore[import-untyped]

pytest_plugins = ("push_servers",)

NODE = Path(__file__).parent / "node" / "browser.mjs"
KEY = ec.generate_private_key(ec.SECP256R1())
RAW = b64(KEY.private_numbers().private_value.to_bytes(32))


def opened_by_node(node_path: str, browser: Browser, body: bytes, authorization: str = "") -> dict[str, Any]:
    given = {
        "private": browser.private,
        "secret": b64(browser.secret),
        "body": b64(body),
        "authorization": authorization,
    }
    done = subprocess.run([node_path, NODE], input=json.dumps(given), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def note(browser: Browser, number: int = 1, **fields: Any) -> Any:
    return make(number, "web", browser.token, **fields)


@pytest.mark.parametrize("key", [pem(KEY), RAW], ids=["PEM", "base64url"])
async def test_a_notification_arrives_as_it_was_written(node_path: str, service: PushService, key: str) -> None:
    handed = Handed()
    browser = service.browser()
    message = note(browser, link="https://shop.example.com/7", image="https://img.example.com/7.png", badge=1, ttl=600)
    async with web_app(service, key) as to:
        outcome = await send(to, message, handed)
    assert outcome == Delivered("web/shop", "201 from 127.0.0.1", "201")
    assert handed.admitted == [("web/shop", "127.0.0.1", 50)]
    assert handed.handed_off == ["web/shop"]
    ((headers, body),) = service.seen
    found = opened_by_node(node_path, browser, body, headers["Authorization"])
    assert json.loads(found["text"]) == {
        "title": "Shipped",
        "body": "Your parcel is on its way",
        "image": "https://img.example.com/7.png",
        "link": "https://shop.example.com/7",
        "badge": 1,
    }
    again = http_ece.decrypt(body, private_key=browser.key, auth_secret=browser.secret, version="aes128gcm")
    assert again.decode() == found["text"]
    assert found["good"]
    assert found["head"] == {"alg": "ES256", "typ": "JWT"}
    assert found["claims"]["aud"] == f"http://127.0.0.1:{service.port}"
    assert found["claims"]["sub"] == "mailto:ops@example.com"
    assert headers["Content-Encoding"] == "aes128gcm"
    assert headers["TTL"] == "600"
    assert headers["Urgency"] == "high"
    assert len(headers["Topic"]) == 32


async def test_a_repeat_replaces_the_first(service: PushService) -> None:
    browser = service.browser()
    async with web_app(service, RAW) as to:
        for number in (1, 1, 2):
            await send(to, note(browser, number))
        await send(to, note(browser, 3, collapse="order-7", priority="normal"))
    topics = [headers["Topic"] for headers, _ in service.seen]
    assert topics[0] == topics[1] != topics[2]
    assert topics[3] == "order-7"
    assert service.seen[3][0]["Urgency"] == "normal"
    assert service.seen[0][1] != service.seen[1][1], "each record has a key of its own"


async def test_a_token_serves_an_origin_for_a_while(service: PushService) -> None:
    clock = Clock()
    browser = service.browser()
    async with web_app(service, RAW, clock) as to:
        for hours in (0, 5, 7):
            clock.ahead = timedelta(hours=hours)
            await send(to, note(browser, expires=None))
    tokens = [headers["Authorization"] for headers, _ in service.seen]
    assert tokens[0] == tokens[1] != tokens[2]


def test_the_largest_payload_fits_what_every_service_takes(node_path: str) -> None:
    browser = Browser("https://push.example.com/x")
    body = encrypt(b"x" * 3993, subscription(browser.token))
    assert len(body) == 4096
    assert opened_by_node(node_path, browser, body)["text"] == "x" * 3993


def test_a_subscription_may_come_in_base64url() -> None:
    browser = Browser("https://push.example.com/x")
    assert subscription(b64(browser.token.encode())) == subscription(browser.token)


@pytest.mark.parametrize(
    ("answer", "kind", "scope", "code"),
    [
        (web.Response(status=404), Failed, Scope.ADDRESS, "404"),
        (web.Response(status=410), Failed, Scope.ADDRESS, "410"),
        (web.Response(status=413), Failed, Scope.MESSAGE, "413"),
        (web.Response(status=400, text="bad"), Failed, Scope.MESSAGE, "400"),
        (web.json_response({"reason": "BadJwtToken"}, status=403), Deferred, Scope.PROVIDER, "403 BadJwtToken"),
        (
            web.json_response({"reason": "VapidPkHashMismatch"}, status=400),
            Failed,
            Scope.MESSAGE,
            "400 VapidPkHashMismatch",
        ),
        (
            web.Response(
                status=403, text="the VAPID credentials do not correspond to the credentials used to subscribe"
            ),
            Failed,
            Scope.MESSAGE,
            "403 VapidPkHashMismatch",
        ),
        (web.Response(status=401), Deferred, Scope.PROVIDER, "401"),
        (web.Response(status=429), Deferred, Scope.PROVIDER, "429"),
        (web.Response(status=500), Deferred, Scope.PROVIDER, "500"),
        (web.Response(status=307, headers={"Location": "http://127.0.0.1/"}), Failed, Scope.MESSAGE, "307"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_refusals(service: PushService, answer: web.Response, kind: type, scope: Scope, code: str) -> None:
    service.script.append(always(answer))
    async with web_app(service, RAW) as to:
        assert verdict(await send(to, note(service.browser()))) == (kind, scope, code)
    assert len(service.seen) == 1


async def drips(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=201)
    await response.prepare(request)
    await asyncio.sleep(30)
    return response


async def test_what_follows_the_status_matters_to_nobody(service: PushService) -> None:
    """A message that the push service has is not sent again because of the rest of the answer."""
    service.script.append(always(web.Response(status=201, body=b"x" * 1_048_577)))
    service.script.append(always(web.Response(status=201, body=b"x", headers={"Content-Encoding": "gzip"})))
    service.script.append(drips)
    service.script.append(always(web.Response(status=410, body=b"x" * 1_048_577)))
    async with web_app(service, RAW, timeout=0.5) as to:
        for _ in range(3):
            assert isinstance(await send(to, note(service.browser())), Delivered)
        assert verdict(await send(to, note(service.browser()))) == (Failed, Scope.ADDRESS, "410")


async def test_retry_after_is_heeded(service: PushService) -> None:
    service.script.append(always(web.Response(status=429, headers={"Retry-After": "60"})))
    async with web_app(service, RAW) as to:
        outcome = await send(to, note(service.browser()))
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after == 60


@pytest.mark.parametrize(
    ("endpoint", "changes"),
    [
        ("http://127.0.0.1:{port}/send/x", {"networks": []}),
        ("http://localhost:{port}/send/x", {}),
        ("http://127.0.0.1:{port}/send/x", {"plain": False}),
        ("http://127.0.0.1:{port}/send/x", {"ports": []}),
        ("http://me@127.0.0.1:{port}/send/x", {}),
    ],
)
async def test_an_endpoint_that_is_not_allowed_is_not_asked(
    service: PushService, endpoint: str, changes: dict[str, Any]
) -> None:
    browser = Browser(endpoint.format(port=service.port))
    async with web_app(service, RAW, **changes) as to:
        outcome = await send(to, note(browser))
    assert verdict(outcome) == (Failed, Scope.MESSAGE, "")
    assert outcome.text.startswith("the subscription's endpoint: ")
    assert service.seen == []


async def test_without_settings_only_browsers_push_services_are_asked(service: PushService) -> None:
    web_settings = {"key": RAW, "contact": "mailto:ops@example.com"}
    async with opened({"shop": {"uuid": SHOP, "web": web_settings}}) as to:
        outcomes: list[Outcome] = []
        for host in ("evil.example.com", "fcm.googleapis.com.evil.example.com", "127.0.0.1"):
            outcomes.append(await send(to, note(Browser(f"https://{host}/x"))))  # noqa: PERF401
        event = note(Browser("https://fcm.googleapis.com/fcm/send/x")).event
        assert to.check_event(event) is None
        refused = to.check_event(note(Browser("https://evil.example.com/x")).event)
    assert {one.text for one in outcomes} == {"the subscription's endpoint: its host is not on the list"}
    assert refused is not None
    assert refused.attribute == "registrationToken"


async def test_many_at_once(node_path: str, service: PushService) -> None:
    browsers = [service.browser() for _ in range(30)]
    async with web_app(service, RAW) as to:
        outcomes = await asyncio.gather(*(send(to, note(one, n)) for n, one in enumerate(browsers)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)


async def test_pywebpush_reads_the_same_subscription(node_path: str) -> None:
    """The other way round: what another sender writes for this subscription, our test's browser opens as well."""
    browser = Browser("https://push.example.com/x")
    theirs = WebPusher(json.loads(browser.token)).encode(b"hello", "aes128gcm")
    assert opened_by_node(node_path, browser, theirs["body"])["text"] == "hello"
    assert base64.urlsafe_b64decode(b64(browser.secret) + "==") == subscription(browser.token).secret
