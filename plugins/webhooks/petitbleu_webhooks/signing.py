"""Signatures as the Standard Webhooks specification 1.0 has them, symmetric ones (`v1`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret."""


def secret_bytes(text: str) -> bytes:
    """Of `whsec_` and base64. Raises `ValueError`."""
    try:
        if not text.startswith(PREFIX):
            raise ValueError
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        if not SHORTEST <= len(found) <= LONGEST:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ValueError(
            f"should be {PREFIX} and the base64 of {SHORTEST} to {LONGEST} random bytes; "
            f'`echo "{PREFIX}$(openssl rand -base64 32)"` makes one'
        ) from None
    return found


def headers(secrets: Sequence[bytes], key: str, seconds: int, body: bytes) -> dict[str, str]:
    """Who receives it may know any one of `secrets`. `seconds` since 1970 are the time of this try."""
    signed = b".".join((key.encode(), str(seconds).encode(), body))
    signatures = (base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
