"""Google's access token: fetched by google-auth in a thread, once for all who wait for it, and ahead of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from google.auth.exceptions import GoogleAuthError
from google.oauth2.service_account import Credentials

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
EARLY = 300.0
"""Seconds before its end that a token is replaced; those who ask meanwhile get the old one."""
PAUSE = 5.0
"""Seconds that nobody asks again after a failure."""


class NoToken(Exception):
    """Google gives none. The text holds no secret."""


class AccessToken:
    """`clock` counts seconds and is only compared with itself."""

    def __init__(self, account: dict[str, Any], seconds: float, clock: Callable[[], float]) -> None:
        # imported here: this transport takes longer than the rest of the plugin, and who has no Android app needs none
        from google.auth.transport.requests import Request

        self._transport: Callable[[], Any] = Request
        self._credentials = Credentials.from_service_account_info(account, scopes=[SCOPE])  # type: ignore[no-untyped-call]
        self._seconds = seconds
        self._clock = clock
        self._value = ""
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._failed: tuple[float, str] | None = None

    async def value(self) -> str:
        """Raises `NoToken`."""
        left = self._until - self._clock()
        if left < EARLY and self._task is None and not self._pausing():
            self._task = asyncio.create_task(self._refresh())
        if left <= 0:
            if self._task is not None:
                # not cancelled with one of those who wait, nor by their time-out: google-auth may try several times
                await asyncio.wait({self._task}, timeout=self._seconds)
            if self._until <= self._clock():
                raise NoToken(self._failed[1] if self._failed else f"Google gave no token within {self._seconds:g} s")
        return self._value

    def refused(self, used: str) -> bool:
        """A service does not take `used`: whether it is worth to ask with another one."""
        if used == self._value:
            self._until = 0.0
            return not self._pausing()
        return True

    def _pausing(self) -> bool:
        return self._failed is not None and self._clock() - self._failed[0] < PAUSE

    async def _refresh(self) -> None:
        try:
            # google-auth's own transport blocks, and keeps its connection for as long as it lives
            await asyncio.to_thread(self._credentials.refresh, partial(self._transport(), timeout=self._seconds))
            ends = self._credentials.expiry.replace(tzinfo=UTC)
            self._value = str(self._credentials.token)
            self._until = self._clock() + (ends - datetime.now(UTC)).total_seconds()
            self._failed = None
        except Exception as error:
            # google-auth lets through what it does not expect, such as a page of HTML in place of a token
            ours = isinstance(error, GoogleAuthError) and not error.retryable
            retry = "; check the service account" if ours else ""
            self._failed = (self._clock(), f"Google gives no access token: {type(error).__name__}{retry}")
        finally:
            self._task = None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
