"""`petitbleu demo`: a server, stand-ins for the providers, and the sample events over SOAP, all on this machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from lxml import etree

from ..commands import Command
from ..config import find_config, read_config
from ..errors import PetitbleuError
from ..instance import plan
from ..intake.eventxml import events_in
from ..lifecycle import SENT
from ..logs import set_up
from ..operating import Actor, EventAttempt, EventRecord
from ..serving.app import Server, running
from ..types import Caught, Queue
from ..xmldata import parse_xml
from .events import way
from .local import LOCAL

WAIT = 30.0
"""Seconds until everything must have arrived."""
RECEIPTS = 5.0
"""Seconds that a receipt is waited for where one is expected."""
_ENVELOPE = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:{schema}">
  <soapenv:Body><urn:PushEvent><urn:sessiontoken>mc/demo</urn:sessiontoken>
  <urn:domEvent>{event}</urn:domEvent></urn:PushEvent></soapenv:Body>
</soapenv:Envelope>"""
ACTOR = Actor(LOCAL, "demo")
_SCHEMAS = {Queue.REALTIME: "rtEvent", Queue.BATCH: "batchEvent"}


@dataclass(slots=True)
class Box:
    """What the stand-ins were given."""

    messages: list[Caught] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, message: Caught) -> None:
        self.messages.append(message)
        self.arrived.set()

    def of(self, attempts: Sequence[EventAttempt]) -> list[Caught]:
        """Those that the attempts know by the reference they were answered with."""
        known = {(one.channel, one.reference) for one in attempts if one.reference}
        return [one for one in self.messages if (one.channel, one.reference) in known]


@dataclass(frozen=True, slots=True)
class Sample:
    """An event of the sample instance, as it stands in its file."""

    name: str
    queue: Queue
    type: str
    xml: str


@dataclass(frozen=True, slots=True)
class Story:
    """What became of one event."""

    record: EventRecord
    caught: list[Caught]

    def problems(self) -> list[str]:
        found = self.record.event
        if found.status != SENT:
            return [f"is {found.status}: {found.reason}"]
        if not self.caught:
            return ["is sent, and no stand-in has it"]
        return [problem for message in self.caught for problem in message.problems]


def samples(directory: Path) -> list[Sample]:
    found = []
    for file in sorted((directory / "events").glob("*.xml")):
        root = parse_xml(file.read_bytes())
        (event,) = events_in(root)
        found.append(Sample(file.name, event.queue, event.attributes["type"], etree.tostring(root, encoding="unicode")))
    if not found:
        raise PetitbleuError(f"{directory / 'events'} holds no sample events")
    return found


