"""A whole server inside a test: real HTTP, a real worker, a database of its own, and a clock that can be moved."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import asyncpg

from ..audit import ITSELF
from ..cli.events import way
from ..config.settings import Right
from ..data import elements
from ..instance import Instance, Surroundings
from ..lifecycle import FINAL
from ..queue.shares import Flow
from ..services import Services
from ..serving.app import running
from ..store.payload import optional_moment
from ..types import Event, IncomingEvent, Operator, Queue
from .crashes import Crashes
from .instances import OPERATORS, write_instance

EVERYTHING = Operator("test", frozenset(get_args(Right)))
LEASED, HELD = 2, 3


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, as it is written down; `outcome` is `delivered`, `deferred`, `failed` or `unknown`."""

    number: int
    provider: str
    outcome: str
    scope: str
    code: str
    text: str
    reference: str


@dataclass(frozen=True, slots=True)
class Record:
    """An event, as it is written down."""

    id: int
    type: str
    channel: str
    status: str
    reason: str
    errors: int
    """Tries that failed."""
    feedback: str
    template: str
    next_try: datetime | None
    """When a worker will look at it, while it is open."""
    handed_off: str
    """The provider that may have the message, while nobody knows."""
    tries: tuple[Try, ...]


class Server:
    """A running server. Made by `serving`."""

    def __init__(self, folder: Path, modules: Mapping[str, object]) -> None:
        self.folder = folder
        """Where `petitbleu.yaml` and the templates are."""
        self._modules = modules
        self._shift = 0
        self._crashes = Crashes()
        self._running = AsyncExitStack()
        self._server: Any = None

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:PORT`. Another one after a restart."""
        return str(self._server.url)

    @property
    def instance(self) -> Instance:
        """Everything inside. For tests of Petitbleu itself: it may change without notice."""
        found: Instance = self._server.instance
        return found

    @property
    def services(self) -> Services:
        """What plugins are given."""
        return self.instance.services

    @property
    def failures(self) -> dict[tuple[str, str], int]:
        """How often hooks failed or could not be stopped, by plugin and hook."""
        conduct = self.instance.calls.conduct
        return dict(conduct.failures + conduct.left)

    # -------------------------------------------------------------------------------------------------------- its life

    async def start(self) -> None:
        """Start again after `stop`, on the same database and at the same time of its clock."""
        around = Surroundings(self._modules, self._crashes, self._shift, lambda: 0.999)
        self._server = await self._running.enter_async_context(running(self.folder, [], surroundings=around))

    async def stop(self) -> None:
        """As on SIGTERM: take no more, finish what is handed off, give back the rest."""
        await self._running.aclose()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def publish(self) -> None:
        """Publish every template as it stands in `folder`; those with seeds must render them."""
        templates = self.instance.templates
        for key in self.instance.drafts.list():
            draft = self.instance.drafts.load(*key)
            await (templates.publish(draft, ITSELF) if draft.seeds else templates.freeze(draft.snapshot, ITSELF))

    # ----------------------------------------------------------------------------------------------------------- events

    async def push(
        self,
        event_type: str = "note",
        ctx: Mapping[str, Any] | None = None,
        *,
        queue: Queue = Queue.REALTIME,
        operator: Operator = EVERYTHING,
        children: Mapping[str, Any] = MappingProxyType({}),
        **attributes: str,
    ) -> int:
        """Store one event and return its id. Attributes are spelt as callers spell them: `email`, `mobilePhone`,
        `wishedChannel`, `externalId`; `children` are further ones beside `ctx`.

        Raises what `petitbleu.Accept` raises.
        """
        data = {name: elements(value) for name, value in {"ctx": ctx or {}, **children}.items()}
        event = IncomingEvent(queue, {"type": event_type, **attributes}, data)
        (event_id,) = await self.accept([event], operator)
        return event_id

    async def accept(self, events: Sequence[IncomingEvent], operator: Operator = EVERYTHING) -> list[int]:
        """The door in, as an intake has it."""
        return await self.instance.intake(events, operator)

    async def record(self, event_id: int) -> Record:
        """What is written down of an event at this moment."""
        store = self.instance.store
        # two looks that agree: nothing was written between them
        found = None
        while True:
            rows = await store.read(
                "SELECT e.*, q.state, q.due, q.handed_off FROM events e LEFT JOIN queue q ON q.id = e.id "
                "WHERE e.id = ?",
                [event_id],
            )
            if not rows:
                raise LookupError(f"there is no event {event_id}")
            look = rows[0], await self.instance.status.attempts(event_id)
            if look == found:
                return _record(*look)
            found = look

    async def event(self, event_id: int) -> Event:
        """The event as it is stored. Raises `LookupError`."""
        found = await self.services.load_event(event_id)
        if found is None:
            raise LookupError(f"there is no event {event_id}")
        return found

    async def stored(self) -> list[int]:
        """The ids of all events there are, in order."""
        return [row["id"] for row in await self.instance.store.read("SELECT id FROM events ORDER BY id", [])]

    async def settled(self, event_id: int, within: float = 10.0) -> Record:
        """What is written down once nobody works on the event and nobody will before the clock is moved: it has ended,
        or waits for its next try, its scheduled time, or an operator.

        Raises `AssertionError` after `within` seconds.
        """
        return (await self.all_settled([event_id], within))[0]

    async def all_settled(self, ids: Sequence[int], within: float = 10.0) -> list[Record]:
        """As `settled`, of several events, in the given order."""
        clock = asyncio.get_running_loop().time
        end = clock() + within
        # only marks are put into it
        looking = (
            "SELECT e.id, e.type, e.channel, e.status, q.state, q.due "  # noqa: S608
            "FROM events e LEFT JOIN queue q ON q.id = e.id "
            f"WHERE e.id IN ({', '.join('?' * len(ids))})"
        )
        while True:
            rows = await self.instance.store.read(looking, list(ids))
            late = [row["id"] for row in rows if not self._settled(row)]
            if len(rows) == len(set(ids)) and not late:
                return [await self.record(one) for one in ids]
            if clock() > end:
                story = "\n".join([line for one in late[:3] for line in await self.history(one)])
                raise AssertionError(f"{len(late)} events have not settled in {within:g} s:\n{story}")
            await asyncio.sleep(0.005)

    def _settled(self, row: Mapping[str, Any]) -> bool:
        state = row["state"]
        if state is None or state == HELD:
            return state == HELD or row["status"] in FINAL
        if state == LEASED:
            return False
        # or it waits for a provider that is left alone for a while
        flow = Flow(row["channel"], row["type"])
        return row["due"] > self.instance.store.now() or flow in self.instance.throttle.blocked()

    async def ended(self, event_id: int, tries: int = 30) -> Record:
        """What is written down at the event's end, after as much time as that takes.

        Raises `AssertionError` if it has not ended after so many looks.
        """
        for _ in range(tries):
            found = await self.settled(event_id)
            if found.next_try is None:
                return found
            await self.travel(max((found.next_try - self.now()).total_seconds(), 0.0) + 1)
        raise AssertionError("\n".join(["the event does not end:", *await self.history(event_id)]))

    async def history(self, event_id: int) -> list[str]:
        """The event's story, a line a step, as `petitbleu events show` prints it."""
        return way(await self.services.desk.events.record(event_id, EVERYTHING))

    # -------------------------------------------------------------------------------------------------------- the clock

    def now(self) -> datetime:
        """The time, by the clock that decides: the database's."""
        return self.services.now()

    async def travel(self, time: float | timedelta | datetime) -> None:
        """Let so many seconds pass, or the time until a moment, at once: what becomes due by then is taken up.

        To whoever is at work just now it is as if the machine had slept: a worker's lease may have run out.
        """
        if isinstance(time, datetime):
            time = time - self.now()
        seconds = time.total_seconds() if isinstance(time, timedelta) else time
        if seconds < 0:
            raise ValueError("the clock goes forward only")
        await self.instance.store.shift_clock(seconds)
        self._shift = self.instance.store.queries.shift
        await self.instance.queue.rescue()
        self.instance.queue.look_again()

    async def travel_to_next_try(self, event_id: int) -> None:
        """Until the event is due. Raises `AssertionError` if it is not open."""
        found = await self.record(event_id)
        if found.next_try is None:
            raise AssertionError(f"event {event_id} is {found.status}: {found.reason}")
        await self.travel(max(0.0, (found.next_try - self.now()).total_seconds()) + 0.001)

    # ---------------------------------------------------------------------------------------------------------- trouble

    def crash_at(self, place: str) -> None:
        """Let the worker die at the next event that passes `place`, one of `CRASH_PLACES`, as that event sees it:
        nothing more is written down and its lease runs out. Await `rescued` then."""
        self._crashes.arm(place)

    async def crashed(self, within: float = 10.0) -> None:
        """Until the crash has struck."""
        async with asyncio.timeout(within):
            await self._crashes.struck.wait()

    async def rescued(self, within: float = 10.0) -> None:
        """Until the crash has struck, then past the lease: what the dead worker had is taken up by another one."""
        await self.crashed(within)
        # the dead one's task ends first
        await asyncio.sleep(0)
        await self.travel(self.instance.config.delivery.lease + 1)

    @asynccontextmanager
    async def stalled_database(self) -> AsyncIterator[None]:
        """Inside, whoever writes to the database waits for a lock."""
        url = self.instance.config.database_url()
        if self.instance.store.dialect == "postgres":
            connection = await asyncpg.connect(url)
            try:
                async with connection.transaction():
                    await connection.execute("LOCK TABLE queue, events, payloads IN EXCLUSIVE MODE")
                    yield
            finally:
                await connection.close()
            return
        blocker = sqlite3.connect(url.partition("://")[2].partition("?")[0], isolation_level=None)
        try:
            blocker.execute("BEGIN IMMEDIATE")
            yield
        finally:
            blocker.close()


def _record(row: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]) -> Record:
    return Record(
        id=row["id"],
        type=row["type"],
        channel=row["channel"],
        status=row["status"],
        reason=row["reason"],
        errors=row["errors"],
        feedback=row["feedback"],
        template=row["template"],
        next_try=optional_moment(row["due"]),
        handed_off=row["handed_off"] or "",
        tries=tuple(
            Try(
                number=one["number"],
                provider=one["provider"],
                outcome=one["outcome"],
                scope=one["scope"],
                code=one["code"],
                text=one["text"],
                reference=one["reference"],
            )
            for one in attempts
        ),
    )


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    plugins: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    modules: Mapping[str, object] = MappingProxyType({}),
    event_types: Mapping[str, Mapping[str, Any]] = MappingProxyType({"note": {}}),
    templates: Mapping[str, Mapping[str, str | bytes]] = MappingProxyType({}),
    operators: Mapping[str, Mapping[str, Any]] = OPERATORS,
    settings: Mapping[str, Any] = MappingProxyType({}),
    database: str = "sqlite://test.db",
) -> AsyncIterator[Server]:
    """A server in this process that listens on a free port, works, and is stopped in order at the end.

    - `folder` gets the configuration and, by default, an SQLite database.
    - `plugins` are those of the configuration, in the order in which they are called, each with its settings.
    - `modules` are plugins by name that need not be installed: modules, or objects whose methods are marked with
      `hookimpl`. One that is not among `plugins` comes after them, without settings.
    - `event_types` and `operators` are the sections of that name. An operator without a password has `PASSWORD`, and
      may write `login/password` where a token is asked for.
    - `templates` are, under `TYPE/CHANNEL`, their files by name. They are published; their types need no entry in
      `event_types`, and `template.yaml` and `seeds.yaml` may be left out.
    - `settings` are further sections, put on top of all that.
    - `database` is where events are stored: `sqlite://PATH` or `postgres://…`.

    Raises `petitbleu.PetitbleuError` where the server would not start.
    """
    listed = {**plugins, **{name: {} for name in modules if name not in plugins}}
    write_instance(
        folder,
        plugins=listed,
        database=database,
        event_types=event_types,
        templates=templates,
        operators=operators,
        settings=settings,
    )
    server = Server(folder, modules)
    await server.start()
    try:
        await server.publish()
        yield server
    finally:
        await server.stop()


__all__ = ["EVERYTHING", "Record", "Server", "Try", "serving"]
