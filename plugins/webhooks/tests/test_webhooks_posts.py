"""Messages as a receiver gets them, verified by somebody else's library, and what every answer of it makes of them."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import petitbleu_webhooks as plugin
import pytest
import trustme
from aiohttp import web
from petitbleu import Event, Notice, NotTold, Queue, Services, StatusName, Told
from petitbleu_webhooks.messages import message
from petitbleu_webhooks.sender import Sender, open_sender
from petitbleu_webhooks.settings import USUAL, WebhookSettings
from petitbleu_webhooks.signing import headers, secret_bytes
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_bWFkZSBmb3IgdGhlc2UgdGVzdHMgYWxvbmUuLi4u"
NEWER = "whsec_b25lIG1vcmUgZm9yIHRoZXNlIHRlc3RzIGFsb25lLi4="
NOTICE = Notice(
    subscription="shop",
    key="72057594037927942-sent-1",
    kind="sent",
    event=72057594037927942,
    at=datetime(2026, 11, 23, 13, 10, 28, 394298, tzinfo=UTC),
    tries=0,
    type="password_reset",
    channel="email",
    status="sent",
    external_id="A-4711",
    brand="shop",
    attempt=2,
    provider="main",
    reason="250 ok ✓",
)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """What came, and how it is answered."""

    def __init__(self) -> None:
        self.heard: list[tuple[Mapping[str, str], bytes]] = []
        self.answer: Answer = self.well

    async def well(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="thanks")

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.heard.append((request.headers, await request.read()))
        return await self.answer(request)


@pytest.fixture
async def receiver(aiohttp_server: Any) -> SimpleNamespace:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/in", made.take)
    server = await aiohttp_server(app)
    return SimpleNamespace(receiver=made, url=str(server.make_url("/in")), port=server.port)


class Core:
    """As much of the core as the plugin asks."""

    statuses: Mapping[str, StatusName] = {"sent": StatusName("sent", "Sent", "processed", 2)}

    async def load_event(self, event: int) -> Event | None:
        if event != NOTICE.event:
            return None
        return Event(event, "password_reset", Queue.REALTIME, "email", {}, NOTICE.at, {"email": "zoe@example.com"})

    def now(self) -> datetime:
        return datetime.now(UTC)


def section(url: str, port: int, **more: Any) -> WebhookSettings:
    endpoint = {"url": url, "secrets": [SECRET], **more}
    fetch = {"plain": True, "networks": ["127.0.0.0/8"], "ports": [port], "timeout": 1.0}
    return WebhookSettings.model_validate({"subscriptions": {"shop": endpoint}, "fetch": fetch})


@asynccontextmanager
async def sending(to: SimpleNamespace, **more: Any) -> AsyncIterator[Sender]:
    async with open_sender(section(to.url, to.port, **more), cast(Services, Core())) as sender:
        yield sender


# ------------------------------------------------------------------------------------------------------- what is sent


async def test_a_message_is_verified_by_somebody_elses_library(receiver: SimpleNamespace) -> None:
    async with sending(receiver) as sender:
        assert await sender.tell(NOTICE) == Told("200")
    ((sent, body),) = receiver.receiver.heard
    assert Webhook(SECRET).verify(body, dict(sent)) == {
        "type": "event.sent",
        "timestamp": "2026-11-23T13:10:28.394298Z",
        "data": {
            "id": "72057594037927942",
            "type": "password_reset",
            "channel": "email",
            "brand": "shop",
            "externalId": "A-4711",
            "origin": None,
            "status": "sent",
            "statusCode": 2,
            "statusName": "processed",
            "feedback": None,
            "attempt": 2,
            "provider": "main",
            "code": None,
            "reason": "250 ok ✓",
            "template": None,
        },
    }
    assert sent["Content-Type"] == "application/json"
    assert sent["webhook-id"] == NOTICE.key
    for changed in (body.replace(b"A-4711", b"A-4712"), body + b" "):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(changed, dict(sent))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEWER).verify(body, dict(sent))


async def test_while_a_secret_is_replaced_either_verifies(receiver: SimpleNamespace) -> None:
    async with sending(receiver, secrets=[NEWER, SECRET]) as sender:
        await sender.tell(NOTICE)
    ((sent, body),) = receiver.receiver.heard
    for secret in (SECRET, NEWER):
        assert Webhook(secret).verify(body, dict(sent))["type"] == "event.sent"
    assert SECRET[6:] not in str(sent)


def test_the_signature_is_the_librarys() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = headers([secret_bytes(SECRET)], "id-1", int(at.timestamp()), b'{"a":1}')
    assert made["webhook-signature"] == Webhook(SECRET).sign("id-1", at, '{"a":1}')


async def test_addresses_are_sent_to_whom_they_are_promised(receiver: SimpleNamespace) -> None:
    async with sending(receiver) as sender:
        await sender.tell(NOTICE)
    async with sending(receiver, include=["address"]) as sender:
        await sender.tell(NOTICE)
        await sender.tell(Notice(**{name: getattr(NOTICE, name) for name in NOTICE.__slots__} | {"event": 1}))
    data = [json.loads(body)["data"] for _, body in receiver.receiver.heard]
    assert [one.get("addresses") for one in data] == [None, {"email": "zoe@example.com"}, {}]


async def test_every_try_is_signed_anew_and_has_the_same_id(receiver: SimpleNamespace) -> None:
    core = Core()
    start = datetime.now(UTC)
    times = iter((start, start + timedelta(seconds=100)))
    core.now = lambda: next(times)  # type: ignore[method-assign]
    async with open_sender(section(receiver.url, receiver.port), cast(Services, core)) as sender:
        await sender.tell(NOTICE)
        await sender.tell(NOTICE)
    (first, one), (second, other) = receiver.receiver.heard
    assert (one, first["webhook-id"]) == (other, second["webhook-id"])
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 100
    assert first["webhook-signature"] != second["webhook-signature"]


def test_text_that_is_no_unicode_is_sent_all_the_same() -> None:
    odd = Notice(**{name: getattr(NOTICE, name) for name in NOTICE.__slots__} | {"reason": "\ud800"})
    assert json.loads(message(odd, {}, None))["data"]["reason"] == "\ud800"


# ---------------------------------------------------------------------------------------------------- what is answered


async def status(code: int, sent: Mapping[str, str] | None = None, text: str = "") -> web.StreamResponse:
    return web.Response(status=code, headers=sent, text=text)


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b".")
        await asyncio.sleep(0.1)
    return response


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda request: status(204), Told("204")),
        (lambda request: status(500, text="no\n\n<b>database</b>"), NotTold("500 no <b>database</b>")),
        (lambda request: status(400), NotTold("400")),
        (lambda request: status(429, {"Retry-After": "120"}, "slower"), NotTold("429 slower", 120.0)),
        (lambda request: status(503, {"Retry-After": "soon"}), NotTold("503")),
        (lambda request: status(410), NotTold("410", ended=True)),
        (lambda request: status(302, {"Location": "https://elsewhere.example/"}), NotTold("302")),
        # what it says beside the status matters to nobody
        (lambda request: status(200, text="x" * 1_048_577), Told("200")),
        (lambda request: status(200, {"Content-Encoding": "gzip"}), Told("200")),
        (lambda request: status(410, text="x" * 1_048_577), NotTold("410", ended=True)),
        (lambda request: status(500, text="x" * 1_048_577), NotTold("500")),
        (drip, Told("200")),
        (hang, NotTold("no answer within 1 s")),
        (reset, NotTold("ServerDisconnectedError")),
    ],
)
async def test_answers(receiver: SimpleNamespace, answer: Answer, expected: Told | NotTold) -> None:
    receiver.receiver.answer = answer
    async with sending(receiver) as sender:
        assert await sender.tell(NOTICE) == expected
    assert len(receiver.receiver.heard) == 1


async def test_nobody_there(unused_tcp_port: int) -> None:
    to = SimpleNamespace(url=f"http://127.0.0.1:{unused_tcp_port}/in", port=unused_tcp_port)
    async with sending(to) as sender:
        told = await sender.tell(NOTICE)
    assert isinstance(told, NotTold)
    assert "Connect call failed" in told.text or "refused" in told.text


async def test_a_certificate_that_does_not_hold_is_not_taken(aiohttp_server: Any, tmp_path: Any) -> None:
    trusted, other = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    outcomes = []
    for authority in (trusted, other):
        made = Receiver()
        app = web.Application()
        app.router.add_post("/in", made.take)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server = await aiohttp_server(app, ssl=context)
        fetch = {"networks": ["127.0.0.0/8"], "ports": [server.port], "ca_file": str(tmp_path / "ca.pem")}
        endpoint = {"url": f"https://127.0.0.1:{server.port}/in", "secrets": [SECRET]}
        settings = WebhookSettings.model_validate({"subscriptions": {"shop": endpoint}, "fetch": fetch})
        async with open_sender(settings, cast(Services, Core())) as sender:
            outcomes.append((await sender.tell(NOTICE), len(made.heard)))
    (well, one), (badly, none) = outcomes
    assert (well, one, none) == (Told("200"), 1, 0)
    assert isinstance(badly, NotTold)
    assert "ertificate" in badly.text


async def test_a_private_address_is_not_connected_to(receiver: SimpleNamespace) -> None:
    settings = WebhookSettings.model_validate(
        {
            "subscriptions": {"shop": {"url": receiver.url, "secrets": [SECRET]}},
            "fetch": {"plain": True, "ports": [receiver.port]},
        }
    )
    async with open_sender(settings, cast(Services, Core())) as sender:
        assert await sender.tell(NOTICE) == NotTold("its address 127.0.0.1 is not public")
    assert receiver.receiver.heard == []


# ------------------------------------------------------------------------------------------------------------ settings

GOOD = {"url": "https://shop.example.com/in", "secrets": [SECRET]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"secrets": []}, "at least 1 item"),
        ({"secrets": ["hush"]}, "should be whsec_ and the base64 of 24 to 64 random bytes"),
        ({"secrets": ["whsec_c2hvcnQ="]}, "should be whsec_ and the base64 of 24 to 64 random bytes"),
        ({"events": ["send"]}, "should be one of accepted, "),
        ({"url": "http://shop.example.com/in"}, "subscriptions.shop.url: its scheme is not https"),
        ({"url": "https://shop.example.com:8443/in"}, "subscriptions.shop.url: port 8443 is not allowed"),
        ({"url": "https://u:p@shop.example.com/"}, "subscriptions.shop.url: it holds a login"),
        ({"include": ["payload"]}, "'address'"),
        ({"retries": 3}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookSettings.model_validate({"subscriptions": {"shop": {**GOOD, **changes}}})
    assert words in str(refused.value)
    assert "c2hvcnQ=" not in str(refused.value)


def test_what_is_subscribed() -> None:
    more = {"types": ["order"], "channels": ["sms"], "brands": ["shop"], "concurrency": 2, "patience": 60}
    settings = WebhookSettings.model_validate({"subscriptions": {"a": GOOD, "b": {**GOOD, **more}}})
    usual, narrow = plugin.petitbleu_subscriptions(settings)
    assert (usual.name, usual.kinds, usual.types, usual.patience) == ("a", USUAL, frozenset(), 259_200)
    assert (narrow.types, narrow.channels, narrow.brands) == (
        frozenset({"order"}),
        frozenset({"sms"}),
        frozenset({"shop"}),
    )
    assert (narrow.concurrency, narrow.patience, narrow.deadline) == (2, 60, 20)
