"""Senders and numbers: what a sender may be, which one a message gets, and where a number is at home."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

import phonenumbers

from .alphabet import is_gsm, septets

SenderKind = Literal["international", "short", "alphanumeric"]
Senders = Mapping[str, Mapping[str, str]]

_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{4,14}")
_SHORT = re.compile(r"[0-9]{1,8}")
LONGEST_NAME = 11
"""Septets of an alphanumeric sender (GSM 03.40, 9.1.2.5: ten octets of septets)."""


def sender_kind(sender: str) -> SenderKind:
    """What it looks like. Raises `ValueError` for what no handset would show."""
    if _INTERNATIONAL.fullmatch(sender):
        return "international"
    if _SHORT.fullmatch(sender):
        return "short"
    if not sender or sender != sender.strip() or not is_gsm(sender) or "\n" in sender or "\r" in sender:
        raise ValueError(f"{sender[:40]!r} is not a sender: a number as +33612345678, a short number, or a name")
    if septets(sender) > LONGEST_NAME:
        raise ValueError(f"{sender[:40]!r} is too long a sender: a name has at most {LONGEST_NAME} characters")
    if not any(char.isalpha() for char in sender):
        raise ValueError(f"{sender[:40]!r} is not a sender: write a number as +33612345678")
    return "alphanumeric"


check_sender = sender_kind


def calling_code(number: str) -> str:
    """`+33` of an E.164 number such as `+33612345678`; "" where no country has it."""
    for digits in (2, 3, 4):
        if number[1:digits].isdigit() and int(number[1:digits]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return number[:digits]
    return ""


@lru_cache(maxsize=4096)
def region(number: str) -> str:
    """The country of an E.164 number (ISO 3166-1), "" where none has it."""
    code = calling_code(number)
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code or 0), ())
    if len(regions) == 1:
        return str(regions[0]) if regions[0] != "001" else ""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number)) or ""
    except phonenumbers.NumberParseException:
        return ""


def choose_sender(tables: Iterable[Senders], brand: str, number: str) -> str:
    """The first table that has one for this brand or any, for the country of `number` or any; "" where none has."""
    for table in tables:
        for countries in (table.get(brand), table.get("*")):
            if countries is None:
                continue
            if set(countries) - {"*"} and (found := countries.get(region(number))):
                return found
            if "*" in countries:
                return countries["*"]
    return ""
