"""Delivery receipts: what a `deliver_sm` or `data_sm` says of a message, read as leniently as SMSCs write them.

The states are those of section 5.2.28, in the parameter `message_state` or as words in the text, whose usual form is
that of appendix B; the message is named by `receipted_message_id` (section 5.3.2.12) or in the text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal

from petitbleu import Receipt, ReceiptState, Scope

from .alphabet import decode_gsm
from .pdu import Pdu
from .settings import ReceiptError
from .spec import (
    DATA_CODING_LATIN_1,
    DATA_CODING_UCS2,
    ESM_INTERMEDIATE,
    ESM_RECEIPT,
    ESM_TYPE,
    MessageState,
    Tag,
)

Spelling = Literal["auto", "same", "hex_to_decimal", "decimal_to_hex"]


@dataclass(frozen=True, slots=True)
class State:
    """What one of the SMSC's states makes of a message."""

    state: ReceiptState
    scope: Scope
    permanent: bool
    words: tuple[str, ...]
    """How texts begin to spell it."""


STATES: Mapping[MessageState, State] = {
    MessageState.ENROUTE: State(ReceiptState.UNDERWAY, Scope.MESSAGE, False, ("ENROUT", "BUFFER", "QUEUED", "SENT")),
    MessageState.DELIVERED: State(ReceiptState.RECEIVED, Scope.MESSAGE, False, ("DELIVRD", "DELIVERED")),
    MessageState.EXPIRED: State(ReceiptState.BOUNCED, Scope.ADDRESS, False, ("EXPIRED",)),
    MessageState.DELETED: State(ReceiptState.BOUNCED, Scope.MESSAGE, True, ("DELETED",)),
    # why, only the SMSC's error code can tell: without it nobody is taken for unreachable
    MessageState.UNDELIVERABLE: State(ReceiptState.BOUNCED, Scope.ADDRESS, False, ("UNDELIV", "FAILED")),
    MessageState.ACCEPTED: State(ReceiptState.UNDERWAY, Scope.MESSAGE, False, ("ACCEPT", "ACKED")),
    MessageState.UNKNOWN: State(ReceiptState.UNDERWAY, Scope.MESSAGE, False, ("UNKNOWN",)),
    MessageState.REJECTED: State(ReceiptState.BOUNCED, Scope.MESSAGE, True, ("REJECT",)),
}

_KEY = re.compile(
    r"(?<![a-z0-9_])(id|sub|dlvrd|submit[ _]?date|done[ _]?date|stat(?:us)?|err(?:or)?|text)\s{0,3}[:=]", re.IGNORECASE
)
_SAME = {"status": "stat", "error": "err", "submitdate": "submit date", "donedate": "done date"}
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{1,32}")
_DIGITS = re.compile(r"[0-9]{1,32}")
_DATES = {10: ("%y%m%d%H%M",), 12: ("%y%m%d%H%M%S", "%Y%m%d%H%M"), 14: ("%Y%m%d%H%M%S",)}
"""By the number of digits."""
LONGEST_ID = 255
LONGEST_TEXT = 1024
"""Characters of a receipt's text that are looked at."""
SHORTEST_NUMBER = 6
"""Digits of an identifier that `auto` reads in the other notation too: shorter ones may well name other messages."""


def parse_text(text: str) -> dict[str, str]:
    """The pairs of a receipt's text, by `id`, `sub`, `dlvrd`, `submit date`, `done date`, `stat`, `err`, `text`."""
    text = text[:LONGEST_TEXT]
    found: dict[str, str] = {}
    keys = list(_KEY.finditer(text))
    for key, end in zip(keys, [*(key.start() for key in keys[1:]), len(text)], strict=False):
        name = key[1].lower().replace("_", " ")
        name = _SAME.get(name, name)
        # what follows is the message's own
        whole = name == "text" and bool(found)
        found.setdefault(name, text[key.end() : None if whole else end].strip(" \t\r\n,;"))
        if whole:
            break
    return found


def canonical(identifier: str) -> str:
    """One spelling for all that differ in capitals or leading zeros of a number only."""
    if _HEXADECIMAL.fullmatch(identifier):
        return identifier.lower().lstrip("0") or "0"
    return identifier


def names(identifier: str, spelling: Spelling) -> Iterator[str]:
    """How the response may have spelt what a receipt calls `identifier`; the likeliest first."""
    known = canonical(identifier)
    decimal, hexadecimal = _DIGITS.fullmatch(known), _HEXADECIMAL.fullmatch(known)
    if spelling == "hex_to_decimal":
        yield f"{int(known):x}" if decimal else known
        return
    if spelling == "decimal_to_hex":
        yield str(int(known, 16)) if hexadecimal else known
        return
    yield known
    if spelling == "auto" and hexadecimal:
        if decimal and len(known) < SHORTEST_NUMBER:
            return
        if decimal:
            yield f"{int(known):x}"
        yield str(int(known, 16))


