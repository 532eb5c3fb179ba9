"""SMPP 3.4 protocol data units: values to octets and back, by a table of fields for each command (section 4).

Reading is lenient where nothing is at stake: a response without its body (sections 4.1.2, 4.4.2) and octets that make
no optional parameter are taken as they are. Whatever would make us read beyond the unit raises `PduRefused`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from .spec import ESM_UDHI, HEADER, RECEIPT_REQUESTED, RESPONSE, Command, Status, Tag

Value = int | bytes

BIND = (
    ("system_id", 16),
    # 9 says section 4.1; there are SMSCs that want longer ones
    ("password", 256),
    ("system_type", 13),
    ("interface_version", 1),
    ("addr_ton", 1),
    ("addr_npi", 1),
    ("address_range", 41),
)
MESSAGE = (
    ("service_type", 6),
    ("source_addr_ton", 1),
    ("source_addr_npi", 1),
    ("source_addr", 21),
    ("dest_addr_ton", 1),
    ("dest_addr_npi", 1),
    ("destination_addr", 21),
    ("esm_class", 1),
    ("protocol_id", 1),
    ("priority_flag", 1),
    ("schedule_delivery_time", 17),
    ("validity_period", 17),
    ("registered_delivery", 1),
    ("replace_if_present_flag", 1),
    ("data_coding", 1),
    ("sm_default_msg_id", 1),
    ("sm_length", 1),
    ("short_message", 0),
)
DATA = (
    ("service_type", 6),
    ("source_addr_ton", 1),
    ("source_addr_npi", 1),
    ("source_addr", 65),
    ("dest_addr_ton", 1),
    ("dest_addr_npi", 1),
    ("destination_addr", 65),
    ("esm_class", 1),
    ("registered_delivery", 1),
    ("data_coding", 1),
)
SYSTEM = (("system_id", 16),)
MESSAGE_ID = (("message_id", 65),)
FIELDS: Mapping[int, tuple[tuple[str, int], ...]] = {
    Command.BIND_RECEIVER: BIND,
    Command.BIND_TRANSMITTER: BIND,
    Command.BIND_TRANSCEIVER: BIND,
    Command.BIND_RECEIVER_RESP: SYSTEM,
    Command.BIND_TRANSMITTER_RESP: SYSTEM,
    Command.BIND_TRANSCEIVER_RESP: SYSTEM,
    Command.SUBMIT_SM: MESSAGE,
    Command.SUBMIT_SM_RESP: MESSAGE_ID,
    Command.DELIVER_SM: MESSAGE,
    Command.DELIVER_SM_RESP: MESSAGE_ID,
    Command.DATA_SM: DATA,
    Command.DATA_SM_RESP: MESSAGE_ID,
}
"""(field, size): 1 is an integer of one octet, 0 as many octets as the field before it says, all others are C-octet
strings with their greatest size, the closing NUL included."""

MESSAGE_ID_SLACK = 255
"""Octets of a string that are read; some SMSCs write identifiers longer than the 65 of section 5.2.23."""

_head = struct.Struct(">IIII")
_tlv = struct.Struct(">HH")
pack_head = _head.pack
read_head = _head.unpack_from
"""`command_length`, `command_id`, `command_status`, `sequence_number`."""


class PduRefused(ValueError):
    """These octets are no such unit; `status` is what its sender is told."""

    def __init__(self, text: str, status: Status = Status.ESME_RINVCMDLEN) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Pdu:
    """One unit. `fields` are the mandatory ones by name; those left out are 0 or empty. `tlvs` are by tag."""

    command: int
    sequence: int
    status: int = 0
    fields: Mapping[str, Value] = field(default_factory=dict)
    tlvs: Mapping[int, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A string field for people and comparisons."""
        value = self.fields.get(name, b"")
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)

    def number(self, name: str) -> int:
        value = self.fields.get(name, 0)
        return value if isinstance(value, int) else 0

    def octets(self, name: str) -> bytes:
        value = self.fields.get(name, b"")
        return value if isinstance(value, bytes) else b""


