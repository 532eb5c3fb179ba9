"""The door for events that no request brings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import Unavailable
from ..services import Accept
from ..types import IncomingEvent, Operator


class Gate:
    """`services.Accept`: events wait until the server serves, and it is closed before
    the server stops."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._inside: set[asyncio.Future[list[int]]] = set()
        self._opened = asyncio.Event()
        self._closed = False

    async def __call__(self, events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> list[int]:
        await self._opened.wait()
        if self._closed:
            raise Unavailable("the server is stopping")
        inside = asyncio.ensure_future(self._accept(events, operator, key))
        self._inside.add(inside)
        try:
            return await inside
        finally:
            self._inside.discard(inside)

    def open(self) -> None:
        self._opened.set()

    async def close(self) -> None:
        """Nothing more comes in; returns when what is inside is through."""
        self._closed = True
        self._opened.set()
        if self._inside:
            await asyncio.wait(self._inside)
