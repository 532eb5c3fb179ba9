"""An SMTP server that takes every mail and keeps none (RFC 5321, PIPELINING, 8BITMIME): a program of its own.

It writes `mesg=N` and a carriage return whenever its count has grown, at most a hundred times a second. With `--record`
it keeps each X-Event-Id with the time of acceptance (CLOCK_MONOTONIC, nanoseconds) and writes them to that file, a line
`ID TIME` each, when it ends. With `--keep` it writes every mail to that file, the last one stays. With `--delay` it
takes so many seconds for each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

_EVENT = re.compile(rb"^X-Event-Id:[ \t]*(\d+)", re.IGNORECASE | re.MULTILINE)
_REPLIES = {
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n",
    b"HELO": b"250 sink\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
_END = b"\r\n.\r\n"


class Mails:
    """How many mails came, and which event's when."""

    def __init__(self, recording: bool, keep: Path | None) -> None:
        self.count = 0
        self.seen: list[tuple[int, int]] = []
        self._recording = recording
        self._keep = keep

    def took(self, mail: bytes) -> None:
        self.count += 1
        if self._recording and (found := _EVENT.search(mail)):
            self.seen.append((int(found[1]), time.monotonic_ns()))
        if self._keep is not None:
            self._keep.write_bytes(mail.replace(b"\r\n..", b"\r\n.") + b"\r\n")


class Session(asyncio.Protocol):
    def __init__(self, mails: Mails, delay: float) -> None:
        self._mails = mails
        self._delay = delay
        self._buffer = bytearray()
        self._in_mail = False
        self._searched = 0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        replies, before = bytearray(), self._mails.count
        while (reply := self._mail() if self._in_mail else self._command()) is not None:
            replies += reply
        if self._delay and self._mails.count > before:
            # whoever has sent a mail waits for what becomes of it
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, bytes(replies))
        elif replies:
            self._transport.write(bytes(replies))
        if replies.endswith(_REPLIES[b"QUIT"]):
            self._transport.close()

    def _command(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        verb = bytes(self._buffer[:4]).upper()
        # the line end stays for a mail whose first line is the final dot
        del self._buffer[: end + (0 if verb == b"DATA" else 2)]
        self._in_mail = verb == b"DATA"
        self._searched = 0
        return _REPLIES.get(verb, b"500 5.5.2 Unknown command\r\n")

    def _mail(self) -> bytes | None:
        end = self._buffer.find(_END, self._searched)
        if end < 0:
            self._searched = max(0, len(self._buffer) - len(_END) + 1)
            return None
        self._mails.took(bytes(self._buffer[2:end]))
        del self._buffer[: end + len(_END)]
        self._in_mail = False
        return b"250 2.0.0 Ok\r\n"


async def serve(port: int, recording: bool, keep: Path | None, delay: float = 0.0) -> list[tuple[int, int]]:
    loop = asyncio.get_running_loop()
    mails, stop = Mails(recording, keep), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Session(mails, delay), "127.0.0.1", port, backlog=1000)
    told = 0
    while not stop.is_set():
        if mails.count != told:
            told = mails.count
            sys.stdout.write(f"mesg={told}\r")
            sys.stdout.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await stop.wait()
    server.close()
    return mails.seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.smtp_sink", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    args = parser.parse_args()
    seen = uvloop.run(serve(args.port, args.record is not None, args.keep, args.delay))
    if args.record is not None:
        args.record.write_text("".join(f"{event} {moment}\n" for event, moment in seen))


if __name__ == "__main__":
    main()
