"""What we show the services: JSON Web Tokens signed with ES256, made once and used for as long as they hold."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .settings import private_key

SOONEST = 10.0
"""Seconds between two tokens that Apple asked for."""
VAPID_LIFE = 43_200
"""Seconds; a day is the most (RFC 8292 2)."""
_MOST_ORIGINS = 256


class ProviderToken:
    """Apple's "provider token", the same for all requests of `life` seconds. `now` is the time Apple sees in it,
    `clock` counts seconds and is only compared with itself."""

    def __init__(
        self,
        key: str,
        team: str,
        key_id: str,
        life: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._key = private_key(key)
        self._team = team
        self._key_id = key_id
        self._life = life
        self._now = now
        self._clock = clock
        self._made = 0.0
        self._asked: float | None = None
        self._value = b""

    def value(self) -> bytes:
        """For the header `authorization`."""
        if not self._value or self._clock() - self._made >= self._life:
            self._make()
        return self._value

    def renew(self, used: bytes) -> bool:
        """Apple calls `used` expired: whether there is another one now. Of many that were refused at once the first
        makes it; if that is refused too, the next must wait a little."""
        if used != self._value:
            return True
        now = self._clock()
        if self._asked is not None and now - self._asked < SOONEST:
            return False
        self._asked = now
        self._make()
        return self._value != used

    def _make(self) -> None:
        claims = {"iss": self._team, "iat": int(self._now().timestamp())}
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._value = b"bearer " + token.encode()
        self._made = self._clock()


class Vapid:
    """Who we are, for web push services: a token for each origin (RFC 8292)."""

    def __init__(self, key: str, contact: str, now: Callable[[], datetime]) -> None:
        self._key = private_key(key)
        self._contact = contact
        self._now = now
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public = base64.urlsafe_b64encode(point).rstrip(b"=").decode()
        """What pages give `pushManager.subscribe` as `applicationServerKey`."""
        self._made: dict[str, tuple[float, str]] = {}

    def authorization(self, origin: str) -> str:
        now = self._now().timestamp()
        made, value = self._made.get(origin, (0.0, ""))
        if not value or not 0 <= now - made < VAPID_LIFE / 2:
            if len(self._made) >= _MOST_ORIGINS:
                self._made.clear()
            claims = {"aud": origin, "exp": int(now) + VAPID_LIFE, "sub": self._contact}
            value = f"vapid t={jwt.encode(claims, self._key, algorithm='ES256')}, k={self.public}"
            self._made[origin] = (now, value)
        return value
