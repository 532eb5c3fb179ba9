"""What a return path says about a message, signed: nobody but this installation can write one.

    b+ event (8 octets) attempt (3) provider (2) created (4) MAC (13) @ bounces.example.com

in base32 (RFC 4648 6), 50 octets of the 64 that a local part may have (RFC 5321 4.5.3.1.1). Relays may fold its case.
The MAC is HMAC-SHA256 (RFC 2104) over the cell and the rest, cut to 104 bits. The time of the event stands in it since
a database that was restored gives an id again: what bounces of the earlier message must not hit the later one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32decode, b32encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from petitbleu import Event

from .addresses import Address

HEADER = "X-Event-Token"
"""Of each message: its token once more, for reports that hold the message and not its return path."""

_PREFIX = "b+"
_TOKEN = re.compile(r"[a-z2-7]{48}")
_SAID = 17
_MAC = 13
_PURPOSE = b"petitbleu return path 1"
_MOST = (1 << 24) - 1
"""More attempts would take years: they are not told from each other."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token says. `provider` is "" where the settings have it no more."""

    event: int
    attempt: int
    provider: str
    created: int
    """Seconds since 1970, of the event."""

    def fits(self, event: Event) -> bool:
        """Whether this is the event it was made for, and not another one with its id."""
        return event.id == self.event and _seconds(event) == self.created


class Signer:
    """Makes and reads tokens. The first secret signs, each of them is good for reading."""

    def __init__(self, cell: int, domain: str, secrets: Sequence[bytes], providers: Iterable[str]) -> None:
        self._cell = cell
        self._domain = domain
        self._secrets = tuple(secrets)
        self._tags = {name: _tag(name) for name in providers}
        self._names = {tag: name for name, tag in self._tags.items()}

    def sign(self, event: Event, attempt: int, provider: str) -> str:
        number = min(attempt, _MOST)
        tag = self._tags.get(provider) or _tag(provider)
        said = b"".join(
            (event.id.to_bytes(8), number.to_bytes(3), tag, _seconds(event).to_bytes(4)),
        )
        return b32encode(said + self._mac(self._secrets[0], said)).decode("ascii").lower()

    def return_path(self, token: str) -> Address:
        return Address(_PREFIX + token, self._domain)

    def read(self, token: str) -> Ticket | None:
        """None for whatever this installation did not sign."""
        folded = token.lower()
        if not token.isascii() or not _TOKEN.fullmatch(folded):
            return None
        octets = b32decode(folded.upper())
        said, mac = octets[:_SAID], octets[_SAID:]
        good = [hmac.compare_digest(self._mac(secret, said), mac) for secret in self._secrets]
        if not any(good):
            return None
        return Ticket(
            int.from_bytes(said[:8]),
            int.from_bytes(said[8:11]),
            self._names.get(said[11:13], ""),
            int.from_bytes(said[13:]),
        )

    def read_address(self, address: str) -> Ticket | None:
        """The same for a whole return path, in angle brackets or without."""
        local, _, domain = address.strip().removeprefix("<").removesuffix(">").rpartition("@")
        if domain.lower() != self._domain or local[: len(_PREFIX)].lower() != _PREFIX:
            return None
        return self.read(local[len(_PREFIX) :])

    def local_part(self, address: str) -> str | None:
        """In lower case, of an address of the bounce domain; None for others."""
        local, _, domain = address.rpartition("@")
        return local.lower() if domain.lower() == self._domain else None

    def _mac(self, secret: bytes, said: bytes) -> bytes:
        return hmac.digest(secret, _PURPOSE + self._cell.to_bytes(1) + said, "sha256")[:_MAC]


def _seconds(event: Event) -> int:
    return int(event.created.timestamp()) & 0xFFFFFFFF


def _tag(provider: str) -> bytes:
    """Two octets tell the few providers of an installation apart; a name would not fit."""
    return hashlib.sha256(provider.encode()).digest()[:2]
