"""One person's address, and every way it may be written in what callers sent and providers said."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

import idna

from ..addresses import DEVICE, email_address, phone_number, registration_token
from ..channels import EMAIL, MOBILE_PHONE, REGISTRATION_TOKEN
from ..suppression import address_key

BLANK = "***"
"""What stands in the place of an address that is forgotten."""
_BETWEEN = r"[ ().\-/\u00a0\u202f]*"


@dataclass(frozen=True)
class Person:
    """`kind` is the attribute of events the address stands in, `key` as the suppression list has it."""

    kind: str
    address: str
    key: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(_written(self.kind, self.address, self.key), re.IGNORECASE)

    @cached_property
    def raw(self) -> re.Pattern[bytes]:
        """The same, of what lies in a file as UTF-8."""
        pattern = _written(self.kind, self.address, self.key)
        if not pattern.isascii():
            return re.compile(pattern.encode(), re.IGNORECASE)
        return re.compile(pattern.replace(r"\u00a0\u202f", "").encode(), re.IGNORECASE)

    def within(self, text: str) -> bool:
        return self._pattern.search(_normal(text)) is not None

    def blanked(self, text: str) -> str:
        """The text without the address."""
        return self._pattern.sub(BLANK, _normal(text))

    def blanked_data(self, value: Any) -> Any:
        """The same of JSON, in names and numbers, too."""
        if isinstance(value, dict):
            return {self.blanked(name): self.blanked_data(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.blanked_data(item) for item in value]
        if isinstance(value, str):
            return self.blanked(value)
        return BLANK if isinstance(value, int | float) and self.within(str(value)) else value

    def is_at(self, address: object) -> bool:
        """Whether a whole value is this address, or what events are found by of a longer one."""
        if not isinstance(address, str) or not address:
            return False
        return address_key(self.kind, address) == self.key or (self._is_cut and address == self.address[:DEVICE])

    @property
    def _is_cut(self) -> bool:
        return self.kind == REGISTRATION_TOKEN and len(self.address) > DEVICE


def person(text: str, country: str = "") -> Person:
    """An email address, a phone number (as dialled in `country`, where it has no +) or a device's token. Raises
    `ValueError`."""
    if "@" in text:
        return Person(EMAIL, text, address_key(EMAIL, email_address(text)))
    if len(text) <= 40 and re.fullmatch(r"\+?[0-9 ().\-/]+", text):
        number = phone_number(text, country)
        return Person(MOBILE_PHONE, number, number)
    return Person(REGISTRATION_TOKEN, text, address_key(REGISTRATION_TOKEN, registration_token(text)))


def _normal(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _written(kind: str, address: str, key: str) -> str:
    if kind == EMAIL:
        return _email(_normal(address))
    if kind == MOBILE_PHONE:
        digits = _BETWEEN.join(address[1:])
        return rf"(?<!\d)(?:(?:\+|%2B|00){_BETWEEN})?{digits}(?!\d)"
    escaped = {address, json.dumps(address)[1:-1], quote(address, safe=""), key}
    whole = rf"(?<![\w-])(?:{_any(escaped)})(?![\w-])"
    if len(address) <= DEVICE:
        return whole
    # the column that events are found by has its beginning; what goes on after it is another address
    return rf"{whole}|(?<![\w-]){re.escape(address[:DEVICE])}(?![\x21-\x7e])"


def _email(address: str) -> str:
    """Also as a part of an URL, and in a bounce's return path (`bounce+zoe=example.com@…`)."""
    local, _, domain = address.rpartition("@")
    domains = {domain}
    for other in (idna.encode, idna.decode):
        try:
            found = other(domain.lower())
        except (idna.IDNAError, UnicodeError):
            continue
        domains.add(found.decode("ascii") if isinstance(found, bytes) else found)
    locals_ = {local, quote(local, safe=""), json.dumps(local)[1:-1]}
    after = rf"(?:{_any(domains)})(?![\w-]|\.\w)"
    return rf"(?<![\w.+-])(?:{_any(locals_)})(?:@|%40|&#64;){after}|(?<![\w.-])(?:{_any(locals_)})={after}"


def _any(words: set[str]) -> str:
    return "|".join(re.escape(one) for one in sorted(words, key=lambda one: (-len(one), one)))


__all__ = ["BLANK", "Person", "person"]
