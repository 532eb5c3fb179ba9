"""A bounce, on the sample instance: from the event over the mail to what the event's history says."""

from __future__ import annotations

import asyncio
import smtplib
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiosmtpd.smtp import SMTP, Envelope
from petitbleu.audit import ITSELF
from petitbleu.config import SAMPLE
from petitbleu.serving.app import running
from petitbleu.xmldata import parse_xml

RESET = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:rtEvent">
  <soapenv:Body><urn:PushEvent><urn:sessiontoken>mc/demo</urn:sessiontoken><urn:domEvent>
    <rtEvent type="password_reset" email="zoe@example.org"><ctx><user login="zoe"/><link>https://shop.example.com</link>
    </ctx></rtEvent></urn:domEvent></urn:PushEvent></soapenv:Body></soapenv:Envelope>"""

BOUNCE = (
    b"From: MAILER-DAEMON@mx.example.org\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n\r\n"
    b"Final-Recipient: rfc822; zoe@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r\n"
)


@dataclass(slots=True)
class Relay:
    """An aiosmtpd handler that takes everything."""

    senders: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.senders.append(envelope.mail_from or "")
        return "250 2.0.0 ok"


def bring(port: int, recipient: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail("<>", [recipient], BOUNCE)


async def test_a_bounce_reaches_the_event_it_is_about(database_url: str) -> None:
    relay = Relay()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: SMTP(relay, loop=loop), "127.0.0.1", 0) as smtp:
        sets = [
            f"database={database_url}",
            "http.port=0",
            f"plugins.email.providers.main.port={smtp.sockets[0].getsockname()[1]}",
            "plugins.email.bounces.domain=bounces.example.com",
            "plugins.email.bounces.secrets=[a secret for this test]",
            "plugins.email.bounces.listen.port=0",
        ]
        async with running(SAMPLE, sets) as server, aiohttp.ClientSession() as client:
            instance = server.instance
            await instance.templates.publish(instance.drafts.load("password_reset", "email"), ITSELF)
            url = f"{server.url}/nl/jsp/soaprouter.jsp"
            async with client.post(url, data=RESET, headers={"Content-Type": "text/xml"}) as response:
                event = int(parse_xml(await response.read()).findtext(".//{*}plId") or 0)
            async with asyncio.timeout(20):
                while not relay.senders:
                    await asyncio.sleep(0.01)
                port = int(instance.loaded.states["email"].listener.where.rpartition(":")[2])
                await asyncio.to_thread(bring, port, relay.senders[0])
                while (attempts := await instance.status.attempts(event)) == [] or not attempts[0]["feedback"]:
                    await asyncio.sleep(0.01)
            receipts = await instance.store.read("SELECT * FROM receipts WHERE event = ?", [event])
    (attempt,) = attempts
    assert (attempt["outcome"], attempt["feedback"]) == ("delivered", "bounced")
    (receipt,) = receipts
    assert (receipt["provider"], receipt["code"], receipt["scope"]) == ("main", "5.1.1", "address")
    assert receipt["text"] == "550 5.1.1 no such user"
