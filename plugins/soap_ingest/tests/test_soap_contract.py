"""The plugin keeps the contract of ways in, called as `PushEvent` and `PushEvents` are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientSession
from lxml import etree
from lxml.builder import ElementMaker
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
    ctx: Any = event.children["ctx"]
    make = ElementMaker()
    return make.rtEvent(make.ctx(make.text(ctx["text"])), **event.attributes)


def _envelope(token: str, events: Sequence[Any]) -> bytes:
    soap, urn = ElementMaker(namespace=SOAP), ElementMaker(namespace=URN)
    if len(events) == 1:
        body = urn.PushEvent(urn.sessiontoken(token), urn.domEvent(*events))
    else:
        collection = ElementMaker()("rtEventCollection", *events)
        body = urn.PushEvents(urn.sessiontoken(token), urn.domEventCollection(collection))
    return bytes(etree.tostring(soap.Envelope(soap.Body(body)), encoding="utf-8"))


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
