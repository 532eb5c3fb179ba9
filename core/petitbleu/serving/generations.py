"""How a server takes over a changed configuration without a stop: all of it, or nothing and the reason.

The next generation of the server is made ready beside the one that serves, on the same port. Nothing has changed so
far, and whatever fails ends the new one. Then, for a moment, the one that serves takes no more of what would go; if an
open event needs that, it stays after all. Otherwise the new one serves, and the old one ends in order.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..config import Config, RawConfig
from ..errors import PetitbleuError
from ..instance import plan
from ..reload import answer, follow, heard
from ..store import Store
from .app import check_routes

logger = logging.getLogger("petitbleu.server")

_FIXED = ("database", "instance.name", "instance.cell", "http.host", "http.port")


class ReloadRefused(PetitbleuError):
    """The configuration cannot be taken over, and nothing has changed."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The configuration that a server goes by, and the channels that its plugins serve."""

    config: Config
    channels: Collection[str]


@dataclass(frozen=True, slots=True)
class Gone:
    """What a new configuration has no more: event types and channels."""

    types: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.types or self.channels)


class Generation(Protocol):
    """A server with one configuration, ready to serve."""

    @property
    def serving(self) -> Serving: ...

    @property
    def store(self) -> Store: ...

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """On which it listens."""
        ...

    async def go(self) -> None:
        """Take events and deliver; raises where that cannot be."""
        ...

    async def retire(self, gone: Gone) -> None:
        """Take no more events for these; returns when none is on its way in. Without any, take them again."""
        ...

    async def end(self) -> None:
        """Take no more requests, finish what is handed off, give back the rest; if it did not go yet, just end."""
        ...


G = TypeVar("G", bound=Generation)


class Generations(Generic[G]):
    """One after the other; `begin` makes one ready on sockets of its own."""

    def __init__(
        self,
        directory: Path | None,
        overrides: Sequence[str],
        begin: Callable[[RawConfig, Sequence[socket.socket]], Awaitable[G]],
        first: G,
    ) -> None:
        self.current = first
        self._directory = directory
        self._overrides = overrides
        self._begin = begin
        self._old: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Let the first one go, and another one at every SIGHUP or request; on `stop` end the one that serves."""
        await self.current.go()
        requests: asyncio.Queue[str] = asyncio.Queue()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, requests.put_nowait, "")
        tasks = [
            asyncio.create_task(follow(lambda: self.current.store, requests)),
            asyncio.create_task(self._reload_whenever(requests)),
        ]
        await stop.wait()
        logger.info("stopping")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ending = asyncio.create_task(self.current.end())
        await asyncio.wait([ending] if self._old is None else [ending, self._old])
        ending.result()

    async def _reload_whenever(self, requests: asyncio.Queue[str]) -> None:
        while True:
            request = await requests.get()
            await heard(self.current.store, request)
            try:
                new = await self._next()
            except Exception as error:
                await answer(self.current.store, request, in_words(error))
                continue
            self._old, self.current = asyncio.create_task(_give_way(self.current)), new
            await answer(new.store, request, "")
            await asyncio.wait([self._old])

    async def _next(self) -> G:
        """It serves beside the current one. Whatever is raised, the current one is as it was, and alone."""
        current = self.current
        raw, gone = await check(self._directory, self._overrides, current.serving, current.store)
        new = await self._begin(raw, [one.dup() for one in current.sockets])
        try:
            if gone:
                await current.retire(gone)
                if reasons := await orphans(current.store, gone):
                    raise ReloadRefused("\n".join(reasons))
            await new.go()
        except BaseException:
            try:
                if gone:
                    await current.retire(Gone())
            finally:
                await new.end()
            raise
        return new


def in_words(error: Exception) -> str:
    """Why a server does not serve."""
    return str(error) if isinstance(error, PetitbleuError) else f"{type(error).__name__}: {error}"


async def _give_way(old: Generation) -> None:
    try:
        await old.end()
    except Exception:
        logger.exception("the server of before the reload did not end in order")


async def check(
    directory: Path | None, overrides: Sequence[str], running: Serving, store: Store
) -> tuple[RawConfig, Gone]:
    """What is configured now, and what it has no more, if it can take the place of `running`.

    Raises `ConfigError`, `PluginError`, or `ReloadRefused` with every reason.
    """
    planned = plan(directory, overrides)
    await check_routes(planned)
    reasons = [
        f"{name}: is changed; that takes a restart"
        for name in _FIXED
        if _value(running.config, name) != _value(planned.config, name)
    ]
    gone = Gone(
        frozenset(running.config.event_types) - frozenset(planned.config.event_types),
        frozenset(running.channels) - frozenset(planned.channels),
    )
    reasons += await orphans(store, gone)
    if reasons:
        raise ReloadRefused("\n".join(reasons))
    return planned.raw, gone


async def orphans(store: Store, gone: Gone) -> list[str]:
    """What of the open events nobody would care for any more, in words."""
    if not gone:
        return []
    found = await store.rows("open_kinds")
    told = []
    for name in sorted({row["type"] for row in found} & gone.types):
        events = sum(row["events"] for row in found if row["type"] == name)
        told.append(
            f"event_types: {events} open events have the type {name!r}, which is not declared any more; wait until "
            f"they are sent, or `petitbleu events cancel --type {name} --all-open --yes`"
        )
    for name in sorted({row["channel"] for row in found} & gone.channels):
        events = sum(row["events"] for row in found if row["channel"] == name)
        told.append(
            f"plugins: {events} open events go by the channel {name!r}, which no plugin would serve any more; wait "
            f"until they are sent, or `petitbleu events cancel --channel {name} --all-open --yes`"
        )
    return told


def _value(config: Config, name: str) -> object:
    value: Any = config
    for step in name.split("."):
        value = getattr(value, step)
    return value
