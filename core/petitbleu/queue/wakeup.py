"""Processes tell each other that there is work: a hint over PostgreSQL's NOTIFY, which may get lost.

Looking every `delivery.poll` finds everything anyway; the hint only makes it sooner. It takes a connection of its own,
never a place in the pool, and is sent after the commit that stored the work, never inside: a NOTIFY makes its
transaction queue up with all others of the server that notify.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg

from ..metrics import Metrics

logger = logging.getLogger("petitbleu.worker")

CHANNEL = "petitbleu_work"
_FAILED = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds: `apart` are two announcements at least, `ping` is how often a silent connection is tried, `patience` how
    long an answer may take. A connection that cannot be had is tried again after `first`, doubling up to `longest`."""

    apart: float = 0.1
    ping: float = 30.0
    patience: float = 5.0
    first: float = 0.5
    longest: float = 30.0


class Wakeup:
    """`connect` gives a connection of asyncpg's own."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        metrics: Metrics,
        rhythm: Rhythm = Rhythm(),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._connect = connect
        self._metrics = metrics
        self._rhythm = rhythm
        self._jitter = jitter
        self._stir = asyncio.Event()
        self._wanted = False

    def announce(self) -> None:
        """There is work for another process. The first of several is sent at once, the others as one after a while."""
        self._wanted = True
        self._stir.set()

    async def run(self, heard: Callable[[], None] | None) -> None:
        """Send announcements until cancelled; call `heard`, if there is one, for those of others and whenever some may
        have been missed."""
        pause = self._rhythm.first
        while True:
            connection: Any = None
            try:
                connection = await self._connect()
                pause = self._rhythm.first
                await self._use(connection, heard)
                logger.info("the connection for announcements has ended; work is found by looking")
            except _FAILED as error:
                logger.info(
                    "no connection for announcements; work is found by looking: %s: %s", type(error).__name__, error
                )
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(pause * (0.5 + self._jitter() / 2))
            pause = min(2 * pause, self._rhythm.longest)

    async def _use(self, connection: Any, heard: Callable[[], None] | None) -> None:
        own = connection.get_server_pid()

        def hear(_: Any, process: int, channel: str, payload: str) -> None:
            if heard is not None and process != own:
                self._metrics.woken("heard")
                heard()

        connection.add_termination_listener(lambda _: self._stir.set())
        if heard is not None:
            async with asyncio.timeout(self._rhythm.patience):
                await connection.add_listener(CHANNEL, hear)
            heard()
        while not connection.is_closed():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rhythm.ping):
                    await self._stir.wait()
            self._stir.clear()
            if connection.is_closed():
                return
            if self._wanted:
                self._wanted = False
                await connection.execute(f"NOTIFY {CHANNEL}", timeout=self._rhythm.patience)
                self._metrics.woken("sent")
                await asyncio.sleep(self._rhythm.apart)
            else:
                # a connection that was dropped without a word says nothing either
                await connection.execute("SELECT 1", timeout=self._rhythm.patience)


__all__ = ["CHANNEL", "Rhythm", "Wakeup"]
