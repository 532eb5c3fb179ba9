"""The codec against another one, and against octets that are no SMPP."""

from __future__ import annotations

from typing import Any

import pytest
from aiosmpplib import protocol
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu_sms.pdu import FIELDS, Pdu, PduRefused, decode, encode, message_id, pack_head, submit_body, tlv
from petitbleu_sms.spec import HEADER, RESPONSE, Command, Status, Tag, status_name

OCTETS = st.binary(max_size=300)


def strings(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=size - 1).filter(lambda octets: b"\0" not in octets)


@st.composite
def units(draw: st.DrawFn) -> Pdu:
    command = draw(st.sampled_from(sorted(FIELDS)))
    fields: dict[str, int | bytes] = {}
    for name, size in FIELDS[command]:
        if name == "sm_length":
            continue
        if name == "short_message":
            octets = draw(st.binary(max_size=255))
            fields |= {name: octets, "sm_length": len(octets)}
        elif size == 1:
            fields[name] = draw(st.integers(0, 255))
        else:
            fields[name] = draw(strings(size))
    tlvs = draw(st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=100), max_size=4))
    return Pdu(command, draw(st.integers(1, 0x7FFFFFFF)), 0, fields, tlvs)


@settings(deadline=None)
@given(units())
def test_what_is_encoded_is_decoded(pdu: Pdu) -> None:
    assert decode(encode(pdu)) == pdu


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(sorted(FIELDS)), st.integers(0, 0xFFFFFFFF))
def test_no_octets_do_harm(body: bytes, command: int, status: int) -> None:
    octets = pack_head(HEADER + len(body), command, status, 7) + body
    try:
        pdu = decode(octets)
    except PduRefused:
        return
    assert sum(len(value) for value in pdu.fields.values() if isinstance(value, bytes)) <= len(body)
    assert sum(map(len, pdu.tlvs.values())) <= len(body)


@settings(deadline=None)
@given(OCTETS)
def test_whatever_is_no_unit_is_refused(octets: bytes) -> None:
    with pytest.raises(PduRefused):
        decode(octets if octets[:4] != len(octets).to_bytes(4, "big") else octets + b"x")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", Status.ESME_RINVCMDLEN),
        (b"x" * 400, Status.ESME_RINVCMDLEN),
        (
            b"\0\1\1" + b"1\0" + b"\1\1" + b"2\0" + bytes(3) + b"\0\0" + bytes(4) + b"\xff" + b"abc",
            Status.ESME_RINVMSGLEN,
        ),
    ],
    ids=["nothing", "a string without end", "more text than there is"],
)
def test_a_message_cut_short_says_so(body: bytes, status: Status) -> None:
    with pytest.raises(PduRefused) as refused:
        decode(pack_head(HEADER + len(body), Command.DELIVER_SM, 0, 1) + body)
    assert refused.value.status == status


def test_a_refusal_needs_no_body() -> None:
    octets = pack_head(HEADER, Command.SUBMIT_SM_RESP, Status.ESME_RTHROTTLED, 5)
    assert decode(octets) == Pdu(Command.SUBMIT_SM_RESP, 5, Status.ESME_RTHROTTLED)
    assert message_id(octets, 0, len(octets)) == b""
    assert encode(Pdu(Command.SUBMIT_SM_RESP, 5, Status.ESME_RTHROTTLED)) == octets


@settings(deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=20))
def test_a_message_id_ends_where_it_ends(identifier: bytes, after: bytes) -> None:
    identifier = identifier.replace(b"\0", b"")
    octets = (
        b"before" + pack_head(HEADER + len(identifier) + 1, Command.SUBMIT_SM_RESP, 0, 1) + identifier + b"\0" + after
    )
    assert message_id(octets, 6, 6 + HEADER + len(identifier) + 1) == identifier
    # without the NUL that section 4.4.2 asks for
    bare = pack_head(HEADER + len(identifier), Command.SUBMIT_SM_RESP, 0, 1) + identifier
    assert message_id(bare, 0, len(bare)) == identifier


def test_what_does_not_fit_is_refused() -> None:
    for fields in (
        {"source_addr": b"x" * 21},
        {"source_addr": b"a\0b"},
        {"data_coding": 256},
        {"short_message": b"x" * 256},
    ):
        with pytest.raises(ValueError, match="takes"):
            encode(Pdu(Command.SUBMIT_SM, 1, 0, fields))


def test_every_status_has_its_name() -> None:
    assert status_name(0x58) == "ESME_RTHROTTLED"
    assert status_name(0x401) == "0x00000401"


# -------------------------------------------------------------------------------------------------- another codec


def theirs(body: bytes) -> Any:
    octets = pack_head(HEADER + len(body), Command.SUBMIT_SM, 0, 9) + body
    return protocol.SubmitSm.from_pdu(octets, protocol.SmppMessage.parse_header(octets[:HEADER]), "gsm0338")


@settings(deadline=None)
@given(
    st.sampled_from([(5, 0, b"Shop"), (1, 1, b"33600000000"), (3, 0, b"38200")]),
    st.from_regex(r"[1-9][0-9]{5,14}", fullmatch=True),
    st.text("abc XYZ 0189 éàù", min_size=1, max_size=160),
)
def test_another_codec_reads_what_we_write(source: tuple[int, int, bytes], number: str, text: str) -> None:
    destination = (1, 1, number.encode())
    octets = text.encode("utf-16-be")
    read = theirs(submit_body(b"CMT", source, destination, b"", 8, octets[:140]))
    assert (read.service_type, read.sequence_num) == ("CMT", 9)
    assert (read.source.number, read.source.ton, read.source.npi) == (source[2].decode(), source[0], source[1])
    assert (read.destination.number, read.destination.ton, read.destination.npi) == (number, 1, 1)
    assert read.short_message == octets[:140].decode("utf-16-be")
    assert read.registered_delivery == 1


def test_the_quick_way_is_the_long_way() -> None:
    quick = submit_body(
        b"", (5, 0, b"Shop"), (1, 1, b"33612345678"), b"000001000000000R", 8, b"\0a", tlv(0x204, b"\0\7"), True
    )
    fields: dict[str, int | bytes] = {
        "source_addr_ton": 5,
        "source_addr": b"Shop",
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": b"33612345678",
        "esm_class": 0x40,
        "validity_period": b"000001000000000R",
        "registered_delivery": 1,
        "data_coding": 8,
        "short_message": b"\0a",
    }
    slow = encode(Pdu(Command.SUBMIT_SM, 3, 0, fields, {Tag.USER_MESSAGE_REFERENCE: b"\0\7"}))
    assert pack_head(HEADER + len(quick), Command.SUBMIT_SM, 0, 3) + quick == slow


def test_we_read_what_another_codec_writes() -> None:
    bind = protocol.BindTransceiver(
        system_id="petit", password="s3cret", system_type="vma", address_range="33*", sequence_num=4
    )
    read = decode(bind.pdu())
    assert (read.command, read.sequence) == (Command.BIND_TRANSCEIVER, 4)
    assert [read.text(name) for name in ("system_id", "password", "system_type", "address_range")] == [
        "petit",
        "s3cret",
        "vma",
        "33*",
    ]
    answer = protocol.SubmitSmResp(sequence_num=8, message_id="0A1B2C3D")
    octets = answer.pdu()
    assert decode(octets) == Pdu(Command.SUBMIT_SM | RESPONSE, 8, 0, {"message_id": b"0A1B2C3D"})
    assert message_id(octets, 0, len(octets)) == b"0A1B2C3D"
