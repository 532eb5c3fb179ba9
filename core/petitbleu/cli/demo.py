"""`petitbleu demo`: a server, a mail catcher and one event of each type, all on this machine."""

from __future__ import annotations

import argparse
import asyncio
import email.policy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
from aiosmtpd.smtp import SMTP, Envelope
from lxml import etree

from ..app import Server, running
from ..commands import Command
from ..config import find_config, read_config
from ..errors import PetitbleuError
from ..eventxml import events_in
from ..logs import set_up
from ..types import Comparison, EventQuery, Queue
from ..xmldata import parse_xml
from .events import LOCAL, way

WAIT = 30.0
"""Seconds until every mail must have arrived."""
_ENVELOPE = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:{schema}">
  <soapenv:Body><urn:PushEvent><urn:sessiontoken>mc/demo</urn:sessiontoken>
  <urn:domEvent>{event}</urn:domEvent></urn:PushEvent></soapenv:Body>
</soapenv:Envelope>"""
_SCHEMAS = {Queue.REALTIME: "rtEvent", Queue.BATCH: "batchEvent"}


@dataclass(slots=True)
class Catcher:
    """Keeps every mail it is handed; the handler of an aiosmtpd server."""

    mails: list[tuple[str, EmailMessage]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - what the default policy makes
        self.mails.append((", ".join(envelope.rcpt_tos), message))
        self.arrived.set()
        return "250 Caught"

    def of(self, event_id: int) -> tuple[str, EmailMessage] | None:
        return next((mail for mail in self.mails if mail[1]["X-Event-Id"] == str(event_id)), None)


@asynccontextmanager
async def catching(host: str, port: int) -> AsyncIterator[tuple[Catcher, int]]:
    """A mail catcher on `port`, or on a free one where that is taken."""
    catcher = Catcher()
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(catcher, enable_SMTPUTF8=True, ident="petitbleu mail catcher", loop=loop)

    try:
        server = await loop.create_server(protocol, host, port)
    except OSError:
        server = await loop.create_server(protocol, host, 0)
    async with server:
        yield catcher, server.sockets[0].getsockname()[1]


@dataclass(frozen=True, slots=True)
class Sample:
    """An event of the sample instance, as it stands in its file."""

    name: str
    queue: Queue
    type: str
    to: str
    xml: str


def samples(directory: Path) -> list[Sample]:
    found = []
    for file in sorted((directory / "events").glob("*.xml")):
        root = parse_xml(file.read_bytes())
        (event,) = events_in(root)
        xml = etree.tostring(root, encoding="unicode")
        found.append(Sample(file.name, event.queue, event.attributes["type"], event.attributes.get("email", ""), xml))
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


async def _demo(args: argparse.Namespace) -> int:
    directory = find_config(args.config)
    raw = read_config(directory, args.set)
    names = raw.plugin_names()
    missing = [name for name in ("email", "soap_ingest") if name not in names]
    if missing:
        raise PetitbleuError(f"the demo shows email and SOAP; {directory} does not list {' and '.join(missing)}")
    set_up(sys.stderr, 30)
    chosen = {setting.partition("=")[0] for setting in args.set}
    with tempfile.TemporaryDirectory(prefix="petitbleu-demo-") as folder:
        async with catching("127.0.0.1", 1025) as (catcher, mail_port):
            overrides = {
                "database": f"sqlite://{folder}/demo.db",
                "plugins.email.providers.main.host": "127.0.0.1",
                "plugins.email.providers.main.port": str(mail_port),
                "http.host": "127.0.0.1",
                "http.port": str(_free("127.0.0.1", 8080)),
            }
            sets = [f"{key}={value}" for key, value in overrides.items() if key not in chosen] + list(args.set)
            async with running(directory, sets) as server:
                return await _show(server, catcher, samples(directory), mail_port, once=args.once)


async def _show(server: Server, catcher: Catcher, events: Sequence[Sample], mail_port: int, *, once: bool) -> int:
    instance = server.instance
    print(f"Petitbleu listens on {server.url}, a mail catcher on 127.0.0.1:{mail_port}.\n\nPublishing templates")
    for key in instance.drafts.list():
        published = await instance.templates.publish(instance.drafts.load(*key), "demo")
        print(f"  {'/'.join(key)}  version {published.version}")
    print(f"\nPushing {len(events)} events over SOAP")
    started = time.monotonic()
    ids = []
    async with aiohttp.ClientSession() as client:
        for sample in events:
            ids.append(await _push(client, server.url, sample))
            print(f"  {sample.name}  plId {ids[-1]}")
    wrong = []
    for sample, event_id in zip(events, ids, strict=True):
        mail = await _wait(catcher, event_id, started)
        wrong += [f"{sample.name}: {problem}" for problem in _problems(sample, mail)]
        await _print(server, event_id, mail)
    wsdl = f"{server.url}/nl/jsp/schemawsdl.jsp?schema=nms:rtEvent"
    print(f"WSDL     {wsdl}\nHealth   {server.url}/readyz")
    for problem in wrong:
        print(f"WRONG    {problem}", file=sys.stderr)
    if once:
        print(
            f"\n{len(ids) - len({line.partition(':')[0] for line in wrong})} of {len(ids)} mails arrived and are right"
        )
        return 1 if wrong else 0
    print("\nPush your own events; Ctrl-C stops.", flush=True)
    await _until_interrupted(server, catcher)
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


async def _wait(catcher: Catcher, event_id: int, started: float) -> tuple[str, EmailMessage] | None:
    while (mail := catcher.of(event_id)) is None:
        catcher.arrived.clear()
        try:
            async with asyncio.timeout(started + WAIT - time.monotonic()):
                await catcher.arrived.wait()
        except TimeoutError:
            return None
    return mail


def _problems(sample: Sample, mail: tuple[str, EmailMessage] | None) -> list[str]:
    """What is not as it should be with the mail of an event."""
    if mail is None:
        return [f"no mail within {WAIT:g} s"]
    recipient, message = mail
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    checks = {
        f"went to {recipient}, not to {sample.to}": recipient == sample.to,
        "has no subject": bool(message["Subject"]),
        "has no sender": "@" in str(message["From"] or ""),
        "has no text part": text is not None and bool(text.get_content().strip()),
        "has no HTML part": html is not None and "</html>" in html.get_content().lower(),
        "is not marked as automatic": message["Auto-Submitted"] == "auto-generated",
        "shows template code": not any(
            code in part.get_content() for part in (text, html) if part is not None for code in ("{{", "{%")
        ),
        "has defects": not message.defects,
    }
    return [words for words, right in checks.items() if not right]


async def _print(server: Server, event_id: int, mail: tuple[str, EmailMessage] | None) -> None:
    print("\n" + "─" * 100)
    instance = server.instance
    query = EventQuery(Comparison("id", "=", (str(event_id),)))
    for _ in range(200):
        (found,) = await instance.status.find(query, LOCAL)
        if found.processed is not None:
            break
        await asyncio.sleep(0.01)
    if mail is not None:
        recipient, message = mail
        text = message.get_body(("plain",))
        print(f"From:    {message['From']}\nTo:      {recipient}\nSubject: {message['Subject']}\n")
        print(text.get_content().rstrip() if text is not None else "")
        print()
    for line in way(found, await instance.status.attempts(event_id)):
        print(line)
    print("─" * 100)


async def _until_interrupted(server: Server, catcher: Catcher) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    shown = len(catcher.mails)
    waiter = asyncio.create_task(stop.wait())
    while not stop.is_set():
        catcher.arrived.clear()
        while shown < len(catcher.mails):
            mail = catcher.mails[shown]
            shown += 1
            await _print(server, int(mail[1]["X-Event-Id"] or 0), mail)
        arrival = asyncio.create_task(catcher.arrived.wait())
        await asyncio.wait({waiter, arrival}, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="check that every mail arrived and is right, then stop")


COMMANDS = (Command("demo", "see it work: a server, a mail catcher, sample events over SOAP", _demo, _arguments),)
