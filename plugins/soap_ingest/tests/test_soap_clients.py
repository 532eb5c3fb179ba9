"""Clients that were written elsewhere, against a real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from lxml import etree
from zeep import Client
from zeep.exceptions import Fault
from zeep.transports import Transport

FIRST = (1 << 56) + 8030


@pytest.mark.parametrize("how", ["password", "token"])
async def test_adobe_client(core: Any, url: str, node: Any, how: str) -> None:
    seen = json.loads(await node("adobe.js", url, how))
    assert seen.get("error") is None, seen
    assert seen["id"] == str(FIRST)
    assert core.events[0][1].attributes == {"wishedChannel": "0", "type": "welcome", "email": "alex@example.com"}
    assert core.events[0][1].children == {"ctx": {"title": "Alex"}}
    batch = etree.fromstring(seen["batch"])
    assert [(child.get("id"), child.get("externalId")) for child in batch] == [
        (str(FIRST + 1), "A"),
        (str(FIRST + 2), ""),
    ]
    event = {
        "id": str(FIRST),
        "status": "2",
        "created": "2026-11-23 10:00:00.123Z",
        "processing": "2026-11-23 10:00:00.125Z",
        "processed": "2026-11-23 10:00:00.163Z",
    }
    assert seen["event"] == event
    assert seen["list"] == {"rtEvent": [event]}
    assert seen["none"] == {"rtEvent": []}
    assert seen["missing"] is None
    assert seen["count"] == {"count": "1"}
    assert "SOP-330011" in seen["absent"]["error"]["detail"]
    assert "'Upper'" in seen["odd"]["error"]["detail"]
    # the client does not take a fault apart that comes with HTTP 500; it shows the whole envelope
    assert "<faultstring>The event is invalid.</faultstring>" in seen["refused"]["error"]["detail"]
    assert "'nonsense' is not a declared event type" in seen["refused"]["error"]["detail"]
    assert "ctx" in seen["schema"]
    assert "externalId" in json.dumps(seen["schema"])
    assert (seen["test"], seen["ping"]["status"]) == ("OK", "OK")
    assert seen["mcPing"] == {
        "status": "Ok",
        "timestamp": "2026-11-23 10:00:00.123Z",
        "eventQueueSize": "7",
        "eventQueueMaxSize": "400",
    }
    assert seen["after"] is False
    assert core.tokens == {}
    if how == "password":
        assert seen["info"]["userInfo"]["login"] == "mc"
        assert seen["info"]["serverInfo"]["sessionTimeOut"] == "3600"
        assert seen["info"]["serverInfo"]["securityTimeOut"] == "3600"


async def test_adobe_client_with_a_wrong_password(url: str, node: Any) -> None:
    seen = json.loads(await node("adobe.js", url, "wrong"))
    assert "<detail>Invalid login or password. Connection denied.</detail>" in seen["error"]["detail"]


async def test_adobe_client_knows_an_expired_session(core: Any, url: str, node: Any) -> None:
    core.expired.add("___old")
    seen = json.loads(await node("adobe.js", url, "expired"))
    assert seen["error"]["status"] == 401  # on which the client would log on again


async def test_npm_soap_from_the_wsdl(core: Any, url: str, node: Any) -> None:
    seen = json.loads(await node("soap.js", url))
    assert seen["pushed"]["plId"]["$value"] == str(FIRST)
    assert core.events[0][1].children == {"ctx": {"title": "Alex"}}
    assert seen["many"]["pdomEvents"]["Events"]["rtEvent"]["attributes"] == {"id": str(FIRST + 1), "externalId": "A"}
    assert seen["fault"]["detail"] == "Invalid login or password. Connection denied."
    assert core.tokens == {}


def _zeep(url: str, schema: str, version: str = "soap") -> Client:
    """A client from the served WSDL; `soap12` turns its binding into one of SOAP 1.2."""

    class Turned(Transport):
        def load(self, address: str) -> bytes:
            loaded: bytes = super().load(address)  # type: ignore[no-untyped-call]
            return loaded.replace(
                b'="http://schemas.xmlsoap.org/wsdl/soap/"',
                b'="http://schemas.xmlsoap.org/wsdl/%s/"' % version.encode(),
            )

    address = f"{url}/nl/jsp/schemawsdl.jsp?schema={schema}"
    return Client(address, transport=Turned())  # type: ignore[no-untyped-call]


def _any(text: str) -> dict[str, list[Any]]:
    return {"_value_1": [etree.fromstring(text)]}


@pytest.mark.parametrize("version", ["soap", "soap12"])
async def test_zeep_from_the_wsdl(core: Any, url: str, version: str) -> None:
    def work() -> None:
        session = _zeep(url, "xtk:session", version).service
        logged = session.Logon(sessiontoken="", strLogin="mc", strPassword="demo")
        token = logged["pstrSessionToken"]
        events = _zeep(url, "nms:rtEvent", version).service
        event = '<rtEvent type="welcome" email="alex@example.com"><ctx><title>Zoë</title></ctx></rtEvent>'
        assert events.PushEvent(sessiontoken=token, domEvent=_any(event)) == FIRST
        batch = _zeep(url, "nms:BatchEvent", version).service
        many = '<Events><batchEvent type="welcome" externalId="A"/><batchEvent type="welcome"/></Events>'
        answer = batch.PushEvents(sessiontoken=token, domEventCollection=_any(many))
        (listed,) = answer
        assert [(child.get("id"), child.get("externalId")) for child in listed] == [
            (str(FIRST + 1), "A"),
            (str(FIRST + 2), ""),
        ]
        session.Logoff(sessiontoken=token)
        with pytest.raises(Fault, match="Error while reading parameters of method 'PushEvent'") as caught:
            events.PushEvent(sessiontoken=token, domEvent=_any(event))
        assert "Invalid login or password. Connection denied." in "".join(caught.value.detail.itertext())

    await asyncio.to_thread(work)
    assert core.events[0][1].children == {"ctx": {"title": "Zoë"}}