def reference_name(number: str, reference: int) -> str:
    """What a part is called whose response was lost: by its `user_message_reference` (section 5.3.2.17) and the number
    it went to, of which nothing can be read back."""
    digits = number.lstrip("+").encode()
    return "ref-" + hashlib.sha256(b"%b/%d" % (digits, reference)).hexdigest()[:24]


def is_receipt(pdu: Pdu) -> bool:
    """By its `esm_class`, by its parameters, or by what only a receipt's text says."""
    if pdu.number("esm_class") & ESM_TYPE in (ESM_RECEIPT, ESM_INTERMEDIATE):
        return True
    if Tag.RECEIPTED_MESSAGE_ID in pdu.tlvs or Tag.MESSAGE_STATE in pdu.tlvs:
        return True
    return {"id", "stat"} <= parse_text(_text(pdu)).keys()


def read_receipt(
    provider: str,
    pdu: Pdu,
    spelling: Spelling,
    errors: Mapping[str, ReceiptError],
    zone: tzinfo,
    longest: int,
) -> Receipt | None:
    """What it says; None where it names no message. Never raises."""
    pairs = parse_text(_text(pdu))
    found: list[str] = []
    for identifier in (_string(pdu.tlvs.get(Tag.RECEIPTED_MESSAGE_ID, b"")), pairs.get("id", "")):
        if 0 < len(identifier) <= LONGEST_ID:
            found += names(identifier, spelling)
    reference = pdu.tlvs.get(Tag.USER_MESSAGE_REFERENCE, b"")
    if len(reference) == 2:
        found.append(reference_name(pdu.text("source_addr"), int.from_bytes(reference, "big")))
    if not found:
        return None
    state = _state(pdu, pairs)
    meaning = STATES[state]
    code = _code(pdu, pairs)
    scope, permanent = meaning.scope, meaning.permanent
    if meaning.state is ReceiptState.BOUNCED and (known := errors.get(pairs.get("err", ""), errors.get(code))):
        scope, permanent = known.scope, known.permanent
    words = f"{state.name} {code}".rstrip() if pdu.tlvs.get(Tag.MESSAGE_STATE) else _words(pairs, state, code)
    return Receipt(
        channel="sms",
        provider=provider,
        state=meaning.state,
        text=words[:longest],
        names=tuple(dict.fromkeys(found)),
        code=code[:64],
        scope=scope,
        permanent=permanent,
        at=read_date(pairs.get("done date", ""), zone),
    )


def _words(pairs: Mapping[str, str], state: MessageState, code: str) -> str:
    stat = re.sub(r"[^\x20-\x7e]+", " ", pairs.get("stat", ""))[:64]
    return f"{stat or state.name} {code}".rstrip()


def _state(pdu: Pdu, pairs: Mapping[str, str]) -> MessageState:
    octets = pdu.tlvs.get(Tag.MESSAGE_STATE, b"")
    if len(octets) == 1 and octets[0] in STATES:
        return MessageState(octets[0])
    said = pairs.get("stat", "").upper().strip()
    if said.isdecimal() and len(said) < 4 and int(said) in STATES:
        return MessageState(int(said))
    for state, meaning in STATES.items():
        if said.startswith(meaning.words):
            return state
    return MessageState.UNKNOWN


def _code(pdu: Pdu, pairs: Mapping[str, str]) -> str:
    """The error: as the text has it, else `network_error_code` (section 5.3.2.31); "" where there is none."""
    said = re.sub(r"[^\x21-\x7e]+", "", pairs.get("err", ""))
    if said.strip("0"):
        return said
    octets = pdu.tlvs.get(Tag.NETWORK_ERROR_CODE, b"")
    if len(octets) == 3 and any(octets[1:]):
        return f"{octets[0]}/{int.from_bytes(octets[1:], 'big')}"
    return ""


def read_date(text: str, zone: tzinfo) -> datetime | None:
    """`YYMMDDhhmm`, with seconds or a whole year too; None for anything else."""
    digits = re.sub(r"[^0-9]", "", text[:32])
    for pattern in _DATES.get(len(digits), ()):
        try:
            return datetime.strptime(digits, pattern).replace(tzinfo=zone).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _text(pdu: Pdu) -> str:
    octets = pdu.octets("short_message") or pdu.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")
    octets = octets[: LONGEST_TEXT * 2]
    coding = pdu.number("data_coding")
    if coding == DATA_CODING_UCS2:
        return octets.decode("utf-16-be", "replace")
    # names and states are ASCII, which both alphabets share; the at sign and the underscore they do not
    if coding == DATA_CODING_LATIN_1 or not any(octet < 0x20 and octet not in b"\n\r\t" for octet in octets):
        return octets.decode("latin-1")
    return decode_gsm(octets)


def _string(octets: bytes) -> str:
    return octets.partition(b"\0")[0].decode("latin-1").strip()
