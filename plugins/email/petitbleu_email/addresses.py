"""Email addresses as SMTP and headers want them (RFC 5321 4.1.2, RFC 6531), checked strictly, never repaired."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_QUOTED = re.compile(r'"([ !#-\[\]-~]|\\[ -~])*"')
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_UNPRINTABLE = re.compile(r"[\u0000-\u0020\u007f-\u00a0\u2028\u2029\ufeff]")

LOCAL_OCTETS = 64
ADDRESS_OCTETS = 254


@dataclass(frozen=True, slots=True)
class Address:
    """`local` as written; `domain` in its ASCII form (RFC 5891)."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def smtputf8(self) -> bool:
        """Only a local part outside ASCII needs the extension; a domain never does."""
        return not self.local.isascii()


def parse_address(text: str) -> Address:
    """Raises `ValueError`, which says what is wrong without repeating the address."""
    local, at, domain = text.rpartition("@")
    if not at:
        raise ValueError("an email address has an @")
    if not _local_is_valid(local):
        raise ValueError("the part before the @ is not valid in an email address (RFC 5321)")
    ascii_domain = _ascii(domain)
    try:
        octets = len(local.encode())
    except UnicodeEncodeError:
        raise ValueError("the part before the @ is not valid Unicode") from None
    if octets > LOCAL_OCTETS:
        raise ValueError(f"the part before the @ has more than {LOCAL_OCTETS} octets")
    if octets + 1 + len(ascii_domain) > ADDRESS_OCTETS:
        raise ValueError(f"the address has more than {ADDRESS_OCTETS} octets")
    return Address(local, ascii_domain)


# the same few write nearly all mails
sender_address = lru_cache(maxsize=256)(parse_address)


def _local_is_valid(local: str) -> bool:
    if local.startswith('"'):
        return _QUOTED.fullmatch(local) is not None
    return _DOT_ATOM.fullmatch(local) is not None and _UNPRINTABLE.search(local) is None


@lru_cache(maxsize=1024)
def _ascii(domain: str) -> str:
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise ValueError("the domain is not valid (RFC 5891)") from None
    if len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        raise ValueError("the domain is not valid: labels of letters, digits and hyphens, joined by dots")
    return domain
