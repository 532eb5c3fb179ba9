"""Passwords: Argon2id (RFC 9106), slow for those who guess and fast for those who call often."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..config.settings import Sessions
from .remembered import Remembered

LONGEST = 1024
"""Characters of a password; a longer one is wrong."""


def hash_password(password: str) -> str:
    """What the configuration holds in place of the password."""
    return PasswordHasher().hash(password)


@dataclass(slots=True)
class _Guesses:
    """What one caller got wrong; `turn` lets its tries in one at a time."""

    wrong: int = 0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Passwords:
    """Checks passwords against `hashes` (by login).

    A check takes the same time whether the login exists or not. After a wrong password, the next try for the same login
    from the same address waits, each time twice as long. A correct password is remembered as a keyed hash, so that it
    need not go through Argon2 with every call.
    """

    def __init__(
        self,
        hashes: Mapping[str, str],
        settings: Sessions,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        limit_reached: Callable[[str], None] = lambda limit: None,
    ) -> None:
        self._hashes = hashes
        self._settings = settings
        self._sleep = sleep
        self._limit_reached = limit_reached
        self._key = random_bytes(32)
        self._decoy = _decoy(hashes, random_bytes)
        # a pool of its own holds the cap on memory even when callers hang up while they are checked
        self._pool = ThreadPoolExecutor(settings.hashing, "password")
        self._correct: Remembered[bytes, bool] = Remembered(settings.remembered, settings.password_cache, now)
        self._guesses: Remembered[tuple[str, str], _Guesses] = Remembered(
            settings.remembered, settings.guess_memory, now
        )

    async def holds(self, login: str, password: str, address: str, allowed: bool = True) -> bool:
        """Whether the password is right. When not `allowed`, it takes as long as a wrong one and is never right."""
        secret = password.encode("utf-8", "surrogatepass")
        name = login.encode("utf-8", "surrogatepass")
        proof = hashlib.blake2b(b"%d:%b%b" % (len(name), name, secret), key=self._key).digest()
        if allowed and self._known(proof):
            return True
        caller = (login[:LONGEST], _neighbourhood(address))
        guesses = self._guesses.get(caller)
        if guesses is None:
            self._guesses.put(caller, guesses := _Guesses())
        if guesses.wrong and guesses.waiting >= self._settings.guess_waiting:
            self._limit_reached("sessions.guess_waiting")
            return False
        guesses.waiting += 1
        try:
            async with guesses.turn:
                # the same password may just have been found right for a call that came at the same time
                if allowed and self._known(proof):
                    return True
                if guesses.wrong:
                    await self._sleep(self._delay(guesses.wrong))
                known = self._hashes.get(login) if allowed and len(password) <= LONGEST else None
                right = await self._verify(known or self._decoy, secret[: 4 * LONGEST]) and known is not None
                guesses.wrong = 0 if right else guesses.wrong + 1
                self._guesses.put(caller, guesses)
                if right:
                    self._correct.put(proof, True)
                return right
        finally:
            guesses.waiting -= 1

    def _known(self, proof: bytes) -> bool:
        """Whoever keeps calling is not forgotten in between."""
        if not self._correct.get(proof):
            return False
        self._correct.put(proof, True)
        return True

    def _delay(self, wrong: int) -> float:
        return min(self._settings.guess_delay_cap, self._settings.guess_delay * 2.0 ** min(wrong - 1, 32))

    async def _verify(self, known: str, secret: bytes) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _matches, known, secret)


def _matches(known: str, secret: bytes) -> bool:
    try:
        return PasswordHasher().verify(known, secret)
    except (VerificationError, InvalidHashError):
        return False


def _decoy(hashes: Mapping[str, str], random_bytes: Callable[[int], bytes]) -> str:
    """A hash of nothing, as costly to check as most of the real ones."""
    costs = Counter(known.rsplit("$", 2)[0] for known in hashes.values())
    cost = costs.most_common(1)[0][0] if costs else hash_password("").rsplit("$", 2)[0]
    salt, digest = (base64.b64encode(random_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"{cost}${salt}${digest}"


def _neighbourhood(address: str) -> str:
    """The address, or the /64 of an IPv6 one: whoever has one of those has them all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return address
