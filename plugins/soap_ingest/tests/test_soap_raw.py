"""Envelopes as they stand on the wire, and the exact bytes that come back."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from lxml import etree

FIRST = (1 << 56) + 8030
HEAD = (
    "<?xml version='1.0'?>\n"
    '<SOAP-ENV:Envelope xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:ns="http://xml.apache.org/xml-soap"'
    ' xmlns:SOAP-ENV="{namespace}"><SOAP-ENV:Body>'
)
TAIL = "</SOAP-ENV:Body></SOAP-ENV:Envelope>\n"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
ENCODING = {
    SOAP11: "http://schemas.xmlsoap.org/soap/encoding/",
    SOAP12: "http://www.w3.org/2003/05/soap-encoding",
}
EVENT = '<rtEvent type="welcome" email="alex@example.com"/>'


def envelope(body: str, namespace: str = SOAP11) -> str:
    return f'<e:Envelope xmlns:e="{namespace}"><e:Header/><e:Body>{body}</e:Body></e:Envelope>'


def push(event: str = EVENT, token: str = "mc/demo", urn: str = "nms:rtEvent", method: str = "PushEvent") -> str:
    return f'<u:{method} xmlns:u="urn:{urn}"><token>{token}</token><what>{event}</what></u:{method}>'


def success(results: str, name: str = "PushEvent", urn: str = "nms:rtEvent", namespace: str = SOAP11) -> str:
    style = f'SOAP-ENV:encodingStyle="{ENCODING[namespace]}"'
    head = HEAD.format(namespace=namespace)
    return f'{head}<{name}Response xmlns="urn:{urn}" {style}>{results}</{name}Response>{TAIL}'


def fault(reason: str, detail: str, code: str = "Client") -> str:
    return (
        f"{HEAD.format(namespace=SOAP11)}<SOAP-ENV:Fault><faultcode>SOAP-ENV:{code}</faultcode>"
        f"<faultstring>{reason}</faultstring><detail>{detail}</detail></SOAP-ENV:Fault>{TAIL}"
    )


DENIED = fault(
    "Error while reading parameters of method 'PushEvent' of service 'nms:rtEvent'.",
    "Invalid login or password. Connection denied.",
)
PUSHED = success(f'<plId xsi:type="xsd:long">{FIRST}</plId>')


async def test_answer_to_the_byte(post: Any) -> None:
    reply = await post(envelope(push()))
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert reply.text == PUSHED


async def test_answer_in_soap_12(post: Any) -> None:
    reply = await post(envelope(push(), SOAP12), Content_Type="text/xml")
    assert reply.headers["Content-Type"] == "application/soap+xml; charset=utf-8"
    assert reply.text == success(f'<plId xsi:type="xsd:long">{FIRST}</plId>', namespace=SOAP12)
    reply = await post(envelope(push(token="no"), SOAP12))
    assert reply.status == 500
    assert reply.text == (
        HEAD.format(namespace=SOAP12)
        + "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value></SOAP-ENV:Code>"
        '<SOAP-ENV:Reason><SOAP-ENV:Text xml:lang="en">'
        "Error while reading parameters of method 'PushEvent' of service 'nms:rtEvent'."
        "</SOAP-ENV:Text></SOAP-ENV:Reason>"
        "<SOAP-ENV:Detail><detail>Invalid login or password. Connection denied.</detail></SOAP-ENV:Detail>"
        f"</SOAP-ENV:Fault>{TAIL}"
    )


async def test_document_literal_sample(core: Any, post: Any, sample: Any) -> None:
    assert (await post(sample("pushevent-literal"))).text == PUSHED
    (event,) = [event for _, event in core.events]
    assert event.queue == "realtime"
    assert event.attributes["externalId"] == "ORD-20931"
    order = event.children["ctx"]["order"]
    assert [str(line["name"]) for line in order["line"]] == ["Clavier compact", "Câble HDMI & adaptateur"]


async def test_rpc_encoded_sample(core: Any, post: Any, sample: Any) -> None:
    """`xsi:type="ns:Element"`, whose prefix is declared nowhere."""
    reply = await post(sample("pushevent-encoded"), Content_Type="application/soap+xml; charset=UTF-8")
    assert reply.text == PUSHED
    assert reply.headers["Content-Type"] == "text/xml; charset=utf-8"
    link = core.events[0][1].children["ctx"]["link"]
    assert link == "https://shop.example.com/reset?k=8f2c&u=omid"


async def test_collection_sample(core: Any, post: Any, sample: Any) -> None:
    reply = await post(sample("pushevents-literal"))
    listed = "".join(f'<rtEvent id="{FIRST + n}" externalId="ST-{n + 1}"/>' for n in range(3))
    style = 'SOAP-ENV:encodingStyle="http://xml.apache.org/xml-soap/literalxml"'
    content = f'<pdomEvents xsi:type="ns:Element" {style}><Events>{listed}</Events></pdomEvents>'
    assert reply.text == success(content, "PushEvents", "nms:batchEvent")
    assert {event.queue for _, event in core.events} == {"batch"}


async def test_an_empty_collection_is_nothing_to_do(post: Any) -> None:
    reply = await post(envelope(push("<Events/>", method="PushEvents")))
    assert "<Events/>" in reply.text
    assert reply.status == 200


async def test_the_queue_is_the_method_s_not_the_event_s(core: Any, post: Any) -> None:
    await post(envelope(push("<domEvent type='welcome'/>", urn="nms:batchEvent")))
    assert core.events[0][1].queue == "batch"


async def test_foreign_attributes_are_not_the_event_s(core: Any, post: Any) -> None:
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    await post(envelope(push(f'<rtEvent xmlns:xsi="{xsi}" xsi:type="ns:Element" type="welcome" email="a@b.cc"/>')))
    assert core.events[0][1].attributes == {"type": "welcome", "email": "a@b.cc"}


async def test_namespaces_of_event_and_ctx_do_not_matter(core: Any, post: Any) -> None:
    event = '<u:rtEvent xmlns:q="urn:other" type="welcome"><u:ctx><q:a b="1">x</q:a></u:ctx><more/><more/></u:rtEvent>'
    await post(envelope(push(event)))
    assert core.events[0][1].children == {"ctx": {"a": {"@b": "1", "#text": "x"}}, "more": ["", ""]}


@pytest.mark.parametrize(
    ("action", "content_type", "taken"),
    [
        (None, "text/xml", True),
        ('""', "text/xml", True),
        ("nms:rtEvent#PushEvent", "text/xml", True),
        ('"nms:rtEvent#PushEvent"', "text/xml;charset=UTF-8", True),
        ('"urn:nms:rtEvent#PushEvent"', "text/xml", True),
        ("PushEvent", "application/xml", True),
        (None, 'application/soap+xml;charset=UTF-8;action="nms:rtEvent#PushEvent"', True),
        (None, "application/soap+xml; action=nms:rtEvent#PushEvent; charset=utf-8", True),
        (None, "text/plain", True),
        ("nms:rtEvent#PushEvents", "text/xml", False),
        ("nms:batchEvent#PushEvent", "text/xml", False),
        ('"xtk:session#Logon"', "text/xml", False),
        (None, 'application/soap+xml; action="xtk:session#Logon"', False),
    ],
)
async def test_soap_action(core: Any, post: Any, action: str | None, content_type: str, taken: bool) -> None:
    headers = {"Content_Type": content_type} | ({} if action is None else {"SOAPAction": action})
    reply = await post(envelope(push()), **headers)
    assert (reply.status, len(core.events)) == ((200, 1) if taken else (500, 0))
    if not taken:
        assert "(service 'PushEvent', method 'nms:rtEvent')" in reply.text
        assert "names another method than the body, which calls nms:rtEvent#PushEvent" in reply.text


@pytest.mark.parametrize(
    ("declared", "content_type", "codec"),
    [
        ("ISO-8859-1", "text/xml", "latin-1"),
        ("UTF-8", "text/xml; charset=ISO-8859-1", "latin-1"),
        ("ISO-8859-1", "text/xml; charset=utf-8", "utf-8"),
        ("UTF-16", "text/xml", "utf-16"),
        ("UTF-8", 'text/xml; charset="utf-8"', "utf-8-sig"),
    ],
)
async def test_character_sets(core: Any, post: Any, declared: str, content_type: str, codec: str) -> None:
    event = '<rtEvent type="welcome"><ctx><name>Élodie Müller</name></ctx></rtEvent>'
    body = f'<?xml version="1.0" encoding="{declared}"?>{envelope(push(event))}'.encode(codec)
    assert (await post(body, Content_Type=content_type)).status == 200
    assert core.events[0][1].children["ctx"]["name"] == "Élodie Müller"


async def test_content_encoding(post: Any) -> None:
    assert (await post(gzip.compress(envelope(push()).encode()), Content_Encoding="gzip")).text == PUSHED


DEEP = "<a>" * 30 + "</a>" * 30


@pytest.mark.parametrize(
    ("body", "headers", "detail"),
    [
        ("", {}, "(1:1) : "),
        ("hello", {}, "Start tag expected"),
        ("<a><b></a>", {}, "tag mismatch"),
        (envelope(push())[:-20], {}, "(1:"),
        ("<html/>", {}, "expected a SOAP envelope"),
        (envelope(push(), "urn:other"), {}, "expected a SOAP envelope"),
        (f'<Envelope xmlns="{SOAP11}"/>', {}, "expected a Body"),
        (envelope(""), {}, "expected a method call in the Body"),
        (envelope("just text"), {}, "expected a method call in the Body"),
        ("<!DOCTYPE a>" + envelope(push()), {}, "DOCTYPE is not allowed"),
        (f'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>{envelope(push("&x;"))}', {}, "DOCTYPE"),
        (envelope(push(DEEP)), {}, "nested deeper than 24"),
        (envelope(push("<a/>" * 3000)), {}, "more than 3000 elements"),
        (envelope(push("<a " + " ".join(f'a{n}="1"' for n in range(30)) + "/>")), {}, "more than 20 attributes"),
        (envelope(push("x" * 200_000)), {}, "more than 200000 bytes"),
        (envelope(push()), {"Content_Type": "text/xml; charset=klingon"}, "klingon"),
        (envelope(push()), {"Content_Type": "text/xml; charset=idna"}, "(0:0) : "),
        (b"\xff\xfe<\x00", {}, "(1:"),
        (b"not gzip", {"Content_Encoding": "gzip"}, "Content-Encoding"),
    ],
)
async def test_what_is_no_envelope(core: Any, post: Any, body: Any, headers: dict[str, str], detail: str) -> None:
    reply = await post(body, SOAPAction="nms:rtEvent#PushEvent", **headers)
    assert reply.status == 500
    assert reply.headers["Content-Type"] == "text/xml; charset=utf-8"
    found = etree.fromstring(reply.body)[0][0]
    assert [child.text for child in found][:2] == [
        "SOAP-ENV:Client",
        "The XML SOAP message is invalid (service 'PushEvent', method 'nms:rtEvent').",
    ]
    assert detail in (found[2].text or "")
    assert (found[2].text or "").startswith("(")
    assert core.events == []


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ('<rtEvent type="nonsense" externalId="X1"/>', "event 1 (externalId X1): type: 'nonsense' is not a declared"),
        ('<rtEvent type="welcome" email="nowhere"/>', "event 1: email: 'nowhere' is no address"),
        ("", "event 1: the parameter domEvent holds 0 elements"),
        ("<rtEvent/><rtEvent/>", "event 1: the parameter domEvent holds 2 elements"),
        ("&lt;rtEvent/&gt;", "event 1: the parameter domEvent holds text"),
    ],
)
async def test_unusable_events(core: Any, post: Any, event: str, detail: str) -> None:
    reply = await post(envelope(push(event)))
    assert reply.status == 500
    assert "<faultcode>SOAP-ENV:Client</faultcode><faultstring>The event is invalid.</faultstring>" in reply.text
    assert f"<detail>{detail}" in reply.text
    assert core.events == []


async def test_a_collection_is_all_or_nothing(core: Any, post: Any) -> None:
    bad = {17: 'type="nope" externalId="A"', 500: 'email="x"', 999: 'type="welcome" email="y" externalId="C"'}
    good = 'type="welcome"'
    events = "".join(f"<rtEvent {bad.get(n, good)}/>" for n in range(1, 1001))
    reply = await post(envelope(push(f"<Events>{events}</Events>", method="PushEvents")))
    assert reply.status == 500
    detail = etree.fromstring(reply.body)[0][0][2].text or ""
    assert [line.partition(": ")[0] for line in detail.splitlines()] == [
        "event 17 (externalId A)",
        "event 500",
        "event 500",
        "event 999 (externalId C)",
    ]
    assert core.events == []


@pytest.mark.parametrize("collection", ["", "<Events/><Events/>"])
async def test_a_collection_needs_one_wrapper(post: Any, collection: str) -> None:
    reply = await post(envelope(push(collection, method="PushEvents")))
    assert "it takes one that wraps the events" in reply.text


async def test_missing_parameter(post: Any) -> None:
    reply = await post(envelope('<u:PushEvent xmlns:u="urn:nms:rtEvent"><t>mc/demo</t></u:PushEvent>'))
    assert "the parameter domEvent is missing; it is the second one" in reply.text


@pytest.mark.parametrize("href", ["#id0", "#nowhere", "#"])
async def test_references_are_refused(core: Any, post: Any, href: str) -> None:
    call = f'<u:PushEvent xmlns:u="urn:nms:rtEvent"><t>mc/demo</t><e href="{href}"/></u:PushEvent>'
    reply = await post(envelope(f'{call}<multiRef id="id0">{EVENT}</multiRef>'))
    assert reply.status == 500
    assert "parameter e refers to another element; write its value in place" in reply.text
    assert core.events == []


async def test_references_in_data_are_data(core: Any, post: Any) -> None:
    await post(envelope(push('<rtEvent type="welcome"><ctx><a href="#x" id="y">z</a></ctx></rtEvent>')))
    assert core.events[0][1].children["ctx"]["a"] == {"@href": "#x", "@id": "y", "#text": "z"}


async def test_unknown_method_of_an_event_service_answers_zero(post: Any) -> None:
    reply = await post(envelope(push(method="PushRtEvent")))
    assert (reply.status, reply.text) == (200, success('<plId xsi:type="xsd:long">0</plId>'))
    assert (await post(envelope(push(method="PushRtEvent", token="no")))).status == 500


@pytest.mark.parametrize(
    ("urn", "method", "detail"),
    [
        ("xtk:session", "Nonsense", "the service xtk:session has no method 'Nonsense'"),
        ("nms:recipient", "PushEvent", "there is no service 'nms:recipient' here"),
        ("nms:rtEvent#x", "PushEvent", "there is no service"),
    ],
)
async def test_unknown_methods(post: Any, urn: str, method: str, detail: str) -> None:
    reply = await post(envelope(push(method=method, urn=urn)))
    assert reply.status == 500
    assert f"Error while executing the method '{method}' of service '{urn}'." in reply.text
    assert detail in reply.text


async def test_method_without_namespace_is_not_taken_from_the_header(core: Any, post: Any) -> None:
    reply = await post(envelope(f"<PushEvent><t>mc/demo</t><e>{EVENT}</e></PushEvent>"), SOAPAction="PushEvent")
    assert (reply.status, core.events) == (500, [])


async def test_full_queue(core: Any, post: Any) -> None:
    core.full = True
    reply = await post(envelope(push()))
    assert (reply.status, reply.headers["Retry-After"]) == (500, "8")
    assert reply.text == fault("The server cannot take the call now.", "The queue is full (400/400)", "Server")


async def test_slow_core_meets_the_deadline(core: Any, post: Any) -> None:
    core.gate.clear()
    reply = await post(envelope(push()))
    assert (reply.status, reply.headers["Retry-After"]) == (500, "5")
    assert "<faultcode>SOAP-ENV:Server</faultcode>" in reply.text
    assert "it is not known whether it took effect" in reply.text
    core.gate.set()
    assert (await post(envelope(push()))).status == 200


async def test_a_failure_of_ours_shows_nothing(core: Any, post: Any, caplog: Any) -> None:
    core.broken = True
    reply = await post(envelope(push()))
    assert reply.text == fault("Internal error.", "The server could not process the call. Its log tells why.", "Server")
    assert "RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text
    assert "nora" not in caplog.text


async def test_denied_to_the_byte(core: Any, post: Any) -> None:
    for token in ("", "nonsense", "mc/wrong", "nobody/demo"):
        reply = await post(envelope(push(token=token)))
        assert (reply.status, reply.text) == (500, DENIED)
    assert core.events == []


async def test_expired_session(core: Any, post: Any) -> None:
    core.expired.add("___old")
    reply = await post(envelope(push(token="___old")))
    assert reply.text == fault(
        "Error while reading parameters of method 'PushEvent' of service 'nms:rtEvent'.",
        "XSV-350008 Session has expired or is invalid. Please reconnect.",
    )
