"""A proxy for TCP and Unix sockets that does harm when told to: to SMTP, PostgreSQL, or whatever speaks through it.

    proxy = await stack.enter_async_context(faulty(("127.0.0.1", 25)))
    proxy.does(CutAfter(rb"\\r\\n\\.\\r\\n"))

What it `does` holds at once for open connections and for those to come, until told otherwise.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Address = tuple[str, int] | Path
Direction = Literal["c2s", "s2c"]
_CHUNK = 65536
_WINDOW = 1024
"""Bytes kept of what went before, for patterns that a chunk's border would split."""


@dataclass(frozen=True, slots=True)
class Pass:
    """No harm."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Each chunk comes so many seconds later, in `direction` or both ways."""

    seconds: float
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most so many bytes a second, each way of each connection by itself."""

    rate: float


@dataclass(frozen=True, slots=True)
class Drop:
    """One way, bytes vanish; the other way they pass."""

    direction: Direction


@dataclass(frozen=True, slots=True)
class Reset:
    """Every connection is reset, new ones as soon as they are accepted."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Connections are accepted, and nothing moves."""


@dataclass(frozen=True, slots=True)
class Mute:
    """A connection whose client says `pattern` gets its answer, and then falls silent both ways for good."""

    pattern: bytes


@dataclass(frozen=True, slots=True)
class CutAfter:
    """What matches `pattern` is carried over; the answer to it is swallowed, and both ends are reset.

    `direction` is that of the pattern. It happens at every `every`-th match, and at most `most` times, after which the
    proxy passes.
    """

    pattern: bytes
    direction: Direction = "c2s"
    every: int = 1
    most: int | None = None


Behaviour = Pass | Delay | Throttle | Drop | Reset | Hang | Mute | CutAfter


class _Link:
    """One client's connection and ours to the target."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.seen: dict[Direction, bytes] = {"c2s": b"", "s2c": b""}
        self.doomed: Direction | None = None
        """The next bytes this way are the answer that must not arrive."""
        self.answers: int | None = None
        """How many more chunks come back before it falls silent."""

    def reset(self) -> None:
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Made by `faulty`."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._behaviour: Behaviour = Pass()
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._matches = 0
        self.address: Address = ("", 0)
        """Where it listens."""
        self.server: asyncio.Server | None = None
        """What accepts connections; none while they are refused."""
        self.cuts = 0
        """How many answers `CutAfter` has swallowed."""

    @property
    def connections(self) -> int:
        return len(self._links)

    def does(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._matches = 0
        self._changed.set()
        self._changed = asyncio.Event()
        if isinstance(behaviour, Reset):
            self.reset()

    def reset(self) -> None:
        """Once, all that are open."""
        for link in list(self._links):
            link.reset()

    async def listen(self) -> None:
        """Accept connections, at the address it had before."""
        if isinstance(self.address, Path):
            self.server = await asyncio.start_unix_server(self.serve, str(self.address), backlog=1000)
            self.address.chmod(0o777)
        else:
            self.server = await asyncio.start_server(self.serve, *self.address, backlog=1000)
            self.address = ("127.0.0.1", self.server.sockets[0].getsockname()[1])

    def refuse(self) -> None:
        """Nobody listens any more, and what is open is reset."""
        if self.server is not None:
            self.server.close()
        self.server = None
        self.reset()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            if isinstance(self._behaviour, Reset):
                return
            theirs, ours = await _connect(self._target)
            link.writers.append(ours)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(link, "c2s", reader, ours))
                group.create_task(self._pump(link, "s2c", theirs, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass  # either end may go at any time
        finally:
            if isinstance(self._behaviour, Reset):
                link.reset()
            for one in link.writers:
                one.close()
            self._links.discard(link)

    async def _pump(
        self, link: _Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            if link.doomed == direction:
                self.cuts += 1
                link.reset()
                return
            if not await self._carry(link, direction, chunk, writer):
                continue
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _carry(self, link: _Link, direction: Direction, chunk: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the chunk goes on; returns when it may."""
        while isinstance(self._behaviour, Hang):
            await self._changed.wait()
        match self._behaviour:
            case Delay(seconds, only) if only in (None, direction):
                await asyncio.sleep(seconds)
            case Throttle(rate):
                await asyncio.sleep(len(chunk) / rate)
            case Drop(way) if way == direction:
                return False
            case Mute(pattern) if link.answers is None:
                link.answers = 1 if direction == "c2s" and re.search(pattern, chunk) else None
            case Mute():
                link.answers = (link.answers or 0) - (direction == "s2c")
                return direction == "s2c" and link.answers >= 0
            case CutAfter() as cut if cut.direction == direction:
                self._look(link, cut, chunk)
        return True

    def _look(self, link: _Link, cut: CutAfter, chunk: bytes) -> None:
        before = link.seen[cut.direction]
        text = before + chunk
        link.seen[cut.direction] = text[-_WINDOW:]
        # one for a chunk: what is sent in one piece is answered in one
        if any(found.end() > len(before) for found in re.finditer(cut.pattern, text)):
            self._matches += 1
            if self._matches % cut.every == 0 and (cut.most is None or self._matches <= cut.most * cut.every):
                link.doomed = "s2c" if cut.direction == "c2s" else "c2s"


async def _connect(target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(str(target))
    return await asyncio.open_connection(*target)


@asynccontextmanager
async def faulty(target: Address, at: Path | None = None) -> AsyncIterator[Proxy]:
    """A proxy before `target`, listening on a free port of this machine or on the Unix socket `at`."""
    proxy = Proxy(target)
    proxy.address = ("127.0.0.1", 0) if at is None else at
    await proxy.listen()
    try:
        yield proxy
    finally:
        proxy.refuse()
        proxy.does(Reset())
        while proxy.connections:
            await asyncio.sleep(0.01)
