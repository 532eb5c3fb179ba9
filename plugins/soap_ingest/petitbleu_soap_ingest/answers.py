"""The bytes of an answer. Callers match on them, so they are written here and not by a serializer.

Some callers compare node names as text: the envelope's prefix is always `SOAP-ENV`, and the response element has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NewType

from .envelope import SOAP11, SOAP12, URN, Version

Xml = NewType("Xml", str)
"""Text that is XML already."""

LITERAL_XML = "http://xml.apache.org/xml-soap/literalxml"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
)


def text(value: str) -> Xml:
    """`value` as the text of an element; what XML cannot hold becomes U+FFFD."""
    return Xml(_NOT_XML.sub("\ufffd", value).translate(_TEXT))


def utc_text(moment: datetime) -> str:
    """A time as callers are used to read it: `2026-11-23 10:00:00.000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def element(name: str, attributes: Mapping[str, object] | None = None, *content: Xml) -> Xml:
    """An element without namespace prefix; `content` are its children."""
    written = "".join(
        f' {key}="{_NOT_XML.sub(chr(0xFFFD), str(value)).translate(_ATTRIBUTE)}"'
        for key, value in (attributes or {}).items()
    )
    return Xml(f"<{name}{written}>{''.join(content)}</{name}>" if content else f"<{name}{written}/>")


def _envelope(version: Version) -> str:
    return (
        "<?xml version='1.0'?>\n"
        '<SOAP-ENV:Envelope xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xmlns:ns="http://xml.apache.org/xml-soap"'
        f' xmlns:SOAP-ENV="{version.namespace}"><SOAP-ENV:Body>'
    )


_HEAD = {version: _envelope(version) for version in (SOAP11, SOAP12)}
_TAIL = "</SOAP-ENV:Body></SOAP-ENV:Envelope>\n"


def result(name: str, kind: str, content: Xml) -> Xml:
    """One typed result; `kind` is its `xsi:type`."""
    style = f' SOAP-ENV:encodingStyle="{LITERAL_XML}"' if kind == "ns:Element" else ""
    return Xml(f'<{name} xsi:type="{kind}"{style}>{content}</{name}>')


def response(version: Version, service: str, name: str, results: Iterable[Xml]) -> bytes:
    """The envelope of a success. `service` and `name` are ours, never the caller's text."""
    return (
        f'{_HEAD[version]}<{name} xmlns="{URN}{service}" SOAP-ENV:encodingStyle="{version.encoding}">'
        f"{''.join(results)}</{name}>{_TAIL}"
    ).encode()


_SOAP12_CODES = {"Client": "Sender", "Server": "Receiver"}


def fault(version: Version, code: str, reason: str, detail: str) -> bytes:
    """The envelope of a fault; `code` is `Client` or `Server`, `detail` one text."""
    if version is SOAP12:
        inner = (
            f"<SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:{_SOAP12_CODES[code]}</SOAP-ENV:Value></SOAP-ENV:Code>"
            f'<SOAP-ENV:Reason><SOAP-ENV:Text xml:lang="en">{text(reason)}</SOAP-ENV:Text></SOAP-ENV:Reason>'
            f"<SOAP-ENV:Detail><detail>{text(detail)}</detail></SOAP-ENV:Detail>"
        )
    else:
        inner = (
            f"<faultcode>SOAP-ENV:{code}</faultcode>"
            f"<faultstring>{text(reason)}</faultstring><detail>{text(detail)}</detail>"
        )
    return f"{_HEAD[version]}<SOAP-ENV:Fault>{inner}</SOAP-ENV:Fault>{_TAIL}".encode()
