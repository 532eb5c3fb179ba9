"""Receipts as SMSCs write them, and worse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu import Receipt, ReceiptState, Scope
from petitbleu_sms.pdu import Pdu
from petitbleu_sms.receipts import canonical, is_receipt, names, parse_text, read_date, read_receipt, reference_name
from petitbleu_sms.settings import ReceiptError
from petitbleu_sms.spec import Command, Tag

USUAL = "id:0123456789 sub:001 dlvrd:001 submit date:2611251200 done date:2611251201 stat:DELIVRD err:000 text:Hello"


def unit(text: str | bytes, esm_class: int = 4, coding: int = 0, **tlvs: bytes) -> Pdu:
    octets = text if isinstance(text, bytes) else text.encode("utf-16-be" if coding == 8 else "latin-1")
    fields: dict[str, int | bytes] = {
        "source_addr": b"33612345678",
        "esm_class": esm_class,
        "data_coding": coding,
        "short_message": octets,
    }
    return Pdu(Command.DELIVER_SM, 1, 0, fields, {Tag[name.upper()]: value for name, value in tlvs.items()})


def read(pdu: Pdu, spelling: Any = "auto", errors: Any = None, zone: Any = UTC) -> Receipt | None:
    return read_receipt("main", pdu, spelling, errors or {}, zone, 500)


def test_the_usual_form() -> None:
    assert read(unit(USUAL)) == Receipt(
        channel="sms",
        provider="main",
        state=ReceiptState.RECEIVED,
        text="DELIVRD",
        names=("123456789", "75bcd15", "4886718345"),
        permanent=False,
        at=datetime(2026, 11, 25, 12, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("text", "state", "scope", "code"),
    [
        (USUAL.replace("DELIVRD", "delivered"), ReceiptState.RECEIVED, Scope.MESSAGE, ""),
        (USUAL.replace("DELIVRD err:000", "UNDELIV err:00B"), ReceiptState.BOUNCED, Scope.ADDRESS, "00B"),
        (USUAL.replace("DELIVRD", "EXPIRED"), ReceiptState.BOUNCED, Scope.ADDRESS, ""),
        (USUAL.replace("DELIVRD", "REJECTD"), ReceiptState.BOUNCED, Scope.MESSAGE, ""),
        (USUAL.replace("DELIVRD", "DELETED"), ReceiptState.BOUNCED, Scope.MESSAGE, ""),
        (USUAL.replace("DELIVRD", "ACCEPTD"), ReceiptState.UNDERWAY, Scope.MESSAGE, ""),
        (USUAL.replace("DELIVRD", "ENROUTE"), ReceiptState.UNDERWAY, Scope.MESSAGE, ""),
        (USUAL.replace("DELIVRD", "UNKNOWN"), ReceiptState.UNDERWAY, Scope.MESSAGE, ""),
        (USUAL.replace("DELIVRD", "whatever"), ReceiptState.UNDERWAY, Scope.MESSAGE, ""),
        (USUAL.replace("stat:DELIVRD", "stat:2"), ReceiptState.RECEIVED, Scope.MESSAGE, ""),
        # seconds, no date, no error, other order, other capitals, tabs
        (USUAL.replace("2611251201", "261125120130"), ReceiptState.RECEIVED, Scope.MESSAGE, ""),
        (USUAL.replace("2611251201", "0"), ReceiptState.RECEIVED, Scope.MESSAGE, ""),
        ("ID: 0123456789\tSTAT: DELIVRD", ReceiptState.RECEIVED, Scope.MESSAGE, ""),
        ("stat=UNDELIV id=0123456789 err=21", ReceiptState.BOUNCED, Scope.ADDRESS, "21"),
        (
            "id:0123456789 submitdate:2611251200 donedate:2611251201 status:DELIVRD",
            ReceiptState.RECEIVED,
            Scope.MESSAGE,
            "",
        ),
    ],
)
def test_forms_that_occur(text: str, state: ReceiptState, scope: Scope, code: str) -> None:
    for coding in (0, 3, 8):
        pdu = unit(text, esm_class=0, coding=coding)
        assert is_receipt(pdu)
        found = read(pdu)
        assert found is not None
        assert (found.state, found.scope, found.code, found.names[0]) == (state, scope, code, "123456789")


def test_the_text_of_the_message_says_nothing() -> None:
    assert parse_text("id:1 stat:DELIVRD err:000 text:id:2 stat:UNDELIV") == {
        "id": "1",
        "stat": "DELIVRD",
        "err": "000",
        "text": "id:2 stat:UNDELIV",
    }


def test_parameters_come_before_the_text() -> None:
    pdu = unit(
        USUAL,
        receipted_message_id=b"7A\0",
        message_state=b"\5",
        network_error_code=b"\3\0\x21",
        user_message_reference=b"\x12\x34",
    )
    found = read(pdu)
    assert found is not None
    assert found.state is ReceiptState.BOUNCED
    assert found.names == ("7a", "122", "123456789", "75bcd15", "4886718345", reference_name("+33612345678", 0x1234))
    assert (found.text, found.code) == ("UNDELIVERABLE 3/33", "3/33")


def test_a_payload_is_read_like_a_text() -> None:
    found = read(unit(b"", message_payload=USUAL.encode()))
    assert found is not None
    assert found.names[0] == "123456789"


def test_error_codes_mean_what_the_settings_say() -> None:
    errors = {"001": ReceiptError(), "027": ReceiptError(scope=Scope.MESSAGE, permanent=False)}
    for code, scope, permanent in (
        ("001", Scope.ADDRESS, True),
        ("027", Scope.MESSAGE, False),
        ("999", Scope.ADDRESS, False),
    ):
        found = read(unit(USUAL.replace("DELIVRD err:000", f"UNDELIV err:{code}")), errors=errors)
        assert found is not None
        assert (found.scope, found.permanent) == (scope, permanent)
    # of what arrived, no code says that it did not
    found = read(unit(USUAL.replace("err:000", "err:001")), errors=errors)
    assert found is not None
    assert found.scope is Scope.MESSAGE


@pytest.mark.parametrize(
    "pdu",
    [
        unit("Hello", esm_class=0),
        unit("STOP", esm_class=0),
        unit(b"\x05\x00\x03\xab\x02\x01abc", esm_class=0x40),
        unit("my id: 7", esm_class=0),
    ],
)
def test_what_people_write_is_no_receipt(pdu: Pdu) -> None:
    assert not is_receipt(pdu)


def test_a_receipt_without_a_name_is_none() -> None:
    pdu = unit("stat:DELIVRD")
    assert is_receipt(pdu)
    assert read(pdu) is None


@settings(deadline=None)
@given(
    st.binary(max_size=300) | st.text("id:stat err=0123 DELIVRD\n", max_size=1500).map(str.encode),
    st.integers(0, 255),
    st.integers(0, 255),
    st.dictionaries(st.sampled_from(list(Tag)), st.binary(max_size=300)),
)
def test_nothing_an_smsc_says_does_harm(octets: bytes, esm_class: int, coding: int, tlvs: dict[int, bytes]) -> None:
    fields: dict[str, int | bytes] = {"esm_class": esm_class, "data_coding": coding, "short_message": octets}
    pdu = Pdu(Command.DELIVER_SM, 1, 0, fields, tlvs)
    is_receipt(pdu)
    found = read(pdu)
    if found is not None:
        assert found.names
        assert all(0 < len(name) <= 310 for name in found.names)
        assert len(found.text) <= 500
        assert found.text.isprintable()
        assert len(found.code) <= 64


# --------------------------------------------------------------------------------------------------------- spellings


@settings(deadline=None)
@given(st.integers(1, 2**60))
def test_either_notation_finds_the_other(number: int) -> None:
    decimal, hexadecimal, padded = str(number), f"{number:X}", f"{number:08X}"
    spelling: Any
    for response, receipt, spelling in (
        (hexadecimal, decimal, "hex_to_decimal"),
        (padded, decimal, "hex_to_decimal"),
        (decimal, padded, "decimal_to_hex"),
        (padded.lower(), hexadecimal, "same"),
        (decimal, decimal, "same"),
    ):
        assert canonical(response) in list(names(receipt, spelling))
    if number > 0xFFFFFF:
        assert canonical(padded) in list(names(decimal, "auto"))
        assert canonical(decimal) in list(names(hexadecimal, "auto"))
    # the spelling that is the same comes first
    assert next(iter(names(decimal, "auto"))) == canonical(decimal)


@pytest.mark.parametrize("identifier", ["b7f9-44aa", "Ab_9", "c0ffee-1", "x" * 200])
def test_other_names_are_left_alone(identifier: str) -> None:
    spelling: Any
    for spelling in ("auto", "same", "hex_to_decimal", "decimal_to_hex"):
        assert list(names(identifier, spelling)) == [identifier]


def test_short_numbers_are_not_taken_for_others() -> None:
    assert list(names("16", "auto")) == ["16"]
    assert list(names("1f", "auto")) == ["1f", "31"]


def test_dates() -> None:
    paris = ZoneInfo("Europe/Paris")
    assert read_date("2611251301", paris) == datetime(2026, 11, 25, 12, 1, tzinfo=UTC)
    assert read_date("20261125130159", paris) == datetime(2026, 11, 25, 12, 1, 59, tzinfo=UTC)
    assert read_date("202611251301", paris) == datetime(2026, 11, 25, 12, 1, tzinfo=UTC)
    assert read_date("26-11-25 13:01", paris) == datetime(2026, 11, 25, 12, 1, tzinfo=UTC)
    for text in ("", "0", "9999999999", "26112513", "soon"):
        assert read_date(text, paris) is None
