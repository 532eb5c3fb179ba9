"""From a text to the parts that go out, and how many parts that makes (GSM 03.38, GSM 03.40 9.2.3.24.1)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .alphabet import ESCAPE, encode_gsm, is_gsm, plainer
from .pdu import tlv
from .spec import DATA_CODING_DEFAULT, DATA_CODING_UCS2, Tag

Transliterate = Literal["never", "typography", "letters"]
Concatenation = Literal["udh", "udh16", "sar", "payload"]

SINGLE = 140
"""Octets of user data of one short message: 160 septets, 140 octets or 70 characters of UCS-2."""
_HEADERS = {"udh": 6, "udh16": 7, "sar": 6, "payload": 6}
"""Octets that the user data header takes of each part. With SAR and `message_payload` the SMSC writes it, with a
reference of one octet."""


class Text(NamedTuple):
    """An encoded text. `units` are octets: septets one each, or UTF-16 two by two."""

    data_coding: int
    units: bytes

    @property
    def gsm(self) -> bool:
        return self.data_coding == DATA_CODING_DEFAULT


class Part(NamedTuple):
    """What differs between the `submit_sm`s of one message."""

    short_message: bytes
    tlvs: bytes = b""
    header: bool = False
    """Whether `short_message` begins with a user data header."""


def encode_text(text: str, transliterate: Transliterate = "never") -> Text:
    """In the GSM alphabet if it can be written in it, else in UCS-2. Characters outside the basic plane are surrogate
    pairs there, as every handset of today reads them. Raises `UnicodeEncodeError` for half a pair."""
    if is_gsm(text):
        return Text(DATA_CODING_DEFAULT, encode_gsm(text))
    if transliterate != "never":
        plain = plainer(text, transliterate == "letters")
        # where something remains that needs UCS-2 the text goes as it was written
        if is_gsm(plain):
            return Text(DATA_CODING_DEFAULT, encode_gsm(plain))
    return Text(DATA_CODING_UCS2, text.encode("utf-16-be"))


def split(text: Text, concatenation: Concatenation) -> list[bytes]:
    """The text's units, part by part, as a handset gets them. No escape pair and no surrogate pair is taken apart."""
    units = text.units
    header = _HEADERS[concatenation]
    if text.gsm:
        whole, each = SINGLE * 8 // 7, (SINGLE - header) * 8 // 7
    else:
        whole, each = SINGLE, (SINGLE - header) // 2 * 2
    if len(units) <= whole:
        return [units]
    found = []
    start = 0
    while start < len(units):
        end = min(start + each, len(units))
        if end < len(units):
            if text.gsm:
                end -= units[end - 1] == ESCAPE
            elif 0xD8 <= units[end - 2] < 0xDC:
                end -= 2
        found.append(units[start:end])
        start = end
    return found


def parts(text: Text, concatenation: Concatenation, reference: int) -> list[Part]:
    """The `submit_sm`s that carry a text of at most 255 parts. `reference` (16 bits) tells the parts of one message
    from those of another."""
    pieces = split(text, concatenation)
    total = len(pieces)
    if total == 1:
        return [Part(pieces[0])]
    if concatenation == "payload":
        return [Part(b"", tlv(Tag.MESSAGE_PAYLOAD, text.units))]
    if concatenation == "sar":
        # sections 5.3.2.22 to 5.3.2.24
        first = tlv(Tag.SAR_MSG_REF_NUM, reference.to_bytes(2, "big")) + tlv(Tag.SAR_TOTAL_SEGMENTS, bytes((total,)))
        return [
            Part(piece, first + tlv(Tag.SAR_SEGMENT_SEQNUM, bytes((number,)))) for number, piece in enumerate(pieces, 1)
        ]
    if concatenation == "udh":
        head = bytes((5, 0, 3, reference & 0xFF, total))
    else:
        head = bytes((6, 8, 4, reference >> 8, reference & 0xFF, total))
    return [Part(head + bytes((number,)) + piece, header=True) for number, piece in enumerate(pieces, 1)]
