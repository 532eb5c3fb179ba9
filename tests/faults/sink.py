"""A mail sink in a process of its own: it writes down which event each message is of, then answers.

What it wrote down is taken, whether or not its answer arrives, as with any relay. `python -m faults.sink FILE` prints
its port and takes commands, a line each: `delay SECONDS` before the answer to a message, `answer TEXT` instead of 250.
It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from .oracle import Receipt, Stored

_EVENT = re.compile(rb"^X-Event-Id:[ \r\n\t]*(\d+)", re.MULTILINE | re.IGNORECASE)
_LIMIT = 64 * 1024 * 1024
Made = TypeVar("Made")


class Sink:
    """RFC 5321, as much of it as a client on good terms needs."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self.delay = 0.0
        self.answer = "250 2.0.0 kept"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._say(writer, "220 sink ESMTP")
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    await self._say(writer, "354 go on")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    # taken only if it will be answered so: a refused message is not received
                    if self.answer.startswith("2"):
                        self._note(content)
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    await self._say(writer, self.answer)
                elif word == b"EHLO":
                    await self._say(writer, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8")
                elif word == b"QUIT":
                    await self._say(writer, "221 bye")
                    return
                else:
                    await self._say(writer, "250 2.0.0 fine")
        except (OSError, asyncio.IncompleteReadError):
            pass  # clients are killed here
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, text: str) -> None:
        writer.write(text.encode() + b"\r\n")
        await writer.drain()

    def _note(self, content: bytes) -> None:
        found = _EVENT.search(content)
        self._log.write(json.dumps({"id": int(found[1]) if found else 0, "at": time.time()}) + "\n")
        self._log.flush()

    def obey(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if word == "delay":
            self.delay = float(rest)
        elif word == "answer":
            self.answer = rest


async def _main(file: Path) -> None:
    with file.open("a", encoding="utf-8") as log:
        sink = Sink(log)
        server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=_LIMIT)
        async with server:
            print(server.sockets[0].getsockname()[1], flush=True)
            commands = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
            )
            while line := await commands.readline():
                sink.obey(line.decode())
            # whoever still waits for an answer gets none, as from any server that goes
            log.flush()
            os._exit(0)


class RunningSink:
    """The rig's end of it."""

    def __init__(self, process: Process, port: int, file: Path) -> None:
        self._process = process
        self._file = file
        self.port = port

    async def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        await self._process.stdin.drain()

    def lines(self) -> list[dict[str, Any]]:
        # the last one may be half written
        whole, _, _ = self._file.read_text("utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def receipts(self, events: Sequence[Stored] = ()) -> list[Receipt]:
        return [Receipt(line["id"], line["at"]) for line in self.lines()]


@asynccontextmanager
async def started(
    words: Sequence[str | Path], file: Path, make: Callable[[Process, int, Path], Made]
) -> AsyncIterator[Made]:
    """A program for the length of the block: it writes into `file`, prints its port, ends with its standard input."""
    file.touch()
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, cwd=Path(__file__).parent.parent)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield make(process, int(await process.stdout.readline()), file)
    finally:
        process.stdin.close()
        await process.wait()


def running_sink(file: Path) -> AbstractAsyncContextManager[RunningSink]:
    return started([sys.executable, "-m", "faults.sink", file], file, RunningSink)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