def encode(pdu: Pdu) -> bytes:
    """Raises `ValueError` for a field that does not fit."""
    body = bytearray()
    # a refusal of a bind or a message carries no body (sections 4.1.2, 4.4.2)
    layout = () if pdu.command & RESPONSE and pdu.status else FIELDS.get(pdu.command, ())
    for name, size in layout:
        value = pdu.fields.get(name)
        if size == 1:
            number = len(pdu.octets("short_message")) if name == "sm_length" else value or 0
            if not isinstance(number, int) or not 0 <= number <= 255:
                raise ValueError(f"{name} takes 0 to 255")
            body.append(number)
        elif size == 0:
            body += pdu.octets(name)
        else:
            octets = pdu.octets(name)
            if len(octets) >= size or b"\0" in octets:
                raise ValueError(f"{name} takes {size - 1} octets without NUL")
            body += octets + b"\0"
    for tag, octets in pdu.tlvs.items():
        body += tlv(tag, octets)
    return pack_head(HEADER + len(body), pdu.command, pdu.status, pdu.sequence) + bytes(body)


def tlv(tag: int, octets: bytes) -> bytes:
    """An optional parameter: tag, length, value; section 3.2.4.1."""
    return _tlv.pack(tag, len(octets)) + octets


def decode(octets: bytes) -> Pdu:
    """One whole unit. Raises `PduRefused`."""
    if len(octets) < HEADER:
        raise PduRefused("shorter than a header")
    length, command, status, sequence = read_head(octets)
    if length != len(octets):
        raise PduRefused("its length is not what it says")
    layout = FIELDS.get(command, ())
    if command & RESPONSE and (status or length == HEADER):
        return Pdu(command, sequence, status, _lenient(octets, layout))
    fields: dict[str, Value] = {}
    at = HEADER
    for name, size in layout:
        at = _read(octets, at, name, size, fields)
    return Pdu(command, sequence, status, fields, _tlvs(octets, at))


def _read(octets: bytes, at: int, name: str, size: int, fields: dict[str, Value]) -> int:
    if size == 1:
        if at >= len(octets):
            raise PduRefused(f"it ends before {name}")
        fields[name] = octets[at]
        return at + 1
    if size == 0:
        length = int(fields["sm_length"])
        if at + length > len(octets):
            raise PduRefused(f"it ends within {name}", Status.ESME_RINVMSGLEN)
        fields[name] = octets[at : at + length]
        return at + length
    end = octets.find(b"\0", at, at + MESSAGE_ID_SLACK + 1)
    if end < 0:
        raise PduRefused(f"{name} does not end")
    fields[name] = octets[at:end]
    return end + 1


def _lenient(octets: bytes, layout: tuple[tuple[str, int], ...]) -> dict[str, Value]:
    """What a refusal says all the same."""
    fields: dict[str, Value] = {}
    at = HEADER
    try:
        for name, size in layout:
            at = _read(octets, at, name, size, fields)
    except PduRefused:
        pass
    return fields


def _tlvs(octets: bytes, at: int) -> dict[int, bytes]:
    """Optional parameters as far as they make sense; of a repeated one the first."""
    found: dict[int, bytes] = {}
    while at + 4 <= len(octets):
        tag, length = _tlv.unpack_from(octets, at)
        at += 4
        if at + length > len(octets):
            break
        found.setdefault(tag, octets[at : at + length])
        at += length
    return found


def message_id(octets: bytes, start: int, end: int) -> bytes:
    """The `message_id` of a `submit_sm_resp` that lies in a buffer, empty where there is none; section 4.4.2."""
    stop = octets.find(b"\0", start + HEADER, end)
    return bytes(octets[start + HEADER : stop if stop >= 0 else end])


def submit_body(
    service_type: bytes,
    source: tuple[int, int, bytes],
    destination: tuple[int, int, bytes],
    validity_period: bytes,
    data_coding: int,
    short_message: bytes,
    tlvs: bytes = b"",
    header: bool = False,
) -> bytes:
    """The body of a `submit_sm` (section 4.4.1) that asks for a receipt; addresses are (TON, NPI, digits).

    The quick way to what `encode` makes: whoever calls it has looked at the sizes.
    """
    source_ton, source_npi, source_addr = source
    dest_ton, dest_npi, dest_addr = destination
    return b"".join(
        (
            service_type,
            bytes((0, source_ton, source_npi)),
            source_addr,
            bytes((0, dest_ton, dest_npi)),
            dest_addr,
            # schedule_delivery_time is empty: now
            bytes((0, ESM_UDHI if header else 0, 0, 0, 0)),
            validity_period,
            bytes((0, RECEIPT_REQUESTED, 0, data_coding, 0, len(short_message))),
            short_message,
            tlvs,
        )
    )


__all__ = [
    "FIELDS",
    "Pdu",
    "PduRefused",
    "Tag",
    "decode",
    "encode",
    "message_id",
    "pack_head",
    "read_head",
    "submit_body",
    "tlv",
]
