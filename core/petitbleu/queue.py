"""The queue: event rows that are claimed under a lease, and everything that is written about them afterwards.

Only this module and `operations.py` change rows of `queue`. A claim gives a lease token; every later write carries it
and changes nothing when the lease is gone. The database's clock decides what is due, expired or abandoned.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient

from .batching import Batcher
from .errors import EventsRefused, HandOffRefused
from .idempotency import First, Proposal, Stored, propose, resolve
from .lifecycle import FINAL, PROCESSING, TRANSITIONS
from .metrics import Metrics
from .store import CELL_SHIFT, Store
from .store.payload import decode, encode, micros, optional_micros
from .types import Event, Queue

logger = logging.getLogger("petitbleu.worker")

LANES = {Queue.REALTIME: 0, Queue.BATCH: 1}
STATES = ("waiting", "ready", "leased", "paused")
"""By the number in the column `state`."""
ID_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Claimed:
    """An event that is ours until the lease runs out."""

    id: int
    lease: str
    event: Event
    tries: int
    attempts: int
    crashes: int
    unknowns: int
    handed_off: str
    """The provider that an earlier, crashed try may have given the message to."""
    claimed_at: int
    expires: int | None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """How one hand-over went. Times in microseconds; `outcome` is `delivered`, `deferred`, `failed` or `unknown`."""

    number: int
    channel: str
    provider: str
    template: str
    started: int
    ended: int
    outcome: str
    scope: str = ""
    code: str = ""
    text: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a claimed event: a final status, or `pending` with the time of its next try."""

    claimed: Claimed
    status: str
    reason: str
    channel: str
    template: str = ""
    tries: int = 0
    attempts: int = 0
    unknowns: int = 0
    due: int | None = None
    attempt: AttemptRecord | None = None
    at: int = 0

    def __post_init__(self) -> None:
        if self.status not in TRANSITIONS[PROCESSING] or (self.due is None) != (self.status in FINAL):
            raise ValueError(f"a processing event cannot become {self.status} with due={self.due}")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Open events of one queue in one state; `oldest_due` is for how many seconds one of them has been due."""

    queue: str
    state: str
    events: int
    oldest_due: float


class WorkQueue:
    """`cell` numbers this installation; `lease` is in seconds, and so are the `windows` in which an event of a type can
    be repeated."""

    def __init__(
        self,
        store: Store,
        cell: int,
        lease: float,
        windows: Mapping[str, float] = MappingProxyType({}),
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics or Metrics()
        self._cell = cell
        self._lease = int(lease * 1_000_000)
        self._ids: list[int] = []
        self._ids_lock = asyncio.Lock()
        self._windows = {event_type: int(window * 1_000_000) for event_type, window in windows.items()}
        self._puts: Batcher[Sequence[Event], list[Stored] | EventsRefused] = Batcher(self._write_events, most=200)
        self._marks: Batcher[tuple[Claimed, str], bool] = Batcher(self._write_hand_offs)
        self._steps: Batcher[Step, bool] = Batcher(self._write_steps)
        self._depth = (0.0, 0)
        self._claims = itertools.count()
        self.incarnation = uuid.uuid4().hex[:20]
        """Names this process for as long as it lives; its lease tokens begin with it."""
        self.arrived = asyncio.Event()
        """Set when this process has stored work that is due."""

    # ------------------------------------------------------------------------------------------------------ in

    async def put(self, events: Sequence[Event]) -> list[int]:
        """Store the events durably, all or none, and return their ids in order. Raises `EventsRefused`."""
        return [one.id for one in await self.store(events)]

    async def store(self, events: Sequence[Event]) -> list[Stored]:
        """As `put`, and telling which events are new rather than repeated."""
        stored = await self._puts.add(events)
        if isinstance(stored, EventsRefused):
            raise stored
        counted, depth = self._depth
        fresh = sum(one.fresh for one in stored)
        self._metrics.repeated(len(stored) - fresh)
        self._depth = (counted, depth + fresh)
        self.arrived.set()
        return stored

    async def _write_events(self, calls: list[Sequence[Event]]) -> list[list[Stored] | EventsRefused]:
        self._metrics.batch("store", len(calls))
        # stored a second time, the events would be sent twice
        return await self._store.again(lambda: self._store_events(calls), twice=False)

    async def _store_events(self, calls: list[Sequence[Event]]) -> list[list[Stored] | EventsRefused]:
        ids = iter(await self._take_ids(sum(len(events) for events in calls)))
        proposed = [[propose(next(ids), event, self._windows) for event in events] for events in calls]
        keys = sorted({one.key for call in proposed for one in call if one.key})
        async with self._store.transaction() as transaction:
            known = await self._lock_keys(keys, transaction) if keys else {}
            answers = resolve(proposed, known)
            fresh = [
                one
                for call, answer in zip(proposed, answers, strict=True)
                if not isinstance(answer, EventsRefused)
                for one, stored in zip(call, answer, strict=True)
                if stored.fresh
            ]
            if fresh:
                rows = [self._row(one.id, one.event) for one in fresh]
                for query in ("insert_queue", "insert_events", "insert_payloads"):
                    await self._store.rows(query, rows, on=transaction)
            if keys:
                await self._take_keys([one for one in fresh if one.key], len(keys), transaction)
        return answers

    async def _lock_keys(self, keys: Sequence[str], transaction: Any) -> dict[str, First]:
        rows = await self._store.rows("lock_keys", [{"key": key} for key in keys], on=transaction)
        return {row["key"]: First(row["event"], row["digest"]) for row in rows if row["holds"]}

    async def _take_keys(self, fresh: Sequence[Proposal], locked: int, transaction: Any) -> None:
        rows = [{"key": one.key, "event": one.id, "digest": one.digest, "until": one.until} for one in fresh]
        if rows:
            await self._store.rows("take_keys", rows, on=transaction)
        # more leave than come, so the table shrinks to what still holds, and no sweeper is needed
        await self._store.rows("purge_keys", 2 * locked, on=transaction)

    def _row(self, event_id: int, event: Event) -> dict[str, Any]:
        created = micros(event.created)
        return {
            "id": event_id,
            "lane": LANES[event.queue],
            "priority": event.priority,
            "due": optional_micros(event.scheduled) or created,
            "expires": optional_micros(event.expiration),
            "type": event.type,
            "channel": event.channel,
            "created": created,
            "external_id": event.external_id,
            "origin": event.origin,
            "email": event.addresses.get("email", ""),
            "mobile_phone": event.addresses.get("mobilePhone", ""),
            "body": encode(event),
        }

    async def _take_ids(self, count: int) -> list[int]:
        """Ids come in blocks taken ahead in a commit of their own; a crash leaves a gap, never a repeat."""
        async with self._ids_lock:
            if len(self._ids) < count:
                block = max(ID_BLOCK, count)
                last = int((await self._store.rows("take_ids", block, "events"))[0]["value"])
                high = self._cell << CELL_SHIFT
                self._ids = [high | key for key in range(last - block + 1, last + 1)]
            taken, self._ids = self._ids[:count], self._ids[count:]
            return taken

    # ---------------------------------------------------------------------------------------------------- claim

    async def claim(self, queue: Queue, most: int) -> list[Claimed]:
        """Up to `most` events that are due, the most urgent first."""
        with self._metrics.claiming(queue):
            lease, rows = await self._store.again(lambda: self._take(queue, most))
        if rows:
            self._metrics.batch("claim", len(rows))
        claimed = [
            Claimed(
                id=row["id"],
                lease=lease,
                event=decode(row["id"], row["body"]),
                tries=row["tries"],
                attempts=row["attempts"],
                crashes=row["crashes"],
                unknowns=row["unknowns"],
                handed_off=row["handed_off"],
                claimed_at=row["claimed"],
                expires=row["expires"],
            )
            for row in rows
        ]
        return sorted(claimed, key=lambda one: (one.event.priority, one.id))

    async def _take(self, queue: Queue, most: int) -> tuple[str, list[dict[str, Any]]]:
        """Always under a new lease: what a lost answer named is nobody's, and must not be kept with what is ours."""
        lease = f"{self.incarnation}-{next(self._claims):x}"
        return lease, await self._store.rows("claim", lease, self._lease, LANES[queue], most)

    async def promote(self) -> int | None:
        """Make ready what has become due; gives the time of the next waiting event, if there is one."""
        await self._store.rows("promote")
        due = (await self._store.rows("next_due"))[0]["due"]
        return None if due is None else int(due)

    def apart(self) -> AbstractAsyncContextManager[BaseDBAsyncClient]:
        """A connection of its own, to renew and rescue from another thread's loop."""
        return self._store.apart()

    async def renew(self, leases: Sequence[str], on: BaseDBAsyncClient | None = None) -> None:
        await self._store.rows("renew", self._lease, [{"lease": lease} for lease in leases], on=on)

    async def rescue(self, most: int = 500, on: BaseDBAsyncClient | None = None) -> int:
        """Take back events whose worker is gone; each counts one crash."""
        overdue = {row["id"]: row["lease"] for row in await self._store.rows("overdue", most, on=on)}
        if not overdue:
            return 0
        rescued = [row["id"] for row in await self._store.rows("rescue", most, on=on)]
        owners = sorted({overdue[one].partition("-")[0] for one in rescued if one in overdue})
        if rescued:
            self._metrics.rescued(len(rescued))
            logger.warning("took back %d events from %s, which gave no sign", len(rescued), ", ".join(owners) or "?")
        return len(rescued)

    async def release(self, claimed: Sequence[Claimed]) -> None:
        """Give back untouched events, at no cost to them."""
        await self._store.rows("release", [{"id": one.id, "lease": one.lease} for one in claimed])

    # ------------------------------------------------------------------------------------------------- hand-off

    async def hand_off(self, claimed: Claimed, provider: str) -> None:
        """Note durably that `provider` may have the message from now on. Raises `HandOffRefused`."""
        if not await self._marks.add((claimed, provider)):
            raise HandOffRefused(f"event {claimed.id}: its lease or its time has run out")

    async def _write_hand_offs(self, marks: list[tuple[Claimed, str]]) -> list[bool]:
        self._metrics.batch("hand_off", len(marks))
        rows = [{"id": one.id, "lease": one.lease, "provider": provider} for one, provider in marks]
        marked = {row["id"] for row in await self._store.rows("hand_off", rows)}
        return [one.id in marked for one, _ in marks]

    # -------------------------------------------------------------------------------------------------- outcome

    async def record(self, step: Step) -> bool:
        """Store what became of an event. False: the lease was lost and nothing is changed."""
        recorded = await self._steps.add(step)
        if step.due is not None:
            self.arrived.set()
        return recorded

    async def _write_steps(self, steps: list[Step]) -> list[bool]:
        self._metrics.batch("record", len(steps))
        # after the lease somebody else has the events; until then an answer is worth waiting for the database
        return await self._store.again(lambda: self._store_steps(steps), patience=self._lease / 1e6)

    async def _store_steps(self, steps: list[Step]) -> list[bool]:
        finals = [{"id": one.claimed.id, "lease": one.claimed.lease} for one in steps if one.due is None]
        retries = [
            {
                "id": one.claimed.id,
                "lease": one.claimed.lease,
                "due": one.due,
                "tries": one.tries,
                "attempts": one.attempts,
                "unknowns": one.unknowns,
            }
            for one in steps
            if one.due is not None
        ]
        done: set[int] = set()
        async with self._store.transaction() as transaction:
            for query, rows in (("finish", finals), ("requeue", retries)):
                if rows:
                    done |= {row["id"] for row in await self._store.rows(query, rows, on=transaction)}
            kept = [one for one in steps if one.claimed.id in done]
            if kept:
                await self._store.rows("record_steps", [_step_row(one) for one in kept], on=transaction)
            attempts = [_attempt_row(one.claimed.id, one.attempt) for one in kept if one.attempt is not None]
            if attempts:
                await self._store.rows("insert_attempts", attempts, on=transaction)
        return [one.claimed.id in done for one in steps]

    # ----------------------------------------------------------------------------------------------------- look

    async def depth(self, clock: Callable[[], float], fresh: float = 0.5) -> int:
        """Open events, counted at most every `fresh` seconds."""
        counted, depth = self._depth
        if not counted or clock() - counted > fresh:
            depth = int((await self._store.rows("depth"))[0]["depth"])
            self._depth = (clock(), depth)
        return depth

    async def backlog(self, on: BaseDBAsyncClient | None = None) -> list[Backlog]:
        """Every queue in every state, also those without events. Reads the whole queue."""
        found = {(row["lane"], row["state"]): row for row in await self._store.rows("backlog", on=on)}
        backlog = []
        for queue, lane in LANES.items():
            for number, state in enumerate(STATES):
                row = found.get((lane, number), {"events": 0, "now": 0, "due": 0})
                backlog.append(Backlog(queue.value, state, row["events"], max(0.0, (row["now"] - row["due"]) / 1e6)))
        return backlog


def _step_row(step: Step) -> dict[str, Any]:
    final = step.due is None
    return {
        "id": step.claimed.id,
        "status": step.status,
        "channel": step.channel,
        "errors": step.attempts if not final or step.status != "sent" else step.attempts - 1,
        "processing": step.claimed.claimed_at,
        "processed": step.at if final else None,
        "process_requested": step.due,
        "template": step.template,
        "reason": _words(step.reason),
    }


def _attempt_row(event_id: int, attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "event": event_id,
        "number": attempt.number,
        "channel": attempt.channel,
        "provider": _words(attempt.provider, 128),
        "template": attempt.template,
        "started": attempt.started,
        "ended": attempt.ended,
        "outcome": attempt.outcome,
        "scope": attempt.scope,
        "code": _words(attempt.code, 64),
        "text": _words(attempt.text),
        "reference": _words(attempt.reference, 255),
    }


def _words(text: str, most: int | None = None) -> str:
    """Fit for every database: whatever a provider says, its answer must be recorded, or the message goes out again."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:most]
