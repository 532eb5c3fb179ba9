"""Notifications a second, through the push plugin and by clients that do nothing but send, one after the other.

A program of its own under uvloop, with node as the far side. The bare clients are h2 on one connection and aiohttp,
with one ready-made request over and over, of which only device and id differ. The plugin is given rendered messages; it
picks the app, checks the fields, makes the payload and hands off. Prints pairs (bare, plugin) by service, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import uvloop
from aiohttp import ClientSession, TCPConnector
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from petitbleu import Attempt, Content, Delivered, Event, Message, Queue, Services, TemplateRef
from petitbleu_push.catcher import service_account
from petitbleu_push.sender import FIELDS, open_sender
from petitbleu_push.settings import PushSettings

AT_ONCE = 50
"""As many as a worker has under way."""
WARM_UP = 0.5
UUID = "bench"
TOKENS = {"ios": "1f" * 32, "android": "fGx7:APA91b-" + "Zk_9" * 30}
TEXTS = {"title": "Votre commande 30117 est en route", "body": "Elle arrive vendredi, entre 9 et 11 heures."}

Send = Callable[[], Awaitable[None]]


class Bare(asyncio.Protocol):
    """One connection of HTTP/2, and no more than it takes to get answers."""

    def __init__(self) -> None:
        config = H2Configuration(header_encoding=None, validate_outbound_headers=False, validate_inbound_headers=False)
        self._h2 = H2Connection(config)
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._transport: asyncio.Transport | None = None
        self._flushing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, StreamEnded):
                self._answers.pop(event.stream_id).set_result(None)
        self._flush()

    async def send(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, headers)
        self._h2.send_data(number, body, end_stream=True)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        await answer

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None:
            self._transport.write(self._h2.data_to_send())


async def rate(send: Send, seconds: float) -> float:
    """Sends a second, `AT_ONCE` at a time."""
    count, end = 0, float("inf")

    async def over_and_over() -> None:
        nonlocal count
        while time.monotonic() < end:
            await send()
            count += 1

    tasks = [asyncio.create_task(over_and_over()) for _ in range(AT_ONCE)]
    await asyncio.sleep(WARM_UP)
    before, began = count, time.monotonic()
    await asyncio.sleep(seconds)
    found = (count - before) / (time.monotonic() - began)
    end = 0.0
    await asyncio.gather(*tasks)
    return found


@asynccontextmanager
async def far_side() -> AsyncIterator[tuple[int, int]]:
    node = shutil.which("node") or str(Path(sys.executable).parent / "node")
    script = str(Path(__file__).parent / "push_server.mjs")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(node, script, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        apple, google = (await process.stdout.readline()).split()
        yield int(apple), int(google)
    finally:
        process.stdin.close()
        await process.wait()


def settings(apple: int, google: int) -> PushSettings:
    key = ec.generate_private_key(ec.SECP256R1())
    url = f"http://127.0.0.1:{google}"
    app = {
        "uuid": UUID,
        "apns": {
            "team": "BENCH12345",
            "key_id": "BENCH12345",
            "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "topic": "com.example.bench",
            "url": f"http://127.0.0.1:{apple}",
        },
        "fcm": {"url": url, "service_account": service_account(url)},
    }
    return PushSettings.model_validate({"apps": {"bench": app}})


def services() -> Services:
    """Of these the plugin uses the clock alone."""
    found = object.__new__(Services)
    object.__setattr__(found, "now", lambda: datetime.now(UTC))
    return found


async def hand_off(_: str) -> None:
    """Nothing is stored."""


def through(sender: Any, channel: str) -> Send:
    """Another message each time."""
    number = 0
    fields = FIELDS[channel].model_validate(TEXTS).model_dump()
    created = datetime.now(UTC)
    data: Any = {"mobileApp": {"@uuid": UUID}}

    async def send() -> None:
        nonlocal number
        number += 1
        event = Event(number, "bench", Queue.REALTIME, channel, data, created, expiration=created + timedelta(hours=1))
        template = TemplateRef("bench", channel, 1)
        message = Message(event, channel, TOKENS[channel], "shop", template, Content({}, fields), f"{number}@bench")
        outcome = await sender.deliver(message, Attempt(1, hand_off))
        if not isinstance(outcome, Delivered):
            raise RuntimeError(outcome.text)

    return send


async def bare_apns(port: int) -> Send:
    _, client = await asyncio.get_running_loop().create_connection(Bare, "127.0.0.1", port)
    body = json.dumps({"aps": {"alert": TEXTS}}, ensure_ascii=False).encode()
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"127.0.0.1"),
        (b"authorization", b"bearer " + b"x" * 200),
        (b"apns-topic", b"com.example.bench"),
    ]
    number = 0

    async def send() -> None:
        nonlocal number
        number += 1
        own = [(b":path", b"/3/device/%064x" % number), (b"apns-id", b"59f6f227-da89-5d0e-a5db-%012x" % number)]
        await client.send([*headers[:3], *own, *headers[3:]], body)

    return send


def bare_fcm(session: ClientSession, port: int) -> Send:
    body = json.dumps({"message": {"token": TOKENS["android"], "notification": TEXTS}}, ensure_ascii=False).encode()
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}

    async def send() -> None:
        url = f"http://127.0.0.1:{port}/v1/projects/bench/messages:send"
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()

    return send


async def measure(seconds: float, runs: int) -> dict[str, list[tuple[float, float]]]:
    async with (
        far_side() as (apple, google),
        open_sender(settings(apple, google), services()) as sender,
        ClientSession(connector=TCPConnector(limit=AT_ONCE)) as session,
    ):
        pairs = {
            "apns": (await bare_apns(apple), through(sender, "ios")),
            "fcm": (bare_fcm(session, google), through(sender, "android")),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
        for _ in range(runs):
            for name, (bare, plugin) in pairs.items():
                found[name].append((await rate(bare, seconds), await rate(plugin, seconds)))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.pushing", description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--runs", type=int, required=True)
    args = parser.parse_args()
    print(json.dumps(uvloop.run(measure(args.seconds, args.runs))))


if __name__ == "__main__":
    main()
