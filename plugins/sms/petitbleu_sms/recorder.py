"""Receipts on their way to the database: many in one commit, and each is acknowledged only after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from petitbleu import Receipt, Unavailable

logger = logging.getLogger("petitbleu.sms")

TOGETHER = 500
"""Receipts stored in one commit."""


class Recorder:
    """At most `waiting` receipts are kept; each with who is told whether it was stored."""

    def __init__(self, record: Callable[[Sequence[Receipt]], Awaitable[None]], waiting: int) -> None:
        self._record = record
        self._waiting = waiting
        self._receipts: list[tuple[Receipt, Callable[[bool], None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.refused = 0
        """How many were sent away because there were too many."""

    def take(self, receipt: Receipt, told: Callable[[bool], None]) -> None:
        """`told` is called with True once it is stored, with False when its sender must come again."""
        if len(self._receipts) >= self._waiting:
            self.refused += 1
            told(False)
            return
        self._receipts.append((receipt, told))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def settle(self, seconds: float) -> None:
        """Until everything taken so far is stored or refused, or the time is over."""
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=seconds)

    async def _write(self) -> None:
        while self._receipts:
            batch = self._receipts[:TOGETHER]
            stored = False
            try:
                await self._record([receipt for receipt, _ in batch])
                stored = True
            except Unavailable as error:
                logger.warning("%d receipts are not stored, their senders will come again: %s", len(batch), error)
            except Exception:
                logger.exception("%d receipts are not stored, their senders will come again", len(batch))
            finally:
                del self._receipts[: len(batch)]
                for _, told in batch:
                    told(stored)
