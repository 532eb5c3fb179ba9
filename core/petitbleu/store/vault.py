"""What callers sent and what was made of it, encrypted at rest: AES-256-GCM (NIST SP 800-38D), bound to its row.

A sealed text is `enc:1:KEY:…`, the rest in base64: nonce, then ciphertext and tag. The nonce is the event's id, of
which each is given out once, and 32 random bits for the case that an event's text is sealed again; so a key may serve
any number of events. What else is sealed has numbers below 0, and bytes in place of base64. What is not sealed, from
before encryption was switched on, is read as it is.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import StoreError

MARK = "enc:1:"
KEY_BYTES = 32
_RANDOM = 4
_NONCE = 8 + _RANDOM


class Vault:
    """`keys` are ids and keys (base64 of 32 bytes): the first one seals, all open. Without any, texts stay as they
    are."""

    def __init__(self, keys: Sequence[tuple[str, str]] = (), random: Callable[[int], bytes] = os.urandom) -> None:
        self._keys = {name: AESGCM(key_bytes(key)) for name, key in keys}
        self.first = keys[0][0] if keys else ""
        self._head = f"{MARK}{self.first}:"
        self._seal = self._keys[self.first] if keys else None
        self._random = random

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def seal(self, number: int, text: str) -> str:
        """The text of event `number`, as it is stored."""
        if self._seal is None:
            return text
        return self._head + base64.b64encode(self._sealed(self._seal, number, text.encode())).decode()

    def open(self, number: int, text: str) -> str:
        """The text again. Raises `StoreError` for a key that is not there, and for what was tampered with."""
        if not text.startswith(MARK):
            return text
        name, _, body = text[len(MARK) :].partition(":")
        key = self._keys.get(name)
        if key is None:
            raise StoreError(f"event {number} is encrypted with the key {name!r}, which encryption.keys does not have")
        try:
            sealed = base64.b64decode(body, validate=True)
            nonce, rest = sealed[:_NONCE], sealed[_NONCE:]
            return key.decrypt(nonce, rest, _bound(number)).decode()
        except (InvalidTag, ValueError) as error:
            text = f"event {number} is not as the key {name!r} sealed it: another key under that name, or changed since"
            raise StoreError(text) from error

    def seal_bytes(self, number: int, data: bytes) -> bytes:
        """As `seal`, of bytes that do not begin with `enc:`, under a number that is no event's."""
        return data if self._seal is None else self._head.encode() + self._sealed(self._seal, number, data)

    def open_bytes(self, data: bytes, what: str, number: int | None = None) -> bytes:
        """The bytes again, of whatever number where none is given; errors call them `what`. Raises `StoreError`."""
        name = key_of(data)
        if not name:
            return data
        key = self._keys.get(name)
        if key is None:
            raise StoreError(f"{what} is encrypted with the key {name!r}, which encryption.keys does not have")
        sealed = data[len(MARK) + len(name) + 1 :]
        try:
            bound = sealed[:8] if number is None else _bound(number)
            return key.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
        except (InvalidTag, ValueError) as error:
            raise StoreError(f"{what} is not as the key {name!r} sealed it") from error

    def is_current(self, text: str | bytes) -> bool:
        """Whether what is stored is as `seal` would make it now."""
        return key_of(text) == self.first

    def _sealed(self, key: AESGCM, number: int, data: bytes) -> bytes:
        bound = _bound(number)
        nonce = bound + self._random(_RANDOM)
        return nonce + key.encrypt(nonce, data, bound)


def _bound(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def key_of(stored: str | bytes) -> str:
    """The id of the key that something is sealed with; empty: none."""
    if isinstance(stored, str):
        return stored.split(":", 3)[2] if stored.startswith(MARK) else ""
    return stored.split(b":", 3)[2].decode() if stored.startswith(MARK.encode()) else ""


def key_bytes(text: str) -> bytes:
    """A key as it is written. Raises `ValueError`."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("should be 32 random bytes in base64; petitbleu encrypt --new-key makes one")
    return key


def new_key(random: Callable[[int], bytes] = os.urandom) -> str:
    return base64.b64encode(random(KEY_BYTES)).decode()


__all__ = ["Vault", "key_bytes", "key_of", "new_key"]
