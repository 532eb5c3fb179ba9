"""What a receiver gets, what it can answer, and which addresses an event may name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from petitbleu import Content, Deferred, Delivered, EventsRefused, Failed, Fetched, Outcome, Scope
from petitbleu_webhook.messages import preview
from petitbleu_webhook.sender import outcome
from petitbleu_webhook.settings import WebhookSettings
from pydantic import ValidationError
from standardwebhooks import Webhook

OLD = "whsec_b25lIGZvciB0aGUgdGVzdHMgb2YgdGhlIGNoYW5uZWw="
NEW = "whsec_YW5vdGhlciBvbmUgZm9yIHRoZSB0ZXN0cyBvZiBpdCBhbGw="
NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
TEMPLATE = {
    "template.yaml": "type: order.shipped",
    "body.json.j2": '{"order": {{ rtEvent.ctx.order | tojson }}, "to": {{ rtEvent.ctx.to | tojson }}}',
}


class Receiver:
    """Answers with the next of `statuses`, then with 204."""

    def __init__(self) -> None:
        self.heard: list[tuple[Mapping[str, str], bytes]] = []
        self.statuses: list[int] = []
        app = web.Application()
        app.router.add_post("/hooks/{id}", self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        self.heard.append((dict(request.headers), await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204, headers={"Retry-After": "1800"})

    def url(self, path: str = "/hooks/42") -> str:
        return str(self.server.make_url(path))


@asynccontextmanager
async def serving(petitbleu_server: Any, **more: Any) -> AsyncIterator[tuple[Any, Receiver]]:
    receiver = Receiver()
    await receiver.server.start_server()
    fetch = {"plain": True, "networks": ["127.0.0.0/8"], "ports": [receiver.server.port]}
    section = {"receivers": {"shop": {"url": receiver.url("/hooks/"), "secrets": [NEW, OLD]}}, "fetch": fetch}
    try:
        async with petitbleu_server(plugins={"webhook": section}, templates={"note/webhook": TEMPLATE}) as server:
            yield server, receiver
    finally:
        await receiver.server.close()


async def push(server: Any, url: str) -> int:
    event: int = await server.push("note", {"order": "30201", "to": 'Zoé "Z"'}, webhookUrl=url)
    return event


async def test_a_receiver_verifies_it_with_either_secret(petitbleu_server: Any) -> None:
    async with serving(petitbleu_server) as (server, receiver):
        event = await push(server, receiver.url())
        record = await server.settled(event)
        assert (record.status, record.tries[0].provider, record.tries[0].code) == ("sent", "shop", "204")
        ((headers, body),) = receiver.heard
        for secret in (OLD, NEW):
            message = Webhook(secret).verify(body, dict(headers))
            assert (message["type"], message["data"]) == ("order.shipped", {"order": "30201", "to": 'Zoé "Z"'})
        assert str(event) in headers["webhook-id"]


async def test_what_is_asked_for_is_waited_for_and_a_repeat_is_the_same_message(petitbleu_server: Any) -> None:
    async with serving(petitbleu_server) as (server, receiver):
        receiver.statuses = [429, 500]
        event = await push(server, receiver.url())
        for number in (1, 2):
            record = await server.settled(event)
            assert (record.status, record.tries[-1].scope) == ("pending", "provider")
            assert (record.next_try - server.now()).total_seconds() > 1790
            assert len(receiver.heard) == number
            await server.travel_to_next_try(event)
        assert (await server.settled(event)).status == "sent"
        assert len({(headers["webhook-id"], body) for headers, body in receiver.heard}) == 1


async def test_an_address_that_is_gone_gets_nothing_more(petitbleu_server: Any) -> None:
    async with serving(petitbleu_server) as (server, receiver):
        receiver.statuses = [410]
        assert (await server.settled(await push(server, receiver.url()))).status == "failed"
        assert (await server.settled(await push(server, receiver.url()))).status == "ignored"
        assert (await server.settled(await push(server, receiver.url("/hooks/43")))).status == "sent"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://elsewhere.example.com/hooks/42", "webhookUrl: is at none of the receivers"),
        ("{0}/other/42", "webhookUrl: is at none of the receivers"),
        ("{0}/hooks/../other", "webhookUrl: is at none of the receivers"),
        ("http://10.0.0.7:25/hooks/42", "webhookUrl: cannot be used: port 25 is not allowed"),
        ("file:///etc/passwd", "webhookUrl: cannot be used: its scheme"),
        ("https://user:pass@shop.example.com/", "webhookUrl: cannot be used: it holds a login"),
    ],
)
async def test_only_addresses_of_known_receivers_are_taken(petitbleu_server: Any, url: str, words: str) -> None:
    async with serving(petitbleu_server) as (server, receiver):
        with pytest.raises(EventsRefused, match=words):
            await push(server, url.format(receiver.url("")))
        assert receiver.heard == []


ANSWERS: list[tuple[int, str | None, Outcome]] = [
    (200, None, Delivered("shop", "200", "200")),
    (400, None, Failed("shop", "400 no, thanks", Scope.MESSAGE, "400")),
    (410, None, Failed("shop", "410 no, thanks", Scope.ADDRESS, "410")),
    (401, None, Deferred("shop", "401 no, thanks", Scope.PROVIDER, "401")),
    (404, None, Deferred("shop", "404 no, thanks", Scope.PROVIDER, "404")),
    (302, None, Deferred("shop", "302 no, thanks", Scope.PROVIDER, "302")),
    (429, "120", Deferred("shop", "429 no, thanks", Scope.PROVIDER, "429", 120.0)),
    (503, "Mon, 23 Nov 2026 10:01:00 GMT", Deferred("shop", "503 no, thanks", Scope.PROVIDER, "503", 60.0)),
    (503, "9" * 40, Deferred("shop", "503 no, thanks", Scope.PROVIDER, "503")),
    (503, "whenever", Deferred("shop", "503 no, thanks", Scope.PROVIDER, "503")),
]


@pytest.mark.parametrize(("status", "after", "expected"), ANSWERS)
def test_answers(status: int, after: str | None, expected: Outcome) -> None:
    headers = {} if after is None else {"retry-after": after}
    assert outcome("shop", Fetched(status, headers, b"no,\r\n\tthanks", "https://x.example"), NOW, 100) == expected


GOOD = {"url": "https://shop.example.com/hooks/", "secrets": [OLD]}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"receivers": {}}, "at least 1 item"),
        ({"receivers": {"shop": {**GOOD, "secrets": ["hush"]}}}, "should be whsec_ and the base64"),
        ({"receivers": {"shop": {**GOOD, "url": "http://shop.example.com/"}}}, "receivers.shop.url: its scheme is not"),
        ({"receivers": {"shop": GOOD}, "timeout": 3}, "Extra inputs"),
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookSettings.model_validate(section)
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


def test_the_most_exact_receiver_signs() -> None:
    settings = WebhookSettings.model_validate(
        {"receivers": {"all": {**GOOD, "url": "https://shop.example.com/"}, "hooks": GOOD}}
    )
    assert settings.receiver_of("https://shop.example.com/hooks/1") == "hooks"
    assert settings.receiver_of("https://SHOP.example.com/other") == "all"
    assert settings.receiver_of("https://shop.example.com.evil.example/hooks/1") is None


def test_a_preview_says_whether_it_is_json() -> None:
    assert preview(Content({"data": '{"a": 1}'}, {})) == ["data of 8 bytes"]
    (told,) = preview(Content({"data": "{a}"}, {}))
    assert told.startswith("it cannot be sent: body.json.j2 is no JSON")
    (told,) = preview(Content({"data": '{"a": NaN}'}, {}))
    assert "NaN" in told
