"""Whole messages: what the template rendered is what two independent parsers read, whatever the text is."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.message import Message as ClassicMessage
from typing import Any, cast

import pytest
from fast_mail_parser import parse_email
from hypothesis import example, given
from hypothesis import strategies as st
from petitbleu import Content, Event, Message, Queue, TemplateRef
from petitbleu_email.compose import Composer, MessageRefused, cid, content_id, message_id
from petitbleu_email.embedding import MOST, embed
from petitbleu_email.fields import EmailFields
from petitbleu_email.mime import message as whole
from petitbleu_email.mime import multipart, text_entity
from petitbleu_email.plain import plain_text
from pydantic import ValidationError

PNG = bytes(range(256)) * 3
FIELDS = {"subject": "Your order", "sender": '"Petit Bleu" <orders@example.com>'}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)


def make(parts: dict[str, str], fields: dict[str, Any] | None = None, **changes: Any) -> Message:
    event = Event(
        72057594037927936,
        "order_confirmation",
        Queue.REALTIME,
        "email",
        changes.pop("data", {}),
        datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
    )
    content = Content(parts, {**FIELDS, **(fields or {})}, changes.pop("files", {}))
    template = TemplateRef("order_confirmation", "email", 3)
    message = Message(event, "email", "zoe@example.org", "shop", template, content, f"{event.id}@demo")
    return replace(message, **changes)


def composed(message: Message) -> bytes:
    return Composer(max_size=10_000_000, cached_files=8).compose(message).content


def parsed(raw: bytes) -> EmailMessage:
    found = message_from_bytes(raw, policy=policy.default)
    assert [part.defects for part in found.walk()] == [[] for _ in found.walk()]
    return found


def shape(part: EmailMessage) -> Any:
    name = part.get_content_type()
    return (name, [shape(cast(EmailMessage, inner)) for inner in part.iter_parts()]) if part.is_multipart() else name


def crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")


def assert_fit_for_the_wire(raw: bytes) -> None:
    assert raw.isascii()
    assert raw.endswith(b"\r\n")
    lines = raw.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert max(map(len, lines)) <= 998
    body = raw.partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert max(map(len, body)) <= 78


@given(TEXT, TEXT)
@example("a" * 5000, "é" * 5000)
@example("From me\nto you \n.\n..\n=_\n\ttab\t", "\r\r\n\n")
@example("no line end", "plain & simple\n")
@example("= " * 60, "x" * 75 + " \n" + "y" * 76 + "\n" + "z" * 77)
def test_texts_come_out_as_they_went_in(text: str, html: str) -> None:
    alternatives = multipart("alternative", "=_b", [text_entity(text, "plain"), text_entity(html, "html")])
    raw = whole(b"Subject: x\r\nMIME-Version: 1.0\r\n", alternatives)
    assert_fit_for_the_wire(raw)
    for found in (message_from_bytes(raw, policy=policy.default), message_from_bytes(raw, policy=policy.compat32)):
        parts = cast(list[ClassicMessage], found.get_payload())
        assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
        bodies = [cast(bytes, part.get_payload(decode=True)).decode() for part in parts]
        assert bodies == [crlf(text), crlf(html)]
    other = parse_email(raw)
    assert ([crlf(body) for body in other.text_plain], [crlf(body) for body in other.text_html]) == (
        [crlf(text)],
        [crlf(html)],
    )


@given(TEXT)
def test_a_single_text_comes_out_as_it_went_in(text: str) -> None:
    raw = whole(b"Subject: x\r\nMIME-Version: 1.0\r\n", text_entity(text, "plain"))
    assert_fit_for_the_wire(raw)
    body = cast(bytes, parsed(raw).get_payload(decode=True)).decode()
    assert body.removesuffix("\r\n") == crlf(text).removesuffix("\r\n")


@given(st.lists(st.sampled_from(["--=_b", "--=_b--", "\r\n", "\n", "Content-Type: text/html", " ", "é", "--"])))
def test_no_text_closes_its_part(pieces: list[str]) -> None:
    text = "".join(pieces)
    raw = whole(b"MIME-Version: 1.0\r\n", multipart("mixed", "=_b", [text_entity(text, "plain")] * 2))
    found = message_from_bytes(raw, policy=policy.compat32)
    parts = cast(list[ClassicMessage], found.get_payload())
    assert [cast(bytes, part.get_payload(decode=True)).decode() for part in parts] == [crlf(text)] * 2


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Hello,\nyour order is on its way.\n", "7bit"),
        ("Bonjour,\nvotre commande est confirmée.\n", "quoted-printable"),
        ("x" * 77, "quoted-printable"),
        ("From here\n", "quoted-printable"),
        ("a =_ b\n", "quoted-printable"),
        ("ends in space \n", "quoted-printable"),
        ("ご注文を承りました。", "base64"),
        ("nul \0 here", "base64"),
    ],
)
def test_the_encoding_fits_the_text(text: str, encoding: str) -> None:
    assert f"Content-Transfer-Encoding: {encoding}\r\n".encode() in text_entity(text, "plain").header


@given(st.binary(max_size=5000), st.booleans())
def test_files_come_out_as_they_went_in(data: bytes, inline: bool) -> None:
    message = make(
        {"html": f"<img src='{cid('logo.png')}'>"},
        {"attachments": [{"file": "logo.png", "inline": inline, "name": "été.png"}]},
        files={"logo.png": data},
    )
    raw = composed(message)
    assert_fit_for_the_wire(raw)
    (part,) = [part for part in parsed(raw).walk() if part.get_content_type() == "image/png"]
    assert part.get_content() == data
    assert part.get_filename() == "été.png"
    assert part.get_content_disposition() == ("inline" if inline else "attachment")
    (other,) = parse_email(raw).attachments
    assert (other.content, other.filename, other.mimetype) == (data, "été.png", "image/png")
    assert (other.content_id or "").strip("<>") == (content_id("logo.png") if inline else "")


def test_a_page_shows_the_images_of_a_message_as_far_as_there_is_room() -> None:
    html = "".join(f"<img src='{cid(name)}'>" for name in ("logo.png", "logo.png", "big.png", "a.pdf"))
    fields = {
        "subject": "Hello",
        "attachments": [{"file": name, "inline": True} for name in ("logo.png", "big.png", "a.pdf", "lost.png")],
    }
    files = {"logo.png": PNG, "big.png": bytes(MOST), "a.pdf": b"%PDF"}
    shown = embed(Content({"html": html, "text": "Hello"}, fields, files))
    image = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert shown == {"html": html.replace(cid("logo.png"), image), "text": "Hello"}
    # nobody looks at a page of an image that is no message's
    assert embed(Content({"html": html}, {"subject": "a\nb"}, files)) == {"html": html}


@pytest.mark.parametrize(
    ("wanted", "parts", "expected"),
    [
        ({}, "ht", ("multipart/alternative", ["text/plain", "text/html"])),
        ({"emailFormat": "0"}, "ht", ("multipart/alternative", ["text/plain", "text/html"])),
        ({"emailFormat": "0"}, "t", "text/plain"),
        ({"emailFormat": "0"}, "h", ("multipart/alternative", ["text/plain", "text/html"])),
        ({"emailFormat": "1"}, "ht", "text/plain"),
        ({"emailFormat": "Text"}, "h", "text/plain"),
        ({"emailFormat": "2"}, "ht", "text/html"),
        ({"emailFormat": "HTML"}, "t", "text/plain"),
        ({"emailFormat": 3}, "h", ("multipart/alternative", ["text/plain", "text/html"])),
        ({"emailFormat": "multipart"}, "t", "text/plain"),
    ],
)
def test_email_format_chooses_the_parts(wanted: dict[str, Any], parts: str, expected: Any) -> None:
    available = {"h": ("html", "<p>Hello &amp; welcome</p>"), "t": ("text", "Hello & welcome")}
    found = parsed(composed(make(dict(available[part] for part in parts), data=wanted)))
    assert shape(found) == expected
    plain = found.get_body(("plain",))
    assert plain is None or plain.get_content().strip() == "Hello & welcome"


def test_everything_at_once_is_nested_as_mail_programs_expect() -> None:
    files = {"logo.png": PNG, "terms.pdf": b"%PDF", "data.xyz": b"?"}
    attachments = [
        {"file": "logo.png", "inline": True},
        {"file": "terms.pdf", "name": "Conditions générales.pdf"},
        {"file": "data.xyz", "content_type": "application/vnd.example+json"},
    ]
    found = parsed(composed(make({"html": "<p>x</p>", "text": "x"}, {"attachments": attachments}, files=files)))
    related = ("multipart/related", ["text/html", "image/png"])
    assert shape(found) == (
        "multipart/mixed",
        [("multipart/alternative", ["text/plain", related]), "application/pdf", "application/vnd.example+json"],
    )
    text_only = make({"html": "<p>x</p>"}, {"attachments": attachments}, files=files, data={"emailFormat": "1"})
    assert shape(parsed(composed(text_only))) == (
        "multipart/mixed",
        ["text/plain", "application/pdf", "application/vnd.example+json"],
    )


def test_headers_say_who_what_when_and_that_a_machine_wrote_it() -> None:
    found = parsed(
        composed(
            make(
                {"text": "x"},
                {
                    "subject": "Votre commande est confirmée",
                    "sender": {"name": "Zoé, la boutique", "address": "boutique@exämple.org"},
                    "reply_to": "aide@exämple.org",
                    "headers": {"X-Campaign": "été", "List-Id": "<orders.example.com>"},
                },
            )
        )
    )
    assert found["From"] == '"Zoé, la boutique" <boutique@xn--exmple-cua.org>'
    assert found["To"] == "zoe@example.org"
    assert found["Reply-To"] == "aide@xn--exmple-cua.org"
    assert found["Subject"] == "Votre commande est confirmée"
    assert found["Date"] == "Mon, 23 Nov 2026 09:30:00 +0000"
    assert found["Message-ID"] == "<72057594037927936.demo@xn--exmple-cua.org>"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["X-Event-Id"] == "72057594037927936"
    assert found["MIME-Version"] == "1.0"
    assert found["X-Campaign"] == "été"
    assert found["List-Id"] == "<orders.example.com>"
    assert len(list(found)) == len({name.lower() for name in found})


def test_a_repeat_is_the_same_message_in_every_byte() -> None:
    message = make({"html": "<p>é</p>"}, {"attachments": [{"file": "a.png", "inline": True}]}, files={"a.png": PNG})
    assert composed(message) == composed(message)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_message_ids_are_valid_for_any_instance_name(instance: str) -> None:
    found = message_id(f"1@{instance}", "example.com")
    left = found.removeprefix("<").removesuffix("@example.com>")
    assert left.isascii()
    assert all(atom and not set(atom) & set(' "(),:;<>@[\\]') and atom.isprintable() for atom in left.split("."))


def test_smtputf8_is_needed_for_local_parts_only() -> None:
    composer = Composer(max_size=1_000_000, cached_files=8)
    ascii_local = make({"text": "é"}, {"sender": "a@exämple.org"}, address="b@exämple.org")
    assert composer.compose(ascii_local).smtputf8 is False
    for message in (
        make({"text": "x"}, address="élodie@example.org"),
        make({"text": "x"}, {"sender": "élodie@example.org"}),
        make({"text": "x"}, {"reply_to": "élodie@example.org"}),
    ):
        mail = composer.compose(message)
        assert mail.smtputf8 is True
        assert "élodie@example.org\r\n".encode() in mail.content.replace(b">", b"")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (make({}), "neither body.html.j2 nor body.txt.j2"),
        (make({"text": "x"}, {"sender": None}), "no sender"),
        (make({"text": "x"}, {"attachments": [{"file": "gone.pdf"}]}), "gone.pdf, which is not in"),
        (make({"text": "x"}, {"subject": "a\nBcc: b@example.com"}), "subject: .*line breaks"),
        (make({"text": "x"}, address="nobody"), "has an @"),
        (make({"text": "\ud800"}), "half a character"),
        (make({"html": "<p>\ud800</p>"}), "half a character"),
        (make({"text": "x"}, data={"emailFormat": "9"}), "emailFormat"),
        (make({"text": "x" * 20_000}), "max_size allows 10000"),
    ],
)
def test_what_cannot_be_an_email_is_refused_with_the_reason(message: Message, words: str) -> None:
    with pytest.raises(MessageRefused, match=words):
        Composer(max_size=10_000, cached_files=0).compose(message)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"headers": {"Bcc": "a@example.com"}}, "Bcc is written by Petitbleu"),
        ({"headers": {"X-Event-Token": "a"}}, "X-Event-Token is written by Petitbleu"),
        ({"headers": {"Content-Type": "text/html"}}, "Content-Type is written by Petitbleu"),
        ({"headers": {"X A": "b"}}, "not a header name"),
        ({"headers": {"X-A:": "b"}}, "not a header name"),
        ({"headers": {"X-A": "b", "x-a": "c"}}, "given twice"),
        ({"headers": {"X-A": "b\r\nBcc: c@example.com"}}, "line breaks"),
        ({"subject": "a\0b"}, "control characters"),
        ({"sender": "Shop orders@example.com"}, "address"),
        ({"sender": {"name": "a\nb", "address": "a@example.com"}}, "line breaks"),
        ({"attachments": [{"file": "a.pdf", "name": "../a.pdf"}]}, "no folders"),
        ({"attachments": [{"file": "a.pdf", "content_type": "message/rfc822"}]}, "not a media type"),
        ({"subjekt": "x"}, "subjekt"),
    ],
)
def test_template_fields_are_checked(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EmailFields.model_validate({**FIELDS, **fields})


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("orders@example.com", "", "orders@example.com"),
        ("Petit Bleu <orders@example.com>", "Petit Bleu", "orders@example.com"),
        ('"Bleu, \\"Petit\\"" <orders@example.com>', 'Bleu, "Petit"', "orders@example.com"),
        (" <orders@example.com> ", "", "orders@example.com"),
    ],
)
def test_senders_may_be_written_on_one_line(text: str, name: str, address: str) -> None:
    fields = EmailFields.model_validate({"subject": "x", "sender": text})
    assert fields.sender is not None
    assert (fields.sender.name, fields.sender.address) == (name, address)
    assert EmailFields.model_validate(fields.model_dump()) == fields
    assert json.dumps(EmailFields.model_json_schema())


def test_text_from_html_reads_well() -> None:
    source = """<?xml version="1.0" encoding="utf-8"?><html><head><title>no</title><style>p {}</style></head><body>
        <div style="display:none">preheader</div><h1>Your order</h1><p>Hello Zoé,</p>
        <p>it is <a href="https://example.com/o?a=1&amp;b=2"><b>on its way</b></a>.</p>
        <ul><li>Tea</li><li>Cups</li></ul><p>Questions? <a href="mailto:help@example.com">help@example.com</a></p>
        <a href="#top">up</a></body></html>"""
    assert (
        plain_text(source).split()
        == (
            "Your order Hello Zoé, it is on its way <https://example.com/o?a=1&b=2> ."
            " * Tea * Cups Questions? help@example.com up"
        )
        .replace("> .", ">.")
        .split()
    )
    assert plain_text("") == ""
    assert plain_text("<!-- nothing -->") == ""


def test_multipart_boundaries_are_quoted_and_distinct() -> None:
    inner = multipart("alternative", "=_x_a", [text_entity("x", "plain")])
    outer = multipart("mixed", "=_x_m", [inner])
    assert b'boundary="=_x_m"' in outer.header
    assert outer.body.count(b"--=_x_a") == 2
    assert outer.body.count(b"--=_x_m") == 2
