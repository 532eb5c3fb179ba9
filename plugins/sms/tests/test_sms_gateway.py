"""HTTP gateways: the README's two, and what others may say."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from petitbleu import Deferred, Delivered, Failed, Outcome, Receipt, ReceiptState, Scope, Unknown
from petitbleu_sms.gateway import fits
from petitbleu_sms.gateway_settings import Answers
from petitbleu_sms.settings import SmsSettings
from petitbleu_sms.webhook import read_time, routes
from pydantic import ValidationError

pytest_plugins = ("sms_parts",)

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


def example(name: str) -> dict[str, Any]:
    """A gateway of the README, its secrets filled in."""
    for block in re.findall(r"^```yaml\n(.*?)^```", README, re.M | re.S):
        for plugin in yaml.safe_load(re.sub(r"\$\{\w+\}", "s3cret", block)).get("plugins", []):
            found = plugin["sms"].get("gateways", {}).get(name) if isinstance(plugin, dict) else None
            if found:
                return dict(found)
    raise AssertionError(f"the README describes no gateway {name}")


class Served:
    """A gateway that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = {}
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.hang = False
        self.breaks_off = False

    async def take(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        form = dict(await request.post())
        body = json.loads(raw) if request.content_type == "application/json" else form
        self.asked.append((request.method, request.path_qs, dict(request.headers), body))
        if self.hang:
            assert request.transport is not None
            request.transport.abort()
        if self.breaks_off:
            response = web.StreamResponse(status=self.status, headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b'{"messages": [{"id": "m-1"}')
            assert request.transport is not None
            request.transport.close()
            return response
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(status=self.status, text=text, headers=self.headers)


@pytest.fixture
async def served(aiohttp_server: Callable[[Any], Awaitable[TestServer]]) -> tuple[Served, str]:
    gateway = Served()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", gateway.take)
    server = await aiohttp_server(app)
    return gateway, str(server.make_url("")).rstrip("/")


def moved(settings: dict[str, Any], url: str) -> dict[str, Any]:
    return {**settings, "url": re.sub(r"https://[^/]*", url, settings["url"])}


def settings_of(**gateway: Any) -> SmsSettings:
    return SmsSettings.model_validate({"gateways": {"gate": {"url": "https://gate.example.com/", **gateway}}})


# ------------------------------------------------------------------------------------------------------------ sending


async def test_the_first_example(served: Any, messenger: Any, send: Any, core: Any) -> None:
    gateway, url = served
    gateway.status, gateway.body = 201, {"messages": [{"id": "m-1"}, {"id": "m-2"}]}
    async with messenger(gateways={"textgate": moved(example("textgate"), url)}, senders={"*": {"*": "Shop"}}) as state:
        outcome = await send(state, text='Ça va, "Zoé"?\n{{ 7 * 7 }}', number=42)
        assert outcome == Delivered("textgate", f"HTTP 201: {json.dumps(gateway.body)}", "201", "m-1", ("m-1", "m-2"))
        method, path, headers, body = gateway.asked[0]
        assert (method, path) == ("POST", "/v2/messages")
        assert headers["Authorization"] == "Bearer s3cret"
        assert headers["Idempotency-Key"] == "42@test"
        # what an event brings is never a template
        assert body == {
            "from": "Shop",
            "to": ["+33612345678"],
            "body": 'Ça va, "Zoé"?\n{{ 7 * 7 }}',
            "report": True,
            "reference": "42",
        }
        gateway.status, gateway.body = 422, {"error": {"code": "invalid_number"}}
        outcome = await send(state)
        assert isinstance(outcome, Failed)
        assert outcome.scope is Scope.ADDRESS
    assert core.handed_off == ["textgate", "textgate"]
    assert core.admitted[0] == ("textgate", "+33", 20)


async def test_the_second_example(served: Any, messenger: Any, send: Any) -> None:
    gateway, url = served
    gateway.body = {"status": "ok", "id": 4711}
    async with messenger(gateways={"bulkline": moved(example("bulkline"), url)}) as state:
        outcome = await send(state, sender="38200", text="1 + 1 & 2")
        assert isinstance(outcome, Delivered)
        assert outcome.awaits == ("4711",)
        assert gateway.asked[0][3] == {
            "user": "shop",
            "pass": "s3cret",
            "to": "33612345678",
            "from": "38200",
            "text": "1 + 1 & 2",
        }
        for error, kind, scope in (("number", Failed, Scope.ADDRESS), ("credit", Deferred, Scope.PROVIDER)):
            gateway.body = {"status": "error", "error": error, "pass": "s3cret"}
            outcome = await send(state)
            assert isinstance(outcome, kind)
            assert outcome.scope is scope
            # gateways like to repeat what they were told
            assert "s3cret" not in outcome.text
        # an answer that is neither success nor any refusal known: it may have the message
        gateway.body = "<html>OK</html>"
        assert isinstance(await send(state), Unknown)


@pytest.mark.parametrize(
    ("status", "kind", "scope"),
    [
        (202, Delivered, None),
        (302, Unknown, None),
        (400, Failed, Scope.MESSAGE),
        (401, Deferred, Scope.PROVIDER),
        (418, Deferred, Scope.MESSAGE),
        (429, Deferred, Scope.PROVIDER),
        (500, Unknown, None),
        (503, Deferred, Scope.PROVIDER),
        (504, Unknown, None),
    ],
)
async def test_what_statuses_mean(
    served: Any, messenger: Any, send: Any, status: int, kind: type, scope: Scope | None
) -> None:
    gateway, url = served
    gateway.status, gateway.headers = status, {"Retry-After": "17", "Location": f"{url}/elsewhere"}
    async with messenger(gateways={"gate": {"url": f"{url}/send", "json": {"text": "{{ text }}"}}}) as state:
        outcome = await send(state)
    assert isinstance(outcome, kind)
    assert getattr(outcome, "scope", None) is scope
    assert getattr(outcome, "retry_after", None) == (17 if kind is Deferred else None)
    # no redirect is followed, and nothing is asked twice
    assert len(gateway.asked) == 1


async def test_what_is_filled_into_a_url_stays_a_value(served: Any, messenger: Any, send: Any) -> None:
    gateway, url = served
    described = {"method": "GET", "url": url + "/to/{{ to }}?text={{ text }}", "query": {"from": "{{ sender }}"}}
    async with messenger(gateways={"gate": described}) as state:
        await send(state, text="a/b?c&d=é #", sender="A&B")
    assert gateway.asked[0][1] == "/to/%2B33612345678?text=a/b?c%26d%3D%C3%A9%20%23&from=A%26B"


async def test_a_header_with_a_line_break_is_not_sent(served: Any, messenger: Any, send: Any, core: Any) -> None:
    gateway, url = served
    async with messenger(gateways={"gate": {"url": url, "headers": {"X-Text": "{{ text }}"}}}) as state:
        outcome = await send(state, text="a\nX-Evil: 1")
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.US
    assert (core.handed_off, gateway.asked) == ([], [])


@pytest.mark.parametrize(
    ("more", "status", "expected"),
    [
        ({}, 200, Delivered),
        ({"success": {"status": "2xx", "path": "messages.*.id"}}, 200, Unknown),
        ({}, 400, Failed),
        ({}, 503, Deferred),
    ],
)
async def test_an_answer_that_breaks_off_counts_as_far_as_it_was_heard(
    served: Any, messenger: Any, send: Any, more: dict[str, Any], status: int, expected: type[Outcome]
) -> None:
    gateway, url = served
    gateway.status, gateway.breaks_off = status, True
    async with messenger(gateways={"gate": {"url": url, "json": {"to": "{{ to }}"}, **more}}) as state:
        assert type(await send(state)) is expected
    assert len(gateway.asked) == 1


async def test_a_huge_answer_is_not_read(served: Any, messenger: Any, send: Any) -> None:
    gateway, url = served
    gateway.body = "x" * 5_000_000
    async with messenger(gateways={"gate": {"url": url, "longest_answer": 1000}}) as state:
        outcome = await send(state)
    assert isinstance(outcome, Delivered)
    assert len(outcome.text) < 600


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "http://gate.example.com/"}, "https://"),
        ({"url": "https://{{ to }}.example.com/"}, "host in full"),
        ({"url": "https://user:pass@gate.example.com/"}, "host in full"),
        ({"url": "https://gate..example.com/"}, "host in full"),
        ({"url": "https://gate.example.com:99999/"}, "host in full"),
        ({"json": {"a": "{{ phone }}"}}, "{{ phone }} is not there; there are event, key"),
        ({"json": {"a": "{{ text"}}, "is not a template"),
        ({"json": {"at": date(2026, 1, 1)}}, "put it in quotes"),
        ({"json": {"most": float("inf")}}, "put it in quotes"),
        ({"secrets": {"key": ""}}, "at least 1"),
        ({"json": {}, "form": {}}, "not both"),
        ({"method": "GET", "form": {"a": "b"}}, "use query"),
        ({"headers": {"X Y": "1"}}, "not a header name"),
        ({"id": "a..b"}, "is not a path"),
        ({"success": {"status": "abc"}}, "pattern"),
        ({"receipts": {"id": "id", "state": "s", "states": {"a": "received"}}}, "signature"),
        (
            {
                "receipts": {
                    "id": "id",
                    "state": "s",
                    "states": {"a": "received"},
                    "signature": {"kind": "token", "secret": "x"},
                }
            },
            "where is it",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        settings_of(**given)


def test_templates_cannot_reach_out() -> None:
    from jinja2.exceptions import SecurityError
    from petitbleu_sms.filling import compile_text

    with pytest.raises(SecurityError):
        compile_text("{{ text.__class__.__mro__[1].__subclasses__() }}")({"text": "x"})


@pytest.mark.parametrize(
    ("wanted", "status", "data", "fit"),
    [
        ({}, 204, None, True),
        ({"status": 200}, 201, None, False),
        ({"status": "200-202"}, 202, None, True),
        ({"status": [200, "3xx"]}, 302, None, True),
        ({"path": "ok"}, 200, {"ok": True}, True),
        ({"path": "ok", "values": ["true"]}, 200, {"ok": True}, True),
        ({"path": "ok", "values": True}, 200, {"ok": False}, False),
        ({"path": "m.*.s", "values": [0]}, 200, {"m": [{"s": 0}, {"s": "0"}]}, True),
        ({"path": "m.*.s", "values": [0]}, 200, {"m": [{"s": 0}, {"s": 5}]}, False),
        ({"path": "m.1.s", "values": [5]}, 200, {"m": [{"s": 0}, {"s": 5}]}, True),
        ({"path": "m.0"}, 200, {"m": "text"}, False),
        ({"path": "m"}, 200, "no JSON", False),
    ],
)
def test_which_answers_fit(wanted: dict[str, Any], status: int, data: Any, fit: bool) -> None:
    assert fits(Answers.model_validate(wanted), status, data) is fit


# ----------------------------------------------------------------------------------------------------------- receipts


@pytest.fixture
async def hooks(core: Any, aiohttp_server: Callable[[Any], Awaitable[TestServer]]) -> str:
    gateways = {name: example(name) for name in ("textgate", "bulkline")}
    app = web.Application()
    app.add_routes(routes(SmsSettings.model_validate({"gateways": gateways}), core.services()))
    return str((await aiohttp_server(app)).make_url("/sms/receipts")).rstrip("/")


def signed(body: bytes, secret: bytes = b"s3cret") -> dict[str, str]:
    digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return {"X-Textgate-Signature": f"sha256={digest}", "Content-Type": "application/json"}


async def test_receipts_with_an_hmac(hooks: str, core: Any) -> None:
    reports = [
        {"message_id": "m-1", "status": "delivered", "at": "2026-11-25T13:00:00+01:00"},
        {"message_id": "m-2", "status": "failed", "code": 1},
        {"message_id": "m-3", "status": "failed", "code": 99},
        {"message_id": "m-4", "status": "buffered"},
        {"status": "delivered"},
    ]
    body = json.dumps({"reports": reports}).encode()
    async with ClientSession() as session:
        async with session.post(f"{hooks}/textgate", data=body, headers=signed(body)) as answer:
            assert answer.status == 200
        assert core.receipts == [
            Receipt(
                "sms",
                "textgate",
                ReceiptState.RECEIVED,
                "delivered",
                ("m-1",),
                permanent=False,
                at=datetime(2026, 11, 25, 12, tzinfo=UTC),
            ),
            Receipt("sms", "textgate", ReceiptState.BOUNCED, "failed 1", ("m-2",), code="1", scope=Scope.ADDRESS),
            Receipt("sms", "textgate", ReceiptState.BOUNCED, "failed 99", ("m-3",), code="99"),
            Receipt("sms", "textgate", ReceiptState.UNDERWAY, "buffered", ("m-4",), permanent=False),
        ]
        core.receipts.clear()
        # forged, unsigned, signed by another secret, without a body, no JSON
        wrong = [
            (body.replace(b"failed", b"delivered"), signed(body), 403),
            (body, {}, 403),
            (body, signed(body, b"guess"), 403),
            (body, {"X-Textgate-Signature": "sha256=\u00e9"}, 403),
            (b"[", signed(b"["), 400),
        ]
        for data, headers, status in wrong:
            async with session.post(f"{hooks}/textgate", data=data, headers=headers) as answer:
                assert answer.status == status
        async with session.get(f"{hooks}/textgate", headers=signed(b"")) as answer:
            assert answer.status == 405
        assert core.receipts == []
        core.broken = True
        async with session.post(f"{hooks}/textgate", data=body, headers=signed(body)) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_receipts_with_a_token(hooks: str, core: Any) -> None:
    async with ClientSession() as session:
        for send in (
            session.get(f"{hooks}/bulkline", params={"token": "s3cret", "msgid": "4711", "dlr": "1"}),
            session.post(f"{hooks}/bulkline?token=s3cret", data={"msgid": "4711", "dlr": "2"}),
        ):
            async with send as answer:
                assert answer.status == 200
        async with session.get(f"{hooks}/bulkline", params={"token": "S3cret", "msgid": "4711", "dlr": "1"}) as answer:
            assert answer.status == 403
    assert [(one.names, one.state) for one in core.receipts] == [
        (("4711",), ReceiptState.RECEIVED),
        (("4711",), ReceiptState.BOUNCED),
    ]


def test_times() -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    for text in (
        "2026-11-25T12:00:00Z",
        "2026-11-25 12:00:00",
        "2026-11-25T13:00:00+01:00",
        "1795608000",
        "1795608000000",
    ):
        assert read_time(text) == noon
    for text in ("", "soon", "99999999999999999999", "2026-13-01"):
        assert read_time(text) is None
