"""A receiver of webhooks in a process of its own: it verifies each with the specification's own library, writes it
down, then answers, or does not.

`python -m faults.receiver FILE SECRET` prints its port and takes commands, a line each: `down` and `up`, whether it
answers anybody; `refuse N` and `cut N`, that every so many messages are answered 503 before they are written down, or
cut off after it. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web
from standardwebhooks import Webhook

from .sink import RunningSink, started


class Receiver:
    """Once a message is written down, it is taken, whether or not the answer arrives."""

    def __init__(self, log: TextIO, secret: str) -> None:
        self._log = log
        self._webhook = Webhook(secret)
        self._down = False
        self._every = {"refuse": 0, "cut": 0}
        self._heard = 0

    async def take(self, request: web.Request) -> web.Response:
        if self._down:
            return self._cut(request)
        body = await request.read()
        message: Any = self._webhook.verify(body, dict(request.headers))
        self._heard += 1
        if self._strikes("refuse"):
            return web.Response(status=503)
        line = {
            "key": request.headers["webhook-id"],
            "id": int(message["data"]["id"]),
            "kind": message["type"],
            "body": body.decode(),
            "at": time.time(),
        }
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
        return self._cut(request) if self._strikes("cut") else web.Response()

    def _strikes(self, what: str) -> bool:
        return bool(self._every[what]) and self._heard % self._every[what] == 0

    def _cut(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def obey(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if word in self._every:
            self._every[word] = int(rest)
        else:
            self._down = word == "down"


async def _main(file: Path, secret: str) -> None:
    with file.open("a", encoding="utf-8") as log:
        receiver = Receiver(log, secret)
        app = web.Application()
        app.router.add_post("/", receiver.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while line := await commands.readline():
            receiver.obey(line.decode())
        log.flush()
        os._exit(0)


def running_receiver(file: Path, secret: str) -> AbstractAsyncContextManager[RunningSink]:
    return started([sys.executable, "-m", "faults.receiver", file, secret], file, RunningSink)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
