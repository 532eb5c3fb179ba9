"""The main job on the sample instance: an event pushed over SOAP becomes a mail, and trouble with mail is told."""

from __future__ import annotations

import asyncio
import email.policy
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiosmtpd.smtp import SMTP, Envelope
from petitbleu.audit import ITSELF
from petitbleu.cli.events import way
from petitbleu.cli.local import LOCAL
from petitbleu.config import SAMPLE
from petitbleu.operating import FoundEvent
from petitbleu.serving.app import Server, running
from petitbleu.types import Comparison, EventQuery
from petitbleu.xmldata import parse_xml

ENVELOPE = """<?xml version="1.0" encoding="utf-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:{schema}">
  <soapenv:Header/>
  <soapenv:Body><urn:{method}><urn:sessiontoken>{token}</urn:sessiontoken>
    <urn:domEvent>{event}</urn:domEvent></urn:{method}></soapenv:Body>
</soapenv:Envelope>"""

ORDER = """<rtEvent type="order_confirmation" email="{to}" origin="webshop" wishedChannel="0" externalId="O-1"
    mobilePhone="+33612345678" language="fr" country="FR"><ctx>
  <client><firstname>Maëlle</firstname><lastname>Garnier</lastname></client>
  <order number="70881" currency="EUR">
    <line sku="A-1"><name>Théière &amp; tasses</name><quantity>2</quantity><price>24.50</price></line>
    <total>49.00</total>
  </order></ctx></rtEvent>"""

RESET = """<rtEvent type="password_reset" email="{to}"><ctx><user login="m.garnier"/>
  <link>https://shop.example.com/reset?k=1f&amp;u=m</link></ctx></rtEvent>"""


