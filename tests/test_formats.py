"""Money, numbers, dates and URLs in the language of the message, and what becomes of values that are none."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Channel, Part, Settings, TemplateError, elements
from petitbleu.rendering import Renderer
from petitbleu.rendering.formats import locale_of, url
from petitbleu.rendering.snapshots import Meta, Snapshot

CHANNEL = Channel("email", "email", Settings, parts=(Part("text", "body.txt.j2"),))
RENDERER = Renderer([CHANNEL], lambda environment, channel: None, time_zone=ZoneInfo("Europe/Paris"))
MOMENT = datetime(2026, 11, 23, 18, 30, 5, tzinfo=timezone(timedelta(hours=-5)))


def show(expression: str, value: Any = None, language: str = "en") -> str:
    content = Snapshot(
        "t", "email", Meta(), {}, {"text": dict.fromkeys(("", "fr", "de", "ja", "ar"), f"{{{{ {expression} }}}}")}
    )
    rendered = RENDERER.compile(content).render(language, {"v": elements(value)}).parts["text"]
    return rendered.replace("\u00a0", "_").replace("\u202f", "_")


@pytest.mark.parametrize(
    ("expression", "value", "language", "expected"),
    [
        ("v|money('EUR')", "89.90", "en", "€89.90"),
        ("v|money('EUR')", "89.90", "fr", "89,90_€"),
        ("v|money('CAD')", "1289.9", "fr-CA", "1_289,90_$"),
        ("v|money('CAD')", "1289.9", "en-CA", "$1,289.90"),
        ("v|money('JPY')", "1289", "ja", "￥1,289"),
        ("v|money('EUR')", {"@currency": "EUR", "#text": " -5 "}, "de", "-5,00_€"),
        ("v.total|money(v.currency)", {"total": "0.005", "currency": "USD"}, "en", "$0.00"),
        ("v|money('EUR')", 12, "en", "€12.00"),
        ("v|number", "1234567.891", "en", "1,234,567.891"),
        ("v|number", "1234567.891", "fr", "1_234_567,891"),
        ("v|number(2)", "1234.5", "de", "1.234,50"),
        ("v|number(0)", Decimal("2.5"), "en", "2"),
        ("v|percent", "0.256", "en", "26%"),
        ("v|percent(1)", "0.256", "fr", "25,6_%"),
        ("v|percent(1)", 0.256, "en", "25.6%"),
        ("v|date", "2026-11-23", "en", "Nov 23, 2026"),
        ("v|date('long')", "2026-11-23", "fr", "23 novembre 2026"),
        ("v|date('d MMMM yyyy')", "2026-11-23T23:59:00Z", "fr-CA", "24 novembre 2026"),
        ("v|date('short')", "2026-11-23 08:00:00", "en-GB", "23/11/2026"),
        ("v|date", date(2026, 2, 1), "de", "01.02.2026"),
        ("v|date", MOMENT, "en", "Nov 24, 2026"),
        ("v|time", "2026-11-23T18:30:00Z", "fr", "19:30"),
        ("v|time", "18:30", "fr", "18:30"),
        ("v|time", "18:30", "en", "6:30_PM"),
        ("v|time", time(7, 5), "en-GB", "07:05"),
        ("v|datetime('short')", "2026-07-01T10:00:00+00:00", "fr", "01/07/2026 12:00"),
        ("v|datetime('yyyy-MM-dd HH:mm Z')", "2026-11-23T10:00", "en", "2026-11-23 10:00 +0100"),
    ],
)
def test_formats(expression: str, value: Any, language: str, expected: str) -> None:
    assert show(expression, value, language) == expected


def test_a_country_without_formats_of_its_own_uses_the_language() -> None:
    assert show("v|money('EUR')", "5", "fr-ZZ") == "5,00_€"
    assert show("v|money('EUR')", "5", "en-ZZ") == "€5.00"
    with pytest.raises(ValueError, match="no number and date formats are known for the language 'xx'"):
        locale_of("xx")


@pytest.mark.parametrize(
    ("expression", "value", "text"),
    [
        ("v|money('EUR')", "89,90 €", "v|money: this text is not a number such as 89.90"),
        ("v|money('EUR')", "", "v|money: an empty text is not a number such as 89.90"),
        ("v.a.b|money('EUR')", {"a": {"b": "x"}}, "v.a.b|money: this text is not a number"),
        ("v|money('EUR')", ["1"], "v|money: a list is not a number"),
        ("v|money('EURO')", "1", "v|money: the currency must be an ISO 4217 code such as 'EUR'"),
        ("v|money", "1", "v|money: the currency must be"),
        ("v|number", "NaN", "v|number: a number out of range"),
        ("v|number", "Infinity", "v|number: a number out of range"),
        ("v|number", True, "v|number: a bool is not a number"),
        ("v|number(-1)", "1", "v|number: 0 to 20 decimals"),
        ("v|date", "23/11/2026", "v|date: not an ISO 8601 date or time such as 2026-11-23"),
        ("v|date", "18:30", "v|date: a time of day has no date"),
        ("v|time", "2026-11-23", "v|time: a date alone has no time of day"),
        ("v|datetime", "2026-11-23", "v|datetime: a date and a time of day are needed"),
        ("v|date('')", "2026-11-23", "v|date: the format must be one of short, medium, long, full"),
        ("v|url", "/track", "v|url: an absolute http or https URL is needed"),
    ],
)
def test_what_cannot_be_shown_names_path_and_kind(expression: str, value: Any, text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        show(expression, value)
    assert text in str(caught.value)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_numbers_keep_their_value(value: Decimal) -> None:
    assert Decimal(show("v|number(2)", str(value)).replace(",", "")) == value


# --------------------------------------------------------------------------------------------------------- urls


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (
            "'https://shop.example.com/track'|url(order='A 1/2', utm='mail')",
            "https://shop.example.com/track?order=A%201%2F2&utm=mail",
        ),
        ("'https://shop.example.com/t?a=1#top'|url(b='&=é')", "https://shop.example.com/t?a=1&b=%26%3D%C3%A9#top"),
        ("'https://shop.example.com/o/'|url('A/1', 'pdf')", "https://shop.example.com/o/A%2F1/pdf"),
        ("'https://shop.example.com'|url('x')", "https://shop.example.com/x"),
        ("'https://shop.example.com'|url(tag=['a', 'b'], none=none, n=5)", "https://shop.example.com?tag=a&tag=b&n=5"),
        ("'a b&c'|urlencode", "a%20b%26c"),
    ],
)
def test_urls(expression: str, expected: str) -> None:
    assert show(expression) == expected


@given(
    st.dictionaries(st.text(min_size=1), st.text()),
    st.lists(st.text(min_size=1).filter(lambda text: text not in (".", "..")), max_size=3),
)
def test_urls_carry_what_they_are_given(query: dict[str, str], segments: list[str]) -> None:
    found = urlsplit(url("https://shop.example.com/base?x=1", *segments, **query))
    assert found.netloc == "shop.example.com"
    assert [unquote(part) for part in found.path.split("/")[2:]] == segments
    assert parse_qsl(found.query, keep_blank_values=True) == [("x", "1"), *query.items()]


@pytest.mark.parametrize("segment", [".", ".."])
def test_segments_cannot_climb(segment: str) -> None:
    with pytest.raises(ValueError, match="no path segment"):
        url("https://shop.example.com/o", segment)


@pytest.mark.parametrize(
    "base",
    ["", "shop.example.com", "//x", "javascript:alert(1)", "data:text/html,x", "ftp://x/", "https://", "https://a b/"],
)
def test_only_web_addresses_are_extended(base: str) -> None:
    with pytest.raises(ValueError, match="an absolute http or https URL"):
        url(base, a="1")
