"""Connections to one HTTP/2 server: as many as are needed and allowed, and a place on one of them for each request."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from .http2 import ConnectFailed, Connection, connect

PAUSE = 5.0
"""Seconds after a connection that could not be had, until another one is tried beside those there are."""


class NoRoom(Exception):
    """Every connection had all the requests it may have, for too long."""


class Pool:
    """`streams` requests at a time on each of `connections` connections to `url` at most; a place is waited for `wait`
    seconds. No connection is made before the first request."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        connections: int,
        streams: int,
        wait: float,
        connect_timeout: float,
        ping: float,
    ) -> None:
        self._url = url
        self._context = context
        self._most = connections
        self._streams = streams
        self._wait = wait
        self._timeout = connect_timeout
        self._ping = ping
        self._usable: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: deque[asyncio.Future[Connection]] = deque()
        self._opening: asyncio.Task[None] | None = None
        self._enough_until = 0.0
        self._room = streams
        self._closed = False

    @property
    def at_once(self) -> int:
        """Requests at a time on all connections, as far as the server was heard of."""
        return self._most * max(1, self._room)

    async def reserve(self) -> Connection:
        """A place on a connection; give it back with `release`. Raises `ConnectFailed`, `NoRoom`."""
        if not self._waiting and (connection := self._with_room()) is not None:
            connection.taken += 1
            return connection
        place: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._serve()
        try:
            async with asyncio.timeout(self._wait):
                return await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release(place.result())
            if isinstance(error, TimeoutError):
                raise NoRoom(f"all {self.at_once} places were busy for {self._wait:g} s") from None
            raise

    def release(self, connection: Connection) -> None:
        connection.taken -= 1
        if self._waiting:
            self._serve()

    def _with_room(self) -> Connection | None:
        for connection in self._usable:
            if connection.free > 0:
                return connection
        return None

    def _serve(self) -> None:
        while self._waiting and (connection := self._with_room()) is not None:
            place = self._waiting.popleft()
            if not place.done():
                connection.taken += 1
                place.set_result(connection)
        self._open_if_needed()

    def _changed(self) -> None:
        self._usable = [connection for connection in self._usable if connection.usable]
        self._all = {connection for connection in self._all if not connection.closed}
        if self._usable:
            self._room = max(connection.room for connection in self._usable)
        self._serve()

    def _open_if_needed(self) -> None:
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        if self._closed or not self._waiting or self._opening is not None:
            return
        enough = self._usable and asyncio.get_running_loop().time() < self._enough_until
        if len(self._usable) < self._most and not enough:
            self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        connection = Connection(self._streams, self._ping, self._timeout, self._changed)
        failed: ConnectFailed | None = None
        try:
            await connect(self._url, self._context, connection, self._timeout)
            if not connection.usable:
                # another one would most likely fare no better
                raise ConnectFailed("the server takes no request: it takes leave at once")
            self._all.add(connection)
            self._usable.append(connection)
        except ConnectFailed as error:
            failed = error
            self._enough_until = asyncio.get_running_loop().time() + PAUSE
        finally:
            self._opening = None
        if failed is None:
            self._changed()
        elif not self._usable:
            # who waits for room on another connection goes on waiting; where there is none it would be in vain
            self._turn_away(str(failed))

    def _turn_away(self, reason: str) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(ConnectFailed(reason))

    async def close(self) -> None:
        self._closed = True
        self._turn_away("the server is stopping")
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        for connection in list(self._all):
            connection.close()
