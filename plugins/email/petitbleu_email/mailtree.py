"""A mail that came in, taken apart just far enough to find a report in it (RFC 5322, RFC 2046).

Anybody can send such a mail. So nothing here raises or recurses, and the work is bounded by the number of octets that
are looked at. What is found is what was written: no header is decoded that nobody asks for.
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message

LOOKED_AT = 262_144
"""Octets of a mail; reports stand before the message they return (RFC 6522 3)."""
DEPTH = 4
PARTS = 20
LINES = 300
"""Of one head."""
PARAMETERS = 500
"""Characters of a Content-Type."""

_EMPTY = re.compile(rb"\n[ \t]*\n")
_NAME = re.compile(r"[!-9;-~]{1,100}")

Fields = Mapping[str, str]
"""By name in lower case; of several the first. Unfolded."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a mail. `body` is decoded."""

    kind: str
    """Its media type, in lower case."""
    fields: Fields
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def fields_of(head: bytes) -> Fields:
    """RFC 5322 2.2; lines that are no field are passed over."""
    found: dict[str, str] = {}
    name = ""
    for line in head.decode("utf-8", "replace").split("\n", LINES)[:LINES]:
        if line[:1] in (" ", "\t"):
            if name:
                found[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip().lower()
        if not colon or not _NAME.fullmatch(name) or name in found:
            name = ""
        else:
            found[name] = value.strip()
    return found


def split_head(octets: bytes) -> tuple[bytes, bytes]:
    """Head and body, at the first empty line."""
    if octets.startswith(b"\n"):
        return b"", octets[1:]
    end = _EMPTY.search(octets)
    return (octets, b"") if end is None else (octets[: end.start()], octets[end.end() :])


def blocks_of(body: bytes, most: int) -> list[Fields]:
    """Groups of fields with empty lines between them, as in delivery status notifications (RFC 3464 2.1)."""
    return [fields_of(block) for block in _EMPTY.split(body.strip(b"\n"), most)[:most]]


def pieces_of(mail: bytes) -> Iterator[Piece]:
    """The parts that are no multipart, in their order; a message in the mail is one part, and stays whole."""
    waiting = [(mail[:LOOKED_AT].replace(b"\r\n", b"\n"), 0)]
    given = 0
    while waiting and given < PARTS:
        octets, depth = waiting.pop()
        head, body = split_head(octets)
        fields = fields_of(head)
        kind, boundary = _kind_and_boundary(fields.get("content-type", "text/plain")[:PARAMETERS])
        if kind.startswith("multipart/") and boundary and depth < DEPTH:
            parts = _parts(body, boundary.encode("utf-8", "replace"))[:PARTS]
            waiting += [(part, depth + 1) for part in reversed(parts)]
        else:
            given += 1
            yield Piece(kind, fields, _decoded(body, fields.get("content-transfer-encoding", "")))


def _kind_and_boundary(content_type: str) -> tuple[str, str]:
    message = Message()
    message["Content-Type"] = content_type
    kind = message.get_content_type()
    try:
        return kind, str(message.get_boundary("") or "")
    except (TypeError, ValueError):
        # parameters continued in a way that RFC 2231 3 does not have: the standard library gives up on them
        return kind, ""


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """What stands between the delimiter lines (RFC 2046 5.1.1); a missing last one is forgiven."""
    parts: list[bytes] = []
    for at, piece in enumerate((b"\n" + body).split(b"\n--" + boundary)):
        first, _, rest = piece.partition(b"\n")
        if at == 0:
            continue
        if first.startswith(b"--"):
            break
        if first.strip():
            # another part's boundary that begins like this one
            if parts:
                parts[-1] += b"\n--" + boundary + piece
        else:
            parts.append(rest)
    return parts


def _decoded(body: bytes, encoding: str) -> bytes:
    try:
        match encoding.strip().lower():
            case "base64":
                return binascii.a2b_base64(body).replace(b"\r\n", b"\n")
            case "quoted-printable":
                return quopri.decodestring(body)
    except (binascii.Error, ValueError):
        pass  # it says so and is not: what stands there may still be read
    return body
