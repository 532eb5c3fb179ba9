"""Header lines: what went in comes out of two parsers nobody here wrote, and nothing else does."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import ContentDispositionHeader
from email.message import EmailMessage
from email.utils import parseaddr
from typing import cast

import pytest
from fast_mail_parser import parse_email
from hypothesis import example, given
from hypothesis import strategies as st
from petitbleu_email import headers
from petitbleu_email.addresses import Address, parse_address
from petitbleu_email.headers import HeaderRefused

# the standard library's parser takes these for line ends, even inside encoded words
LINE_BREAKERS = "\u2028\u2029\u0085"
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=LINE_BREAKERS), max_size=300)
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300)
NAME = st.sampled_from(["Subject", "X-A", "X-" + "Long" * 9])
ADDRESS = Address("a.b+c", "xn--exmple-cua.org")


def modern(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw + b"\r\n", policy=policy.default)


def classic(raw: bytes, name: str) -> str:
    value = message_from_bytes(raw + b"\r\n", policy=policy.compat32)[name]
    return str(make_header(decode_header(str(value).replace("\r\n", ""))))


def assert_well_formed(raw: bytes, name: str) -> None:
    assert raw.endswith(b"\r\n")
    lines = raw[:-2].split(b"\r\n")
    assert lines[0].startswith(name.encode() + b": ")
    for line in lines:
        assert b"\r" not in line
        assert b"\n" not in line
        assert len(line) <= (76 if b"=?" in line else 998)
        assert line.strip()
    assert all(line.startswith(b" ") for line in lines[1:])


@given(NAME, TEXT | ASCII)
@example("Subject", "Votre commande n° 42 est confirmée")
@example("Subject", "=?utf-8?q?not_decoded?=")
@example("Subject", " spaces \t around  ")
@example("Subject", "x" * 300)
@example("Subject", "naïve 👩‍👩‍👧‍👦 " * 20)
def test_text_comes_out_as_it_went_in(name: str, value: str) -> None:
    raw = headers.text(name, value)
    assert_well_formed(raw, name)
    assert modern(raw)[name] == value
    assert classic(raw, name) == value
    assert parse_email(raw + b"\r\n").headers[name] == [value]


@given(st.text(max_size=40), st.sampled_from("\r\n\0\x0b\x1b\x7f"), st.text(max_size=40))
@example("Hello", "\n", "Bcc: someone@example.com")
def test_control_characters_are_refused_everywhere(before: str, control: str, after: str) -> None:
    value = before + control + after
    with pytest.raises(HeaderRefused):
        headers.text("Subject", value)
    with pytest.raises(HeaderRefused):
        headers.custom("List-Id", value)
    with pytest.raises(HeaderRefused):
        headers.mailbox("From", value, ADDRESS)
    with pytest.raises(HeaderRefused):
        headers.with_file_name("Content-Disposition", "attachment", value)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(HeaderRefused, match="surrogate"):
        headers.text("Subject", "\ud83d")


@given((TEXT | ASCII).map(str.strip).filter(bool))
@example('Zoé "la" Boutique, Paris')
@example("Müller, Jörg; Söhne & Töchter (Großhandel) <info>" * 4)
@example("shop@example.com")
@example("0 \xa00")
def test_display_names_and_addresses_stay_together(display: str) -> None:
    raw = headers.mailbox("From", display, ADDRESS)
    assert_well_formed(raw, "From")
    (found,) = modern(raw)["From"].addresses
    assert found.addr_spec == str(ADDRESS)
    # this parser puts spaces between encoded words that stand in a name, against RFC 2047 6.2, and makes one space of
    # several, of whatever kind
    if raw.count(b"=?utf-8?") > 1:
        assert found.display_name.replace(" ", "") == display.replace(" ", "")
    else:
        assert found.display_name.split() == display.split()
    parsed = message_from_bytes(raw + b"\r\n", policy=policy.compat32)["From"].replace("\r\n", "")
    name, address = parseaddr(parsed)
    assert (str(make_header(decode_header(name))), address) == (display, str(ADDRESS))
    other = parse_email(raw + b"\r\n").from_
    assert other is not None
    assert (other.display_name, other.address) == (display, str(ADDRESS))


def test_list_unsubscribe_stays_a_list_of_addresses_however_long() -> None:
    value = f"<https://example.com/u?token={'0123456789' * 20}&l=a, b>, <mailto:stop@example.com?subject=stop>"
    raw = headers.custom("List-Unsubscribe", value)
    assert raw == (
        b"List-Unsubscribe: <https://example.com/u?token=" + b"0123456789" * 20 + b"&l=a, b>,\r\n"
        b" <mailto:stop@example.com?subject=stop>\r\n"
    )
    assert modern(raw)["List-Unsubscribe"] == value


@pytest.mark.parametrize("value", ["<https://example.com/é>", "", " a", "tab\there", "<" + "x" * 998 + ">"])
def test_structured_headers_refuse_what_would_break_them(value: str) -> None:
    with pytest.raises(HeaderRefused):
        headers.custom("List-Unsubscribe", value)


@given((TEXT | ASCII).map(str.strip).filter(bool))
@example("été à la plage.pdf")
@example('quo"ted\\name.pdf')
@example("<>")
@example("<a>.pdf")
@example("x" * 200)
@example("facture n° " + "1234567890" * 15 + ".pdf")
def test_file_names_come_out_as_they_went_in(name: str) -> None:
    raw = headers.with_file_name("Content-Disposition", "attachment", name)
    assert_well_formed(raw, "Content-Disposition")
    assert all(len(line) <= 78 for line in raw.split(b"\r\n"))
    assert message_from_bytes(raw + b"\r\n", policy=policy.compat32).get_filename() == name
    disposition = cast(ContentDispositionHeader, modern(raw)["Content-Disposition"])
    assert disposition.content_disposition == "attachment"
    assert disposition.params["filename"] == name


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("Zoe.Muller+x@Example.com", "Zoe.Muller+x", "Example.com"),
        ("a@exämple.org", "a", "xn--exmple-cua.org"),
        ("élodie@straße.example", "élodie", "xn--strae-oqa.example"),
        ('"a b"@example.com', '"a b"', "example.com"),
        ("root@localhost", "root", "localhost"),
    ],
)
def test_addresses_are_read(text: str, local: str, domain: str) -> None:
    address = parse_address(text)
    assert (address.local, address.domain) == (local, domain)
    assert address.smtputf8 is not local.isascii()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "@example.com",
        "a@",
        "a..b@example.com",
        ".a@example.com",
        "a b@example.com",
        "a@exa mple.com",
        "a@example..com",
        "a@-example.com",
        "a@example.com.",
        "a@example.com>",
        "a@example.com\r\nRCPT TO:<b@example.com>",
        "a\u2028b@example.com",
        '"a"b"@example.com',
        "a@[127.0.0.1]",
        "a@exa_mple.com",
        "a@b@example.com",
        "x" * 65 + "@example.com",
        "é" * 33 + "@example.com",
        "a@" + "b." * 130 + "com",
        "\ud800@example.com",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|domain|@") as refused:
        parse_address(text)
    assert text not in str(refused.value) or len(text) < 3


@given(st.text(max_size=80))
def test_no_address_breaks_an_smtp_command(text: str) -> None:
    try:
        address = str(parse_address(text))
    except ValueError:
        return
    assert not any(character in address for character in "\r\n\0<>\t")
    assert address.count("@") == 1 or address.startswith('"')
