"""Messages from the broker into the store: acknowledged once they are there for good, or set aside with the reasons.

What cannot be stored at the moment is held here, unacknowledged, and tried again. It is not given back: a quorum queue
counts what comes back, and after some times drops it. No more than `prefetch` messages are held, so the rest stays
with the broker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from random import random

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.common import FieldArray
from petitbleu import (
    Accept,
    AccessDenied,
    Check,
    EventProblem,
    EventsRefused,
    IncomingEvent,
    Operator,
    Services,
    Unavailable,
)

from .reading import Reader
from .settings import AmqpSettings

logger = logging.getLogger(__name__)

FIRST_WAIT = 0.5
MOST_REASONS = 20
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Read:
    """A message and the events in it."""

    message: DeliveredMessage
    events: Sequence[IncomingEvent]


class Feed:
    """The plugin's state on servers that take events."""

    def __init__(self, settings: AmqpSettings, services: Services, accept: Accept) -> None:
        self._settings = settings
        self._accept = accept
        self._now = services.now
        self._reader = Reader(services.event_types, services.body_limit, settings.origin)
        self._operator = Operator(
            f"amqp/{settings.queue}",
            frozenset({"push"}),
            None if settings.event_types is None else frozenset(settings.event_types),
            None if settings.brands is None else frozenset(settings.brands),
        )
        self._arrived: asyncio.Queue[DeliveredMessage | None] = asyncio.Queue()
        """None: look up, something has ended."""
        self._stop = asyncio.Event()
        self.connecting = False
        self._trouble = "not connected yet"
        self._stored = self._refused = 0

    def check(self) -> Check:
        """A broker that is away hurts no other way in, so it is a warning."""
        text = self._trouble or f"{self._stored} events taken, {self._refused} messages refused since the start"
        return Check(f"queue {self._settings.queue}", True, text, warning=bool(self._trouble))

    def stop(self) -> None:
        """Finish what is being stored, and take no more."""
        self._stop.set()
        self._arrived.put_nowait(None)

    async def run(self) -> None:
        """Until `stop`, whatever happens to the connection."""
        failures = 0
        while not self._stop.is_set():
            try:
                await self._session()
                failures = 0
            except Exception as error:
                failures = 0 if not self._trouble else failures + 1
                self._in_trouble(f"{type(error).__name__}: {error}")
            if not self._stop.is_set():
                await self._wait(min(self._settings.retry_cap, FIRST_WAIT * 2 ** min(failures, 16)))

    async def _session(self) -> None:
        """One connection, until it or the consumer ends."""
        settings = self._settings
        self._arrived = asyncio.Queue()
        connection = aiormq.Connection(settings.address(), context=settings.tls())
        self.connecting = True
        try:
            async with asyncio.timeout(settings.connect):
                await connection.connect()
                channel = await connection.channel(publisher_confirms=True)
                await self._declare(channel)
                await channel.basic_qos(prefetch_count=settings.prefetch)
                # whatever ends, somebody waits for the next message
                channel.closing.add_done_callback(lambda _: self._arrived.put_nowait(None))
                channel.on_consumer_cancel_callbacks.add(self._cancelled)
                await channel.basic_consume(settings.queue, self._arrived.put)
            self.connecting = False
            self._trouble = ""
            logger.info("consuming", extra={"queue": settings.queue})
            while (batch := await self._batch()) and await self._take(channel, batch):
                pass
            if channel.is_closed and not self._stop.is_set():
                raise ConnectionError("the connection or its channel has ended")
        finally:
            with suppress(Exception):
                async with asyncio.timeout(settings.connect):
                    await connection.close()

    async def _declare(self, channel: AbstractChannel) -> None:
        settings = self._settings
        for name in (settings.queue, settings.dead_letter):
            if settings.declare:
                await channel.queue_declare(name, durable=True, arguments={"x-queue-type": settings.kind})
            else:
                await channel.queue_declare(name, passive=True)

    async def _cancelled(self, _: object) -> None:
        self._in_trouble(f"the broker has ended the consumer: is the queue {self._settings.queue} gone?")
        self._arrived.put_nowait(None)

    async def _batch(self) -> list[DeliveredMessage]:
        """What has arrived, at least one; nothing: it is over."""
        found = []
        one = await self._arrived.get()
        while one is not None and not self._stop.is_set():
            found.append(one)
            if len(found) == self._settings.batch or self._arrived.empty():
                return found
            one = self._arrived.get_nowait()
        return []

    async def _take(self, channel: AbstractChannel, batch: Sequence[DeliveredMessage]) -> bool:
        """Store a batch, message by message as many as go into one commit; False: it is over, and the rest unread."""
        reads = []
        for message in batch:
            try:
                reads.append(Read(message, self._reader.events(message)))
            except EventsRefused as refused:
                await self._set_aside(channel, message, refused.problems)
                reads.append(Read(message, ()))
        for some in _split(reads, self._settings.batch):
            if not await self._store(channel, [one for one in some if one.events]):
                return False
            # stored for good, or set aside: and so is all that came before it
            await channel.basic_ack(some[-1].message.delivery_tag or 0, multiple=True)
        return True

    async def _store(self, channel: AbstractChannel, reads: Sequence[Read]) -> bool:
        """Until every message is stored or set aside; False: the server stops before that."""
        tries = 0
        while reads:
            try:
                await self._accept([event for one in reads for event in one.events], self._operator)
            except EventsRefused as refused:
                if len(reads) > 1 and any(not one.attribute for one in refused.problems):
                    # it is about the call, not about one of its events
                    return await self._one_by_one(channel, reads)
                reads = await self._sort_out(channel, reads, refused.problems)
            except AccessDenied:
                if len(reads) > 1:
                    return await self._one_by_one(channel, reads)
                reason = "its event type or brand is not one that may come by this queue"
                reads = await self._sort_out(channel, reads, [EventProblem(1, "", "", reason)])
            except Exception as error:
                # of Unavailable the text is for the caller; anything else is ours to look at
                self._in_trouble(str(error) if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}")
                wait = max(getattr(error, "retry_after", 0.0), FIRST_WAIT * 2 ** min(tries, 16))
                await self._wait(min(self._settings.retry_cap, wait))
                tries += 1
                if self._stop.is_set() or channel.is_closed:
                    return False
            else:
                self._trouble = ""
                self._stored += sum(len(one.events) for one in reads)
                return True
        return True

    async def _one_by_one(self, channel: AbstractChannel, reads: Sequence[Read]) -> bool:
        for one in reads:
            if not await self._store(channel, [one]):
                return False
        return True

    async def _sort_out(
        self, channel: AbstractChannel, reads: Sequence[Read], problems: Sequence[EventProblem]
    ) -> Sequence[Read]:
        """Set aside the messages with problems; the others are left. Problems count through all events."""
        left = []
        before = 0
        for one in reads:
            own = [
                EventProblem(problem.position - before, problem.external_id, problem.attribute, problem.text)
                for problem in problems
                if len(reads) == 1 or before < problem.position <= before + len(one.events)
            ]
            before += len(one.events)
            if own:
                await self._set_aside(channel, one.message, own)
            else:
                left.append(one)
        return left

    async def _set_aside(
        self, channel: AbstractChannel, message: DeliveredMessage, problems: Sequence[EventProblem]
    ) -> None:
        """To the dead letters, with the reasons; when this returns, the broker has it there for good."""
        self._refused += 1
        properties = message.header.properties
        reasons: FieldArray = [_line(str(problem)) for problem in problems[:MOST_REASONS]]
        # CC and BCC would send it to other queues as well; of a user ID the broker takes our own only
        properties.headers = {
            **{name: value for name, value in (properties.headers or {}).items() if name not in ("CC", "BCC")},
            "x-petitbleu-reasons": reasons,
            "x-petitbleu-queue": self._settings.queue,
            "x-petitbleu-at": _second(self._now()),
        }
        properties.delivery_mode = 2
        properties.expiration = properties.user_id = None
        await channel.basic_publish(
            message.body, routing_key=self._settings.dead_letter, properties=properties, mandatory=True
        )
        logger.warning(
            "a message is refused",
            extra={"queue": self._settings.queue, "message_id": properties.message_id, "reasons": len(problems)},
        )

    async def _wait(self, seconds: float) -> None:
        """Half to all of it, unless the server stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * (0.5 + random() / 2)):  # noqa: S311 - spreads processes, hides nothing
                await self._stop.wait()

    def _in_trouble(self, text: str) -> None:
        if text != self._trouble:
            logger.warning("%s", text, extra={"queue": self._settings.queue})
        self._trouble = text


def _split(reads: Sequence[Read], most: int) -> Iterator[Sequence[Read]]:
    """In order, with at most `most` events together; a message with more is alone."""
    some: list[Read] = []
    events = 0
    for one in reads:
        if some and events + len(one.events) > most:
            yield some
            some, events = [], 0
        some.append(one)
        events += len(one.events)
    if some:
        yield some


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def _second(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


@asynccontextmanager
async def open_feed(settings: AmqpSettings, services: Services, accept: Accept | None) -> AsyncIterator[Feed | None]:
    """Consumes in the background; what is not stored at the end goes back to the broker."""
    if accept is None:
        yield None
        return
    feed = Feed(settings, services, accept)
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        feed.stop()
        if feed.connecting:
            running.cancel()
        await asyncio.wait({running})
