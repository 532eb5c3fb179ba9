"""Addresses and times: what is taken, what is refused, and that nothing is repaired."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from email_validator import validate_email
from hypothesis import example, given
from hypothesis import strategies as st
from petitbleu.addresses import COMMON_EMAIL, email_address, instant, phone_number, registration_token

PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    "text",
    [
        "nora.fabre@example.com",
        "O'Neil+news@Example.COM",
        "a@b.co",
        "x@xn--bcher-kva.example",
        "x@bücher.example",
        "jürgen@bücher.example",
        "用户@例え.jp",
        "!#$%&'*+/=?^_`{|}~-@example.com",
        f"{'a' * 64}@example.com",
        f"a@{'b' * 63}.com",
        "someone@mail.local",
        "a@b.c1",
    ],
)
def test_email_addresses(text: str) -> None:
    assert email_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "@example.com",
        "a@",
        "a@b@example.com",
        "a b@example.com",
        " a@example.com",
        "a@example.com ",
        "a@example.com\n",
        "a@example.com\r\nBcc: b@example.com",
        "a\x00@example.com",
        "a\x7f@example.com",
        "a\u200b@example.com",
        "a\u202e@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a.@example.com",
        "a@localhost",
        "a@example..com",
        "a@-example.com",
        "a@example-.com",
        "a@exa_mple.com",
        "a@example.com.",
        "a@192.0.2.1",
        "a@[192.0.2.1]",
        '"a b"@example.com',
        '"a"@example.com',
        "Ada <a@example.com>",
        "a@example.com,b@example.com",
        "e\u0301@example.com",
        "a@example。com",
        "a@EXAMPLE．com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 64}.com",
        f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 20}.com",
    ],
)
def test_what_is_no_email_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not an email address"):
        email_address(text)


@pytest.mark.parametrize("text", ["a\x00@example.com", "a@example.com\n", "a\u200b@example.com"])
def test_an_invisible_character_is_named_as_the_reason(text: str) -> None:
    with pytest.raises(ValueError, match="a control or invisible character"):
        email_address(text)


words = st.text("aZ09-.+_'!{~", min_size=1, max_size=66)
labels = st.text("aZ09-", min_size=1, max_size=64)


@given(words, st.lists(labels, min_size=1, max_size=5), st.sampled_from(["com", "example", "c", "museum", "xn--p1ai"]))
@example("a" * 64, ["b" * 63] * 2 + ["c" * 57], "com")
@example("a" * 64, ["b" * 63] * 2 + ["c" * 58], "com")
@example("a", ["ab--cd"], "com")
def test_common_addresses_are_addresses_to_email_validator(local: str, domain: list[str], last: str) -> None:
    text = f"{local}@{'.'.join([*domain, last])}"
    if not COMMON_EMAIL.match(text):
        return
    found = validate_email(text, check_deliverability=False, globally_deliverable=False, strict=True)
    assert found.local_part == text.rpartition("@")[0]
    assert found.ascii_domain == text.rpartition("@")[2].lower()
    assert len(text) <= 254


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_is_taken_is_kept(local: str, domain: str) -> None:
    text = f"{local}@{domain}.example"
    try:
        taken = email_address(text)
    except ValueError:
        return
    assert taken == text
    assert text.isprintable()
    assert " " not in text


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("+33612345678", "", "+33612345678"),
        ("+33 6 12 34 56 78", "", "+33612345678"),
        ("+33 (0) 6 12-34.56.78", "", "+33612345678"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("06 12 34 56 78", "fr", "+33612345678"),
        ("0033612345678", "FR", "+33612345678"),
        ("+48601234567", "FR", "+48601234567"),
        ("+447700900123", "", "+447700900123"),
        ("+39 06 698 1234", "", "+39066981234"),
        ("(202) 555-0143", "US", "+12025550143"),
    ],
)
def test_phone_numbers(text: str, country: str, number: str) -> None:
    assert phone_number(text, country) == number


@pytest.mark.parametrize(
    ("text", "country", "reason"),
    [
        ("0612345678", "", "is not in international form; write it as +33612345678"),
        ("0612345678", "France", "is not in international form"),
        ("0612345678", "XX", "is not in international form"),
        ("+336", "", "is not a phone number"),
        ("+33612", "", "does not fit the numbering plan of +33"),
        ("+336123456789012", "", "does not fit the numbering plan of +33"),
        ("+999123456789", "", "is not a phone number"),
        ("+1-800-FLOWERS", "", "is not a phone number"),
        ("+33612345678 ext. 5", "", "is not a phone number"),
        ("tel:+33612345678", "", "is not a phone number"),
        ("+٣٣٦١٢٣٤٥٦٧٨", "", "is not a phone number"),
        ("++33612345678", "", "is not a phone number"),
        ("+3361234\n5678", "", "is not a phone number"),
        ("1" * 41, "FR", "is not a phone number"),
        ("---", "FR", "is not a phone number"),
    ],
)
def test_what_is_no_phone_number(text: str, country: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^is not") as refused:
        phone_number(text, country)
    assert reason in str(refused.value)


@example("33", "612345678")
@example("33", "0612345678")
@example("39", "0669812345")
@example("54", "91123456789")
@given(
    st.sampled_from(sorted(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))),
    st.text(alphabet="0123456789", min_size=3, max_size=13),
)
def test_the_short_way_to_a_number_leads_where_phonenumbers_does(calling_code: str, national: str) -> None:
    text = f"+{calling_code}{national}"
    number = None
    with contextlib.suppress(phonenumbers.NumberParseException):
        number = phonenumbers.parse(text, None)
    if number is None or not phonenumbers.is_possible_number(number):
        with pytest.raises(ValueError, match="is not a phone number"):
            phone_number(text)
    else:
        assert phone_number(text) == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@given(st.text(alphabet="+0123456789 ().-/", min_size=3, max_size=20), st.sampled_from(["", "FR", "US", "IT"]))
def test_a_number_in_e164_stays_as_it_is(text: str, country: str) -> None:
    try:
        number = phone_number(text, country)
    except ValueError:
        return
    assert phone_number(number) == number


def test_registration_tokens() -> None:
    for token in ("a", "740f4707bebcf74f9b7c25d48e335894", "x:APA91b_-=/+", "~" * 4096):
        assert registration_token(token) == token
    for token in ("", "a b", "a\n", "é", "a\x7f", "\x00"):
        with pytest.raises(ValueError, match="only visible ASCII characters"):
            registration_token(token)
    with pytest.raises(ValueError, match="it has 4097 characters; the limit is 4096"):
        registration_token("x" * 4097)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-31T23:59:59Z", "2026-12-31T23:59:59+00:00"),
        ("2026-12-31 23:59:59z", "2026-12-31T23:59:59+00:00"),
        ("2026-12-31t23:59Z", "2026-12-31T23:59:00+00:00"),
        ("2026-12-31T23:59:59+01:00", "2026-12-31T22:59:59+00:00"),
        ("2026-12-31T23:59:59-0330", "2027-01-01T03:29:59+00:00"),
        ("2026-12-31 23:59:59 +02", "2026-12-31T21:59:59+00:00"),
        ("2026-12-31T23:59:59.5Z", "2026-12-31T23:59:59.500000+00:00"),
        ("2026-12-31T23:59:59,123456789Z", "2026-12-31T23:59:59.123456+00:00"),
        ("2026-12-31T23:59:59", "2026-12-31T22:59:59+00:00"),
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00+00:00"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00+00:00"),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00+00:00"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_instants(text: str, moment: str) -> None:
    found = instant(text, PARIS)
    assert found.isoformat() == moment
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write it as 2026-12-31T23:59:59Z"),
        ("tomorrow", "write it as"),
        ("2026-12-31", "write it as"),
        ("20261231T235959Z", "write it as"),
        ("2026-12-31T23:59:59 Europe/Paris", "write it as"),
        ("2026-12-31T23:59:59Z\n", "write it as"),
        ("31/12/2026 23:59:59", "write it as"),
        ("٢٠٢٦-12-31T23:59:59Z", "write it as"),
        ("2026-02-29T00:00:00Z", "day is out of range"),
        ("2026-13-01T00:00:00Z", "month must be in 1..12"),
        ("2026-12-31T24:00:00Z", "hour must be in 0..23"),
        ("2026-12-31T23:59:60Z", "second must be in 0..59"),
        ("2026-12-31T23:59:59+24:00", "+24:00 is not an offset from UTC"),
        ("2026-12-31T23:59:59+01:60", "+01:60 is not an offset from UTC"),
        ("0001-01-01T00:00:00+14:00", "date value out of range"),
        ("0000-01-01T00:00:00Z", "year"),
        ("2026-03-29T02:30:00", "Europe/Paris does not have: clocks go forward over it"),
    ],
)
def test_what_is_no_instant(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^is") as refused:
        instant(text, PARIS)
    assert reason in str(refused.value)


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=offsets | st.just(PARIS)))
def test_what_iso_8601_writes_is_read_back(moment: datetime) -> None:
    if moment.utcoffset() is None or moment.utcoffset() % timedelta(minutes=1):  # type: ignore[operator]  # it is aware
        moment = moment.astimezone(UTC)
    assert instant(moment.isoformat(), PARIS) == moment.astimezone(UTC)
