"""The requests a caller sends: bytes made once, in which each request's own number is written over a placeholder.

A placeholder and a number have the same width, so that `Content-Length` holds for all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

DIGITS = 9
_PLACE = b"#" * DIGITS
PEOPLE = (
    ("Zoé", "Lefèvre", "Orléans", "Théière émaillée"),
    ("Jürgen", "Groß", "Köln", "Füllhalter „Æsir“"),
    ("Łucja", "Żak", "Łódź", "Kabel USB-C 2 m"),
    ("Søren", "Bjørn", "Århus", "Lampe à pince"),
    ("Inês", "Conceição", "Évora", "Cafetière 6 tasses"),
    ("Anaïs", "Côté", "Québec", "Tuque doublée"),
    ("Noël", "Æbischer", "Zürich", "Carnet ligné A5"),
    ("Mária", "Kőváry", "Győr", "Clavier compact"),
)
_EVENT = """<rtEvent type="bench" wishedChannel="{wish}" email="client.{n}@example.com" mobilePhone="+33612345678" \
origin="shop" language="fr" externalId="B-{n}"{more}>{child}<ctx><client><firstname>{first}</firstname>\
<lastname>{last} {n}</lastname></client><order number="{n}" currency="EUR" date="2026-11-23"><line sku="TE-01">\
<name>{item}</name><quantity>2</quantity><price>34.50</price></line><shipping>5.90</shipping><total>74.90</total>\
</order><delivery><street>12 rue des Écoles</street><city>{city}</city></delivery></ctx></rtEvent>"""
_PUSH = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="urn:nms:{schema}"><s:Body><m:{method}>\
<m:sessiontoken>{token}</m:sessiontoken><m:{parameter}>{events}</m:{parameter}></m:{method}></s:Body></s:Envelope>"""
_LOGON = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="urn:xtk:session"><s:Body><m:Logon>\
<m:sessiontoken></m:sessiontoken><m:strLogin>{login}</m:strLogin><m:strPassword>{password}</m:strPassword>\
<m:elemParameters/></m:Logon></s:Body></s:Envelope>"""
_TOKEN = re.compile(r"<pstrSessionToken[^>]*>([^<]+)<")


@dataclass(frozen=True, slots=True)
class Requests:
    """HTTP requests of `per_call` events each. `of` gives the one that begins with event `number`."""

    patterns: tuple[tuple[bytes, ...], ...]
    per_call: int

    def of(self, number: int) -> bytes:
        """The whole request. A pattern is cut at its placeholders, in the order of its events."""
        pieces = self.patterns[number // self.per_call % len(self.patterns)]
        if self.per_call == 1:
            return (b"%0*d" % (DIGITS, number)).join(pieces)
        request = [pieces[0]]
        places = (len(pieces) - 1) // self.per_call
        for place, piece in enumerate(pieces[1:]):
            request.append(b"%0*d" % (DIGITS, number + place // places))
            request.append(piece)
        return b"".join(request)


def post(service: str, method: str, body: bytes, host: str = "127.0.0.1") -> bytes:
    """An HTTP/1.1 request over a connection that is kept."""
    head = (
        f"POST /nl/jsp/soaprouter.jsp HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml; charset=utf-8\r\n"
        f"SOAPAction: {service}#{method}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


APP = "3b2f7c1e-0000-4000-8000-00000000000a"


@dataclass(frozen=True, slots=True)
class Wish:
    """By which channel events want to go. `device` gives each a token of an app's, of `APP`."""

    channel: str = "0"
    device: bool = False


BY_MAIL = Wish()


def pushes(
    token: str, per_call: int = 1, *, batch: bool = False, scheduled: str = "", wish: Wish = BY_MAIL
) -> Requests:
    """`PushEvent`, or `PushEvents` of several events. `scheduled` (ISO 8601) is for all of them."""
    schema = "batchEvent" if batch else "rtEvent"
    more = f' scheduled="{escape(scheduled)}"' if scheduled else ""
    # 64 digits, as APNs has them; FCM takes anything
    more += f' registrationToken="{_PLACE.decode():0>64}"' if wish.device else ""
    child = f'<mobileApp uuid="{APP}"/>' if wish.device else ""
    patterns = []
    for first in range(len(PEOPLE)):
        events = "".join(
            _EVENT.format(
                n=_PLACE.decode(),
                first=person[0],
                last=person[1],
                city=person[2],
                item=person[3],
                more=more,
                wish=wish.channel,
                child=child,
            )
            for person in (PEOPLE[(first + place) % len(PEOPLE)] for place in range(per_call))
        ).replace("rtEvent", schema)
        method, parameter = ("PushEvent", "domEvent") if per_call == 1 else ("PushEvents", "domEventCollection")
        body = _PUSH.format(
            schema=schema,
            method=method,
            parameter=parameter,
            token=escape(token),
            events=events if per_call == 1 else f"<Events>{events}</Events>",
        )
        patterns.append(tuple(post(f"nms:{schema}", method, body.encode()).split(_PLACE)))
    return Requests(tuple(patterns), per_call)


def json_pushes(token: str) -> Requests:
    """The same events as `pushes`, over JSON."""
    number = _PLACE.decode()
    patterns = []
    for first, last, city, item in PEOPLE:
        line = {"sku": "TE-01", "name": item, "quantity": "2", "price": "34.50"}
        order = {"number": number, "currency": "EUR", "date": "2026-11-23", "line": line, "shipping": "5.90"}
        event = {
            "channel": BY_MAIL.channel,
            "email": f"client.{number}@example.com",
            "mobilePhone": "+33612345678",
            "origin": "shop",
            "language": "fr",
            "externalId": f"B-{number}",
            "ctx": {
                "client": {"firstname": first, "lastname": f"{last} {number}"},
                "order": {**order, "total": "74.90"},
                "delivery": {"street": "12 rue des Écoles", "city": city},
            },
        }
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        head = (
            f"POST /api/v1/events/bench HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        patterns.append(tuple((head.encode() + body).split(_PLACE)))
    return Requests(tuple(patterns), 1)


def logon(login: str, password: str) -> bytes:
    return _LOGON.format(login=escape(login), password=escape(password)).encode()


def session_token(answer: str) -> str:
    """From the answer to `logon`; raises `ValueError` if there is none."""
    found = _TOKEN.search(answer)
    if found is None:
        raise ValueError(f"no session token in {answer[:500]}")
    return found[1]


def sizes(requests: Sequence[bytes]) -> tuple[int, ...]:
    """Bytes of the bodies."""
    return tuple(len(request.partition(b"\r\n\r\n")[2]) for request in requests)
