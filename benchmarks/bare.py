"""What sending by a channel is compared with: the plugin's own client alone, under uvloop, hands one ready-made message
to the provider, over and over.

A program of its own: one process, its connections kept open, nothing composed, nothing stored. Prints messages per
second. `python -m benchmarks.bare KIND --port PORT --seconds SECONDS`
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvloop
from aiohttp import ClientSession, TCPConnector
from hpack import NeverIndexedHeaderTuple
from petitbleu_push.http2 import tls_context
from petitbleu_push.pool import Pool
from petitbleu_sms.connector import Connector
from petitbleu_sms.pdu import submit_body
from petitbleu_sms.settings import Connector as ConnectorSettings

WINDOW = 50
"""Messages under way at once, as in the worker that is compared."""
WARM_UP = 0.5
TEXT = b"Bonjour, votre commande 000000042 de 74.90 EUR est en route."
NOTE = (
    b'{"aps":{"alert":{"title":"Petit Bleu","body":"Votre commande 000000042 est en route."},"sound":"default"},'
    b'"link":"shop://orders/000000042"}'
)
MESSAGE = (
    b'{"message":{"token":"%s","notification":{"title":"Petit Bleu","body":"Votre commande 000000042 est en route."},'
    b'"android":{"priority":"HIGH","notification":{"tag":"0123456789abcdef0123456789abcdef"}}}}'
) % (b"0" * 64)

Send = Callable[[], Awaitable[object]]


@asynccontextmanager
async def sms(port: int) -> AsyncIterator[Send]:
    settings = ConnectorSettings.model_validate({"host": "127.0.0.1", "port": port, "window": WINDOW})
    connector = Connector("bare", settings, lambda session, pdu: None, lambda: 0.5)
    connector.start()
    body = submit_body(b"", (5, 0, b"Shop"), (1, 1, b"33612345678"), b"", 0, TEXT, b"")
    loop = asyncio.get_running_loop()

    async def send() -> None:
        until = loop.time() + 10
        answer = await connector.submit(body, await connector.reserve(until), until)
        assert answer.status == 0

    try:
        yield send
    finally:
        await connector.close()


@asynccontextmanager
async def apns(port: int) -> AsyncIterator[Send]:
    pool = Pool(f"http://127.0.0.1:{port}", tls_context(None), 2, 500, 10, 10, 60)
    fixed = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"127.0.0.1:%d" % port)]
    path = NeverIndexedHeaderTuple(b":path", b"/3/device/" + b"0" * 64)
    more = [
        NeverIndexedHeaderTuple(name, value)
        for name, value in (
            (b"apns-push-type", b"alert"),
            (b"apns-priority", b"10"),
            (b"apns-id", b"01234567-89ab-cdef-0123-456789abcdef"),
            (b"apns-collapse-id", b"0123456789abcdef0123456789abcdef"),
            (b"apns-topic", b"com.example.shop"),
        )
    ]
    headers = [*fixed, path, (b"authorization", b"bearer " + b"x" * 180), *more]

    async def send() -> None:
        connection = await pool.reserve()
        try:
            response = await connection.request(headers, NOTE, 10)
        finally:
            pool.release(connection)
        assert response.status == 200

    try:
        yield send
    finally:
        await pool.close()


@asynccontextmanager
async def fcm(port: int) -> AsyncIterator[Send]:
    url = f"http://127.0.0.1:{port}/v1/projects/bench/messages:send"
    headers = {"Authorization": "Bearer ya29.bench", "Content-Type": "application/json"}
    async with ClientSession(connector=TCPConnector(limit=WINDOW)) as session:

        async def send() -> None:
            async with session.post(url, data=MESSAGE, headers=headers) as response:
                await response.read()
                assert response.status == 200

        yield send


CLIENTS: Mapping[str, Callable[[int], AbstractAsyncContextManager[Send]]] = {"sms": sms, "apns": apns, "fcm": fcm}


async def measure(client: AbstractAsyncContextManager[Send], seconds: float) -> float:
    """Messages per second, `WINDOW` of them under way."""
    count = 0
    end = float("inf")

    async with client as send:

        async def repeat() -> None:
            nonlocal count
            while time.monotonic() < end:
                await send()
                count += 1

        tasks = [asyncio.create_task(repeat()) for _ in range(WINDOW)]
        await asyncio.sleep(WARM_UP)
        before, began = count, time.monotonic()
        await asyncio.sleep(seconds)
        rate = (count - before) / (time.monotonic() - began)
        end = 0.0
        await asyncio.gather(*tasks)
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.bare", description=__doc__)
    parser.add_argument("kind", choices=[*CLIENTS])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    print(uvloop.run(measure(CLIENTS[args.kind](args.port), args.seconds)))


if __name__ == "__main__":
    main()