@dataclass(slots=True)
class Mailbox:
    """An aiosmtpd handler that keeps mail and answers as `refuse` says: stage (`RCPT`, `DATA`) to reply."""

    mails: list[EmailMessage] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        if "RCPT" in self.refuse:
            self.tried.set()
            return self.refuse["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.tried.set()
        if "DATA" in self.refuse:
            return self.refuse["DATA"]
        content = envelope.content or b""
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        return "250 2.0.0 kept"


@dataclass(slots=True)
class Shop:
    """The sample instance with its templates published, and a caller."""

    server: Server
    client: aiohttp.ClientSession
    mailbox: Mailbox

    async def call(self, event: str, schema: str = "rtEvent", method: str = "PushEvent", token: str = "mc/demo") -> str:
        body = ENVELOPE.format(schema=schema, method=method, token=token, event=event)
        url = f"{self.server.url}/nl/jsp/soaprouter.jsp"
        async with self.client.post(url, data=body.encode(), headers={"Content-Type": "text/xml"}) as response:
            text = await response.text()
            assert response.status in (200, 500), text
            return text

    async def push(self, event: str) -> int:
        answer = parse_xml((await self.call(event)).encode())
        return int(answer.findtext(".//{*}plId") or 0)

    async def found(self, event_id: int) -> FoundEvent:
        query = EventQuery(Comparison("id", "=", (str(event_id),)))
        (found,) = await self.server.instance.status.find(query, LOCAL)
        return found

    async def settled(self, event_id: int) -> FoundEvent:
        for _ in range(500):
            found = await self.found(event_id)
            if found.reason and found.status != "processing":
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"still {found}")

    async def publish(self, event_type: str) -> None:
        instance = self.server.instance
        await instance.templates.publish(instance.drafts.load(event_type, "email"), ITSELF)

    async def attempts(self, event_id: int) -> list[dict[str, Any]]:
        return await self.server.instance.status.attempts(event_id)

    async def stored(self) -> int:
        return await self.server.instance.status.count(EventQuery(), LOCAL)


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Callable[..., Any]]:
    """`await shop()` starts it, with `--set` overrides."""
    async with AsyncExitStack() as stack:

        async def start(*overrides: str, mail_port: int | None = None) -> Shop:
            mailbox = Mailbox()
            loop = asyncio.get_running_loop()
            smtp = await loop.create_server(lambda: SMTP(mailbox, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
            await stack.enter_async_context(smtp)
            port = mail_port or smtp.sockets[0].getsockname()[1]
            sets = [
                f"database={database_url}",
                "http.port=0",
                f"plugins.email.providers.main.port={port}",
                *overrides,
            ]
            server = await stack.enter_async_context(running(SAMPLE, sets))
            client = await stack.enter_async_context(aiohttp.ClientSession())
            world = Shop(server, client, mailbox)
            for event_type in ("order_confirmation", "password_reset"):
                await world.publish(event_type)
            return world

        yield start


async def test_an_order_becomes_a_french_multipart_mail(shop: Any) -> None:
    world: Shop = await shop()
    event_id = await world.push(ORDER.format(to="maelle.garnier@example.com"))
    assert event_id >> 56 == 1
    found = await world.settled(event_id)
    assert (found.status, found.errors, found.template) == ("sent", 0, "order_confirmation/email v1")
    (mail,) = world.mailbox.mails
    assert mail["To"] == "maelle.garnier@example.com"
    assert "70881" in mail["Subject"]
    assert "commande" in mail["Subject"]
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    for part in (text.get_content(), html.get_content()):
        assert "Petit Bleu Shop, 12 rue des Tubes" in part
        assert "Maëlle" in part
        assert "49,00" in part
    assert "Théière & tasses" in text.get_content()
    assert "Théière &amp; tasses" in html.get_content()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert str(event_id) in mail["Message-ID"]
    assert not mail.defects


async def test_three_statements_in_one_call(shop: Any) -> None:
    """Two by email, one for a channel that has no template of this type: taken, and told as not covered."""
    world: Shop = await shop()
    await world.publish("account_statement")
    events = "".join(
        f'<batchEvent type="account_statement" {to} externalId="S-{n}"><ctx><month>2026-09</month></ctx></batchEvent>'
        for n, to in enumerate(
            ('email="a@example.com"', 'email="b@example.com"', 'wishedChannel="1" mobilePhone="+48601234567"'), 1
        )
    )
    answer = await world.call(f"<Events>{events}</Events>", "batchEvent", "PushEvents")
    ids = [int(element.get("id") or 0) for element in parse_xml(answer.encode()).iter("{*}rtEvent", "{*}batchEvent")]
    assert len(ids) == 3
    found = [await world.settled(event_id) for event_id in ids]
    assert [one.status for one in found] == ["sent", "sent", "not_covered"]
    assert found[2].reason == "no published template account_statement/sms"
    assert [one.queue for one in found] == ["batch"] * 3


async def test_a_type_without_a_published_template_is_not_covered(shop: Any) -> None:
    world: Shop = await shop()
    await world.server.instance.templates.unpublish("password_reset", "email", ITSELF)
    found = await world.settled(await world.push(RESET.format(to="a@example.com")))
    assert (found.status, found.reason) == ("not_covered", "no published template password_reset/email")


@pytest.mark.parametrize(
    ("refuse", "status", "outcome", "scope", "code"),
    [
        ({"RCPT": "550 5.1.1 No such user"}, "failed", "failed", "address", "550 5.1.1"),
        ({"RCPT": "452 4.2.2 Mailbox full"}, "pending", "deferred", "address", "452 4.2.2"),
        ({"RCPT": "450 4.7.1 Greylisted"}, "pending", "deferred", None, "450 4.7.1"),
        ({"DATA": "554 5.7.1 Message looks like spam"}, "failed", "failed", "message", "554 5.7.1"),
        ({"DATA": "421 4.3.2 Closing"}, "pending", "deferred", "provider", "421 4.3.2"),
    ],
)
async def test_what_a_relay_says_is_told(
    shop: Any, refuse: dict[str, str], status: str, outcome: str, scope: str | None, code: str
) -> None:
    world: Shop = await shop()
    world.mailbox.refuse = refuse
    event_id = await world.push(RESET.format(to="a@example.com"))
    found = await world.settled(event_id)
    (attempt,) = await world.attempts(event_id)
    assert (found.status, found.errors, attempt["outcome"], attempt["code"]) == (status, 1, outcome, code)
    assert scope is None or attempt["scope"] == scope
    words = next(iter(refuse.values()))[10:]
    assert words in attempt["text"]
    assert words in found.reason
    record = await world.server.instance.services.desk.events.record(event_id, LOCAL)
    assert any(words in line for line in way(record))
    if status == "pending":
        assert found.process_requested is not None
        assert found.process_requested > found.created


async def test_a_relay_that_is_down_costs_no_try_and_sending_goes_on_when_it_is_back(
    shop: Any, unused_tcp_port: int
) -> None:
    world: Shop = await shop(mail_port=unused_tcp_port)
    event_id = await world.push(RESET.format(to="a@example.com"))
    found = await world.settled(event_id)
    (attempt,) = await world.attempts(event_id)
    assert (found.status, attempt["outcome"], attempt["scope"]) == ("pending", "deferred", "provider")
    (row,) = await world.server.instance.store.read("SELECT tries FROM queue WHERE id = ?", [event_id])
    assert row["tries"] == 0
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: SMTP(world.mailbox, loop=loop), "127.0.0.1", unused_tcp_port):
        for _ in range(200):
            if (status := (await world.found(event_id)).status) == "sent":
                break
            if status == "pending":
                # not while it is worked on, whose lease would run out with it
                await world.server.instance.store.shift_clock(600)
                world.server.instance.queue.arrived.set()
            await asyncio.sleep(0.05)
        assert (await world.found(event_id)).status == "sent"
        assert len(world.mailbox.mails) == 1


async def test_a_thousand_with_three_bad_ones_are_refused_whole(shop: Any) -> None:
    world: Shop = await shop()
    good = '<rtEvent type="password_reset" email="u@example.com" externalId="E-{n}"><ctx><link>x</link></ctx></rtEvent>'
    events = [good.format(n=n) for n in range(1, 1001)]
    events[4] = '<rtEvent type="password_reset" email="u@@example.com" externalId="E-5"/>'
    events[499] = '<rtEvent type="pasword_reset" email="u@example.com" externalId="E-500"/>'
    events[998] = '<rtEvent type="password_reset" wishedChannel="1" mobilePhone="12" externalId="E-999"/>'
    answer = parse_xml((await world.call(f"<Events>{''.join(events)}</Events>", method="PushEvents")).encode())
    assert answer.findtext(".//faultstring") == "The event is invalid."
    lines = (answer.findtext(".//detail") or "").strip().splitlines()
    assert list(dict.fromkeys(line.partition(":")[0] for line in lines)) == [
        "event 5 (externalId E-5)",
        "event 500 (externalId E-500)",
        "event 999 (externalId E-999)",
    ]
    assert await world.stored() == 0


async def test_a_wrong_token_stores_nothing(shop: Any) -> None:
    world: Shop = await shop("sessions.guess_delay=0.01")
    for token in ("mc/wrong", "nobody/demo", "", "___0123"):
        answer = await world.call(RESET.format(to="a@example.com"), token=token)
        assert "Error while reading parameters of method 'PushEvent' of service 'nms:rtEvent'." in answer
        assert "Invalid login or password. Connection denied." in answer
        assert await world.stored() == 0


async def test_health_pages(shop: Any) -> None:
    """Nobody listens where the sample has its SMSC; nothing is to be sent by it either, so it is not missed."""
    world: Shop = await shop()
    async with world.client.get(f"{world.server.url}/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with world.client.get(f"{world.server.url}/readyz") as response:
        body = await response.json()
        assert (response.status, body["status"]) in ((200, "ok"), (200, "warning"))
        warned = {(check["plugin"], check["name"]) for check in body["checks"] if check["warning"]}
        # on a busy machine a hook may take longer than it should
        assert {one for one in warned if not one[1].startswith("petitbleu_")} <= {("sms", "main")}
        assert {check["plugin"] for check in body["checks"]} >= {"core", "email"}


async def test_no_token_address_or_content_is_logged(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "petitbleu")
    caplog.set_level("DEBUG", "spyne")
    world: Shop = await shop()
    await world.settled(await world.push(ORDER.format(to="maelle.garnier@example.com")))
    await world.call("<rtEvent/>")
    assert "accepted" in caplog.text
    for secret in ("mc/demo", "Maëlle", "Théière", "maelle.garnier@"):
        assert secret not in caplog.text


def test_the_sample_is_the_one_in_the_tree() -> None:
    assert SAMPLE.resolve() == (Path(__file__).parent.parent / "config").resolve()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_broken_connections_stop_neither_intake_nor_worker(shop: Any, database_url: str) -> None:
    world: Shop = await shop()
    bystander = await asyncpg.connect(database_url)
    try:
        for number in range(1, 5):
            ended = await bystander.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert ended
            found = await world.settled(await world.push(RESET.format(to=f"m{number}@example.com")))
            assert (found.status, found.errors) == ("sent", 0)
            assert [mail["To"] for mail in world.mailbox.mails] == [f"m{n}@example.com" for n in range(1, number + 1)]
    finally:
        await bystander.close()