def _free(host: str, port: int) -> int:
    """`port`, or 0 for any free one where something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return 0
    return port


@asynccontextmanager
async def standing_in(directory: Path, sets: Sequence[str], box: Box) -> AsyncIterator[tuple[list[str], list[str]]]:
    """Stand-ins for the providers of every plugin that has some: the settings that lead to them, and their names."""
    async with AsyncExitStack() as stack:
        overrides, names = [], []
        for plugin, catcher in plan(directory, sets).calls.catchers():
            instead = await stack.enter_async_context(catcher.start(box.take))
            overrides += [f"plugins.{plugin}.{path}={value}" for path, value in _flat(instead)]
            names.append(catcher.name)
        yield overrides, names


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", json.dumps(value)


async def _demo(args: argparse.Namespace) -> int:
    directory = find_config(args.config)
    if "soap_ingest" not in read_config(directory, args.set).plugin_names():
        raise PetitbleuError(f"the demo pushes its events over SOAP; {directory} does not list soap_ingest")
    set_up(sys.stderr, 30)
    chosen = {setting.partition("=")[0] for setting in args.set}
    with tempfile.TemporaryDirectory(prefix="petitbleu-demo-") as folder:
        box = Box()
        async with standing_in(directory, args.set, box) as (instead, names):
            overrides = [
                f"database=sqlite://{folder}/demo.db",
                "http.host=127.0.0.1",
                f"http.port={_free('127.0.0.1', 8080)}",
                *instead,
            ]
            sets = [one for one in overrides if one.partition("=")[0] not in chosen] + list(args.set)
            async with running(directory, sets) as server:
                return await _show(server, box, samples(directory), names, once=args.once)


async def _show(server: Server, box: Box, events: Sequence[Sample], names: Sequence[str], *, once: bool) -> int:
    instance = server.instance
    print(f"Petitbleu listens on {server.url}; in place of providers there are: {', '.join(names) or 'none'}.")
    print("\nPublishing templates")
    for key in instance.drafts.list():
        published = await instance.templates.publish(instance.drafts.load(*key), ACTOR)
        print(f"  {'/'.join(key)}  version {published.version}")
    print(f"\nPushing {len(events)} events over SOAP")
    started = time.monotonic()
    ids = []
    async with aiohttp.ClientSession() as client:
        for sample in events:
            ids.append(await _push(client, server.url, sample))
            print(f"  {sample.name}  plId {ids[-1]}")
    wrong: dict[str, list[str]] = {}
    for sample, event_id in zip(events, ids, strict=True):
        story = await _end(server, box, event_id, started + WAIT)
        if problems := story.problems():
            wrong[sample.name] = problems
        _print(story)
    wsdl = f"{server.url}/nl/jsp/schemawsdl.jsp?schema=nms:rtEvent"
    print(f"WSDL     {wsdl}\nHealth   {server.url}/readyz")
    for name, problems in wrong.items():
        for problem in problems:
            print(f"WRONG    {name}: {problem}", file=sys.stderr)
    if once:
        print(f"\n{len(ids) - len(wrong)} of {len(ids)} messages arrived and are right")
        return 1 if wrong else 0
    print("\nPush your own events; Ctrl-C stops.", flush=True)
    await _until_interrupted(server, box)
    return 0


async def _push(client: aiohttp.ClientSession, url: str, sample: Sample) -> int:
    body = _ENVELOPE.format(schema=_SCHEMAS[sample.queue], event=sample.xml)
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f"nms:{_SCHEMAS[sample.queue]}#PushEvent"}
    async with client.post(f"{url}/nl/jsp/soaprouter.jsp", data=body.encode(), headers=headers) as response:
        answer = parse_xml(await response.read())
        found = answer.findtext(".//{*}plId")
        if response.status != 200 or not found or int(found) <= 0:
            detail = " ".join("".join(map(str, answer.itertext())).split())
            raise PetitbleuError(f"{sample.name} was refused: {detail}")
        return int(found)


async def _end(server: Server, box: Box, event_id: int, until: float) -> Story:
    """Once it has ended, and the receipts for it that a stand-in sends have come."""
    sent_at = None
    while True:
        story = await _story(server, box, event_id)
        now = time.monotonic()
        if story.record.event.processed is not None:
            sent_at = sent_at or now
            attempts = story.record.attempts
            # what did not arrive may go on another way
            heard = not attempts or attempts[-1].feedback == "received" or not attempts[-1].awaited
            if heard or now > sent_at + RECEIPTS:
                return story
        if now > until:
            return story
        await asyncio.sleep(0.02)


async def _story(server: Server, box: Box, event_id: int) -> Story:
    record = await server.instance.services.desk.events.record(event_id, LOCAL)
    return Story(record, box.of(record.attempts))


def _print(story: Story) -> None:
    print("\n" + "─" * 100)
    for message in story.caught:
        print("\n".join(message.lines))
        print()
    for line in way(story.record):
        print(line)
    print("─" * 100)


async def _until_interrupted(server: Server, box: Box) -> None:
    """Show what is pushed from now on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    shown = len(box.messages)
    waiter = asyncio.create_task(stop.wait())
    while not stop.is_set():
        box.arrived.clear()
        while shown < len(box.messages):
            message = box.messages[shown]
            shown += 1
            print("\n".join(["", "─" * 100, *message.lines, ""]))
            # the answer is written down after the message was taken
            for _ in range(100):
                event_id = await server.instance.status.by_reference(message.channel, message.reference)
                if event_id is not None:
                    story = await _story(server, box, event_id)
                    print("\n".join(way(story.record)), flush=True)
                    break
                await asyncio.sleep(0.02)
        arrival = asyncio.create_task(box.arrived.wait())
        await asyncio.wait({waiter, arrival}, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="check that everything arrived and is right, then stop")


COMMANDS = (Command("demo", "see it work: a server, stand-ins for providers, sample events", _demo, _arguments),)
