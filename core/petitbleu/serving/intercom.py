"""What a supervisor and one of its processes say to each other: lines of JSON, over a socket that is the process's
standard input. Its end tells each that the other is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Sequence
from typing import Any

_LONGEST = 64 * 1024 * 1024
"""Bytes of a line: a whole configuration is one."""


class Intercom:
    """One end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, one: socket.socket) -> Intercom:
        return cls(*await asyncio.open_unix_connection(sock=one, limit=_LONGEST))

    def say(self, word: str, *values: Any) -> None:
        """It is lost if nobody is there any more."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps([word, *values]).encode() + b"\n")

    async def hear(self) -> Sequence[Any]:
        """The word and its values; nothing: the other is gone."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            return ()
        heard: Sequence[Any] = json.loads(line) if line.endswith(b"\n") else ()
        return heard

    async def close(self) -> None:
        """Once the other has what was said."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
