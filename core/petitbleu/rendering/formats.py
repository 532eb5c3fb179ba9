"""Filters that write money, numbers, dates and URLs, by the language of the message (CLDR data from Babel)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, tzinfo
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal, format_percent, list_currencies
from jinja2 import pass_context
from jinja2.runtime import Context

from ..languages import fallbacks
from .budget import printed
from .filters import decimal

STYLES = ("short", "medium", "long", "full")
PATTERN_LIMIT = 100
"""Characters of a CLDR date pattern."""
DIGITS_LIMIT = 20


@lru_cache(maxsize=512)
def locale_of(language: str) -> Locale:
    """The locale of a BCP 47 tag, or of its language. Raises `ValueError` for a language CLDR does not know."""
    for tag in fallbacks(language):
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    raise ValueError(f"no number and date formats are known for the language {language!r}")


def format_filters(time_zone: tzinfo) -> Mapping[str, Callable[..., Any]]:
    """The filters by name; moments are shown in `time_zone`."""

    @pass_context
    def money(context: Context, value: Any, currency: str = "") -> str:
        if currency not in _currencies():
            raise ValueError("the currency must be an ISO 4217 code such as 'EUR'")
        return format_currency(decimal(value), currency, locale=_locale(context))

    @pass_context
    def number(context: Context, value: Any, decimals: int | None = None) -> str:
        if decimals is None:
            return format_decimal(decimal(value), locale=_locale(context), decimal_quantization=False)
        return format_decimal(decimal(value), _places("#,##0", decimals), locale=_locale(context))

    @pass_context
    def percent(context: Context, value: Any, decimals: int = 0) -> str:
        locale = _locale(context)
        pattern = locale.percent_formats[None].pattern
        return format_percent(decimal(value), pattern.replace("0", _places("0", decimals), 1), locale=locale)

    @pass_context
    def show_date(context: Context, value: Any, format: str = "medium") -> str:
        moment = _moment(value)
        if isinstance(moment, time):
            raise ValueError("a time of day has no date")
        if isinstance(moment, datetime):
            moment = _local(moment, time_zone)
        return format_date(moment, _style(format), locale=_locale(context))

    @pass_context
    def show_time(context: Context, value: Any, format: str = "short") -> str:
        moment = _moment(value)
        if isinstance(moment, datetime):
            return format_time(_local(moment, time_zone), _style(format), time_zone, locale=_locale(context))
        if isinstance(moment, date):
            raise ValueError("a date alone has no time of day")
        return format_time(moment, _style(format), locale=_locale(context))

    @pass_context
    def show_datetime(context: Context, value: Any, format: str = "medium") -> str:
        moment = _moment(value)
        if not isinstance(moment, datetime):
            raise ValueError("a date and a time of day are needed, such as 2026-11-23T18:30:00Z")
        return format_datetime(_local(moment, time_zone), _style(format), time_zone, locale=_locale(context))

    return {
        "date": show_date,
        "datetime": show_datetime,
        "money": money,
        "number": number,
        "percent": percent,
        "time": show_time,
        "url": url,
    }


def url(base: Any, *segments: Any, **query: Any) -> str:
    """`base` with `segments` added to its path and `query` to its query, percent-encoded (RFC 3986).

    A list gives its parameter several times, `None` leaves it out. Raises `ValueError` unless `base` is an absolute
    http or https URL without white space.
    """
    text = printed(base)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError("an absolute http or https URL is needed, such as https://shop.example.com")
    path = parts.path
    for segment in segments:
        if printed(segment) in (".", ".."):
            raise ValueError("'.' and '..' are no path segment")
        path = f"{path.rstrip('/')}/{quote(printed(segment), safe='')}"
    pairs = [
        (name, printed(item))
        for name, value in query.items()
        for item in (value if isinstance(value, list | tuple) else (value,))
        if item is not None
    ]
    added = urlencode(pairs, quote_via=quote)
    return urlunsplit(parts._replace(path=path, query="&".join(filter(None, (parts.query, added)))))


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def _locale(context: Context) -> Locale:
    return locale_of(context.parent["language"])


def _places(whole: str, decimals: int) -> str:
    count = int(decimals)
    if not 0 <= count <= DIGITS_LIMIT:
        raise ValueError(f"0 to {DIGITS_LIMIT} decimals")
    return whole + ("." + "0" * count if count else "")


def _style(format: str) -> str:
    if format in STYLES:
        return format
    if not isinstance(format, str) or len(format) > PATTERN_LIMIT or not re.search(r"[a-zA-Z]", format):
        raise ValueError(f"the format must be one of {', '.join(STYLES)}, or a CLDR pattern such as 'd MMMM yyyy'")
    return format


def _moment(value: Any) -> datetime | date | time:
    """From ISO 8601: a date, a date with time, or a time of day."""
    if isinstance(value, datetime | date | time):
        return value
    text = printed(value).strip()
    for read in (date.fromisoformat, datetime.fromisoformat, time.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    raise ValueError("not an ISO 8601 date or time such as 2026-11-23 or 2026-11-23T18:30:00Z")


def _local(moment: datetime, time_zone: tzinfo) -> datetime:
    """What has no zone of its own is already local."""
    return moment.replace(tzinfo=time_zone) if moment.tzinfo is None else moment.astimezone(time_zone)


__all__ = ["format_filters", "locale_of", "url"]
