"""The plugin keeps the contract of ways in, called as `PushEvent` and `PushEvents` are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientSession
from lxml import etree
from petitbleu import IncomingEvent
from petitbleu.testing import Answered, IntakeContract, Server

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
URN = "urn:nms:rtEvent"


class TestSoap(IntakeContract):
    plugin = "soap_ingest"
    path = "/nl/jsp/soaprouter.jsp"

    async def call(
        self, server: Server, client: ClientSession, events: Sequence[IncomingEvent], login: str, password: str
    ) -> Answered:
        envelope = _envelope(f"{login}/{password}", [_element(one) for one in events])
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        async with client.post(server.url + self.path, data=envelope, headers=headers) as got:
            return _answered(got.status, await got.text())


def _element(event: IncomingEvent) -> Any:
    element = etree.Element("rtEvent", dict(event.attributes))
    ctx: Any = event.children["ctx"]
    etree.SubElement(etree.SubElement(element, "ctx"), "text").text = ctx["text"]
    return element


def _envelope(token: str, events: Sequence[Any]) -> bytes:
    envelope = etree.Element(f"{{{SOAP}}}Envelope")
    alone = len(events) == 1
    call = etree.SubElement(
        etree.SubElement(envelope, f"{{{SOAP}}}Body"), f"{{{URN}}}{'PushEvent' if alone else 'PushEvents'}"
    )
    etree.SubElement(call, f"{{{URN}}}sessiontoken").text = token
    place = etree.SubElement(call, f"{{{URN}}}{'domEvent' if alone else 'domEventCollection'}")
    if not alone:
        place = etree.SubElement(place, "rtEventCollection")
    place.extend(events)
    return bytes(etree.tostring(envelope, encoding="utf-8"))


def _answered(status: int, text: str) -> Answered:
    if status == 200:
        ids = re.findall(r'(?<=\bid=")\d+(?=")|(?<=<plId xsi:type="xsd:long">)\d+', text)
        return Answered(tuple(map(int, ids)), text=text)
    problems = re.findall(r"event (\d+)(?: \(externalId [^)]*\))?: (\w+): ", text)
    return Answered(
        problems=frozenset((int(position), name) for position, name in problems),
        retry="The server cannot take the call now" in text,
        denied="Invalid login or password" in text,
        text=f"{status} {text}",
    )
