"""What callers write as addresses and times: refused unless it is exactly right, never repaired."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

LONGEST_EMAIL = 254
"""RFC 5321 allows a path of 256 octets, the angle brackets included."""

LONGEST_TOKEN = 4096
DEVICE = 255
"""Characters of a token by which events are found: all of most tokens, and of a browser's subscription its endpoint."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
COMMON_EMAIL = re.compile(
    rf"(?=[^@]{{1,64}}@)(?=.{{6,{LONGEST_EMAIL}}}\Z){_ATOM}(?:\.{_ATOM})*@"
    rf"(?=.{{4,253}}\Z)(?:(?={_LABEL}\.)[A-Za-z0-9-]{{1,63}}\.)+[A-Za-z]{{2,63}}\Z",
    re.ASCII,
)
"""Most addresses there are; whatever it takes, email-validator takes too."""

_PHONE = re.compile(r"\+?[0-9 ().\-/]{3,40}", re.ASCII)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?: ?([Zz]|[+-]\d\d(?::?\d\d)?))?", re.ASCII
)


def email_address(text: str) -> str:
    """`text`, if it is an email address (RFC 5321, RFC 6531) whose domain has a dot. Raises `ValueError`."""
    if COMMON_EMAIL.match(text):
        return text
    if not text.isprintable():
        raise ValueError("is not an email address: it holds a control or invisible character")
    try:
        found = validate_email(text, check_deliverability=False, globally_deliverable=False, strict=True)
    except EmailNotValidError as error:
        raise ValueError(f"is not an email address: {error}") from None
    if len(text.encode()) > LONGEST_EMAIL:
        raise ValueError(f"is not an email address: it is longer than {LONGEST_EMAIL} octets")
    if not re.search(r"\.[^.]*[^.0-9][^.]*$", found.ascii_domain):
        raise ValueError("is not an email address: its domain should be a name with a dot, such as example.com")
    local, _, domain = text.rpartition("@")
    if local != found.local_part or domain.lower() not in (found.domain, found.ascii_domain):
        raise ValueError(f"is not an email address in its normal form, which is {found.normalized}")
    return text


def phone_number(text: str, country: str = "") -> str:
    """The number as E.164 has it, such as `+33612345678`.

    Without a leading `+` it is read as dialled in `country` (ISO 3166-1 alpha-2). Its length must fit the country's
    numbering plan; whether the number is in use nobody can tell from here. Raises `ValueError`.
    """
    if _E164.fullmatch(text) and _plainly_possible(text):
        return text
    region = country.upper() if country.upper() in phonenumbers.SUPPORTED_REGIONS else None
    if not _PHONE.fullmatch(text):
        raise ValueError("is not a phone number; write it as +33612345678")
    if not text.startswith("+") and region is None:
        raise ValueError("is not in international form; write it as +33612345678, or give country as two letters")
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise ValueError("is not a phone number; write it as +33612345678") from None
    if not phonenumbers.is_possible_number(number):
        raise ValueError(f"is not a phone number: it does not fit the numbering plan of +{number.country_code}")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _plainly_possible(text: str) -> bool:
    """Whether phonenumbers would read a number in E.164 as it is written, told without its long way round."""
    for end in (2, 3, 4):
        if (plan := _numbering_plan(text[1:end])) is not None:
            lengths, prefix = plan
            national = text[end:]
            plain = not national.startswith("0") and (prefix is None or prefix.match(national) is None)
            return plain and len(national) in lengths
    return False


@cache
def _numbering_plan(calling_code: str) -> tuple[frozenset[int], re.Pattern[str] | None] | None:
    """How many digits a national number may have, and what some countries dial before it."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(calling_code))
    if regions is None:
        return None
    found = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(calling_code), regions[0])
    if found is None:
        return None
    prefix = found.national_prefix_for_parsing
    lengths = () if found.general_desc is None else found.general_desc.possible_length
    return frozenset(lengths), None if prefix is None else re.compile(prefix)


def registration_token(text: str) -> str:
    """`text`, if it can be a push service's device token: visible ASCII characters. Raises `ValueError`."""
    if len(text) > LONGEST_TOKEN:
        raise ValueError(f"is not a registration token: it has {len(text)} characters; the limit is {LONGEST_TOKEN}")
    if not _TOKEN.fullmatch(text):
        raise ValueError("is not a registration token: only visible ASCII characters may be in it")
    return text


def instant(text: str, time_zone: tzinfo) -> datetime:
    """The moment that an ISO 8601 date and time names, in UTC.

    `T` or a space stands between the two; without `Z` or an offset it is a time of `time_zone`. Of an hour that comes
    twice when clocks go back the first is meant; one that clocks jump over is refused. Raises `ValueError`.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("is not a date and time; write it as 2026-12-31T23:59:59Z")
    *numbers, fraction, zone = found.groups()
    year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
    try:
        local = datetime(year, month, day, hour, minute, second, int(((fraction or "") + "000000")[:6]))
        moment = local.replace(tzinfo=_offset(zone) if zone else time_zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is not a date and time: {error}") from None
    if not zone and moment.astimezone(time_zone).replace(tzinfo=None) != local:
        raise ValueError(f"is a time that {time_zone} does not have: clocks go forward over it")
    return moment


def _offset(zone: str) -> tzinfo:
    if zone in "Zz":
        return UTC
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{zone} is not an offset from UTC")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if zone[0] == "-" else offset)


def device(addresses: Mapping[str, str]) -> str:
    """As much of an address that is neither an email address nor a phone number as events are found by."""
    return next((one[:DEVICE] for name, one in addresses.items() if name not in ("email", "mobilePhone")), "")
