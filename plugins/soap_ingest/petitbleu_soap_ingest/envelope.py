"""From an HTTP request to the call in it: which SOAP version, which service and method, on whose behalf.

SOAP 1.1 (W3C Note of 8 May 2000) and SOAP 1.2 (W3C Recommendation of 27 April 2007). The namespace of the envelope
tells the version and the body's first element the method; HTTP headers only confirm or refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web
from lxml import etree
from petitbleu import Credentials, XmlRefused


@dataclass(frozen=True, slots=True)
class Version:
    """One version of SOAP, as far as the two differ on the wire."""

    namespace: str
    encoding: str
    content_type: str


SOAP11 = Version(
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://schemas.xmlsoap.org/soap/encoding/",
    "text/xml",
)
SOAP12 = Version(
    "http://www.w3.org/2003/05/soap-envelope",
    "http://www.w3.org/2003/05/soap-encoding",
    "application/soap+xml",
)
VERSIONS = {version.namespace: version for version in (SOAP11, SOAP12)}

URN = "urn:"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A call. `service` is its namespace without `urn:`, as in `nms:rtEvent`; `element` holds the parameters."""

    version: Version
    service: str
    method: str
    element: etree._Element = field(repr=False)


def read_envelope(root: etree._Element) -> Envelope:
    """The call in an envelope. Raises `XmlRefused` when `root` is none or holds no call."""
    version = VERSIONS.get(namespace(root))
    if version is None or root.tag != f"{{{version.namespace}}}Envelope":
        expected = f"expected a SOAP envelope (an Envelope element in {' or '.join(VERSIONS)})"
        raise _refused(root, f"{expected}, found {root.tag!s:.200}")
    body = next((child for child in root if child.tag == f"{{{version.namespace}}}Body"), None)
    if body is None:
        raise _refused(root, "expected a Body in the SOAP envelope")
    if not len(body):
        raise _refused(body, "expected a method call in the Body, which is empty")
    call = body[0]
    return Envelope(version, namespace(call).removeprefix(URN), str(call.tag).rpartition("}")[2], call)


def namespace(element: etree._Element) -> str:
    tag = str(element.tag)
    return tag[1:].rpartition("}")[0] if tag[0] == "{" else ""


def _refused(element: etree._Element, text: str) -> XmlRefused:
    return XmlRefused(text, cast(int, element.sourceline or 0), 0)


_ACTION_PARAMETER = re.compile(r';\s*action\s*=\s*(?:"([^"]*)"|([^;\s]*))', re.IGNORECASE)


def actions(request: web.Request) -> list[str]:
    """What the transport says the call is: the `SOAPAction` header (SOAP 1.1) and the `action` parameter of the
    content type (SOAP 1.2, RFC 3902), without quotes and without the empty ones."""
    found = list(request.headers.getall("SOAPAction", []))
    for quoted, plain in _ACTION_PARAMETER.findall(request.headers.get("Content-Type", "")):
        found += (quoted, plain)
    stripped = (action.strip().strip("\"'").strip() for action in found)
    return [action for action in stripped if action]


def split_action(action: str) -> tuple[str, str]:
    """`nms:rtEvent#PushEvent` as (`nms:rtEvent`, `PushEvent`); the service is empty where only a method is named."""
    service, separator, method = action.rpartition("#")
    return (service.removeprefix(URN), method) if separator else ("", action)


def check_actions(envelope: Envelope, named: Iterable[str]) -> None:
    """Raise `XmlRefused` when the transport names another method than the body."""
    for action in named:
        service, method = split_action(action)
        if method != envelope.method or service not in ("", envelope.service):
            text = f"the SOAPAction {action[:200]!r} names another method than the body"
            raise _refused(envelope.element, f"{text}, which calls {envelope.service}#{envelope.method}")


@dataclass(frozen=True, slots=True)
class Carried:
    """What the HTTP request says about the caller, beside the call's own first parameter."""

    address: str
    token: str = field(default="", repr=False)
    cookie: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)

    def credentials(self, parameter: str) -> Credentials:
        """The first that is given counts: the parameter, a header, the cookie. Only the cookie can be sent by a
        browser against its user's will, so only the cookie needs the security token."""
        token = parameter.strip() or self.token
        return Credentials(self.address, token, "" if token else self.cookie, self.security_token)


def carried(request: web.Request, cookie: str) -> Carried:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = request.headers.get("X-Session-Token", "").strip()
    if not token and scheme.lower() == "bearer":
        token = bearer.strip()
    return Carried(
        address=request.remote or "",
        token=token,
        cookie=request.cookies.get(cookie, ""),
        security_token=request.headers.get("X-Security-Token", "").strip(),
    )
