"""SMS and push: stored events that one worker process sends, beside the channel's own client alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from node_programs import npm_smpp, program

from .bare import WINDOW
from .bench import Bench
from .envelopes import APP, Wish
from .processes import output_of, python
from .report import Figure, number
from .server import make_instance, prepare
from .settings import HERE
from .sink import counted
from .throughput import Paired, Part, against, costs, one_drain, stored


@dataclass(frozen=True, slots=True)
class Channel:
    """`plugin` is its part of the configuration for a provider at a port, `sink` the program that stands in for one;
    its templates are in `instance_NAME`."""

    name: str
    wish: Wish
    plugin: Callable[[int], Mapping[str, object]]
    sink: Callable[[int], list[str | Path]]


def _sms(port: int) -> Mapping[str, object]:
    connector = {"host": "127.0.0.1", "port": port, "window": WINDOW}
    return {"sms": {"connectors": {"smsc": connector}, "senders": {"*": {"*": "Shop"}}}}


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _apns(port: int) -> Mapping[str, object]:
    apns = {
        "team": "TEAM123456",
        "key_id": "KEY1234567",
        "key": _pem(ec.generate_private_key(ec.SECP256R1())),
        "topic": "com.example.shop",
        "url": f"http://127.0.0.1:{port}",
    }
    return {"push": {"apps": {"shop": {"uuid": APP, "apns": apns}}}}


def _fcm(port: int) -> Mapping[str, object]:
    account = {
        "project_id": "bench",
        "client_email": "bench@bench.iam.gserviceaccount.com",
        "private_key": _pem(rsa.generate_private_key(65537, 2048)),
        "token_uri": f"http://127.0.0.1:{port}/token",
    }
    fcm = {"service_account": json.dumps(account), "url": f"http://127.0.0.1:{port}", "connections": WINDOW}
    return {"push": {"apps": {"shop": {"uuid": APP, "fcm": fcm}}}}


def _node(kind: str) -> Callable[[int], list[str | Path]]:
    def words(port: int) -> list[str | Path]:
        return [program("node"), HERE / "push_sink.mjs", kind, str(port)]

    return words


def _smsc(port: int) -> list[str | Path]:
    _, folder = npm_smpp()
    return ["env", f"NODE_PATH={folder}", program("node"), HERE / "npm_smsc.js", str(port)]


SMS = Channel("sms", Wish("sms"), _sms, _smsc)
APNS = Channel("apns", Wish("41", device=True), _apns, _node("apns"))
FCM = Channel("fcm", Wish("42", device=True), _fcm, _node("fcm"))


async def sms(bench: Bench) -> list[Figure]:
    return await _sent(bench, SMS)


async def apns(bench: Bench) -> list[Figure]:
    return await _sent(bench, APNS)


async def fcm(bench: Bench) -> list[Figure]:
    return await _sent(bench, FCM)


async def _sent(bench: Bench, channel: Channel) -> list[Figure]:
    """The whole way of stored events, and the plugin's part of it alone."""
    events = bench.settings.channel_events
    runs, alone = [], []
    async with _stage(bench, channel) as own, stored(own, Part(events, wish=channel.wish)) as filled:
        for _ in range(bench.settings.runs):
            before = await _bare(own, channel)
            rate, used = await one_drain(own, filled, events, channel.name, processes=1)
            between = await _bare(own, channel)
            pair = Paired(rate, (before + between) / 2, used)
            rates = f"{number(pair.rate)}/s, bare {number(pair.raw)}/s, ratio {pair.ratio:.3f}"
            bench.say(f"{channel.name} {rates}; {costs(used)}")
            runs.append(pair)
            plugin = await _through_plugin(own, channel)
            part = Paired(plugin, (between + await _bare(own, channel)) / 2, {})
            bench.say(f"{channel.name}, the plugin alone {number(part.rate)}/s, ratio {part.ratio:.3f}")
            alone.append(part)
    return [
        against("bare client", channel.name, runs, 0.4),
        against("bare client", f"{channel.name}_plugin", alone, 0.4),
    ]


@asynccontextmanager
async def _stage(bench: Bench, channel: Channel) -> AsyncIterator[Bench]:
    """With the channel's provider in place of the mail sink, and its instance and database."""
    async with AsyncExitStack() as stack:
        folder = bench.folder / channel.name
        folder.mkdir()
        sink = await stack.enter_async_context(counted(channel.name, channel.sink, folder))
        base = await stack.enter_async_context(bench.postgres.fresh())
        plugins = [channel.plugin(sink.port)]
        templates = HERE / f"instance_{channel.name}" / "templates"
        database = f"database={bench.postgres.database(base)}"
        instance = make_instance(folder / "instance", "sqlite://unused.db", bench.sink.port, plugins, templates)
        await prepare(instance, [database])
        yield replace(bench, folder=folder, sink=sink, instance=instance, base=base)


async def _through_plugin(bench: Bench, channel: Channel) -> float:
    """Messages per second of `through_plugin.py`, to the same provider."""
    (settings,) = channel.plugin(bench.sink.port).values()
    words = python("benchmarks.through_plugin", channel.name, "--seconds", str(bench.settings.raw_seconds))
    return float(await output_of(words, given=json.dumps(settings)))


async def _bare(bench: Bench, channel: Channel) -> float:
    """Messages per second of `bare.py`, to the same provider."""
    words = [channel.name, "--port", str(bench.sink.port), "--seconds", str(bench.settings.raw_seconds)]
    return float(await output_of(python("benchmarks.bare", *words)))
