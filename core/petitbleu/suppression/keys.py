"""Under what an address stands in the list: every spelling of one recipient has the same key.

- Email: in lower case, the local part too, the domain as DNS has it (RFC 5890). Only the recipient's server knows
  whether case matters in a local part (RFC 5321 2.4); none worth naming makes a difference, and of the two mistakes,
  writing again to somebody who complained is the worse. Dots and `+` tags are kept: they tell recipients apart.
- Phone: as E.164 has it.
- Token, and what a plugin's channel has for an address: a hash (SHA-256), since they are long and may be secret, and
  the last characters by which people know it again.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable

import idna

from ..addresses import email_address, phone_number, registration_token
from ..channels import EMAIL, MOBILE_PHONE

LONGEST = 320
TAIL = 6
FORGOTTEN = "forgotten:"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_HASHED = re.compile(r"sha256:[0-9a-f]{64}…[\x21-\x7e]{0,6}", re.ASCII)


def address_key(kind: str, address: str) -> str:
    """The key of an address of a channel of this kind (`Channel.address`); the key of a key is itself.

    Takes anything: what is no such address has a key too, which no address has.
    """
    if kind == EMAIL:
        return _bounded(address.lower() if address.isascii() else _international(address))
    if kind == MOBILE_PHONE:
        return address if _E164.fullmatch(address) else _bounded(_phone(address))
    return _hashed(address)


def checked_key(kind: str, address: str, country: str = "", check: Callable[[str], str] = registration_token) -> str:
    """As `address_key`, of what a person wrote: an address, or the key of a token; `check` reads what is neither an
    email address nor a number. Raises `ValueError`."""
    if kind == EMAIL:
        return address_key(kind, email_address(address))
    if kind == MOBILE_PHONE:
        return phone_number(address, country)
    return address_key(kind, address if _HASHED.fullmatch(address) else check(address))


def forgotten_key(secret: bytes, key: str) -> str:
    """Under what an address stands that is forgotten: a hash with this installation's own secret, so that nobody can
    find out by trying which addresses these are unless they have the database whole."""
    return FORGOTTEN + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=secret, digest_size=32).hexdigest()


def _international(address: str) -> str:
    local, at, domain = unicodedata.normalize("NFC", address).lower().rpartition("@")
    try:
        domain = idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        domain = domain.lower()
    return unicodedata.normalize("NFC", local + at + domain)


def _phone(address: str) -> str:
    try:
        return phone_number(address)
    except ValueError:
        return address


def _bounded(key: str) -> str:
    """Fit for the column, whatever a plugin calls an address."""
    return key if len(key) <= LONGEST and key.isprintable() else _hashed(key)


def _hashed(text: str) -> str:
    if _HASHED.fullmatch(text):
        return text
    tail = "".join(one for one in text[-TAIL:] if "!" <= one <= "~") if len(text) > 4 * TAIL else ""
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}…{tail}"


__all__ = ["FORGOTTEN", "address_key", "checked_key", "forgotten_key"]
