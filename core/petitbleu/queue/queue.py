"""The queue: event rows that are claimed under a lease, and everything that is written about them afterwards.

What a process stores itself it may lease to its own worker in the same commit. Only this module and `operations/`
change rows of `queue`. A claim gives a lease token; every later write carries it and changes nothing when the lease is
gone. The database's clock decides what is due, expired or abandoned.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

from tortoise.backends.base.client import BaseDBAsyncClient

from ..batching import Batcher
from ..data import to_json
from ..errors import EventsRefused, HandOffRefused
from ..metrics import Metrics
from ..outbox.notices import Outbox
from ..reports.tally import Tally
from ..steps import Claimed, Step, step_row
from ..store import CommitUnknown, Store, StoreError
from ..store.together import insert, settle, settled
from ..suppression.guard import Added, Suppressions
from ..types import Event, Queue
from .depth import Depth
from .idempotency import CallKey, Proposal, Stored, call_key, propose, propose_call
from .ids import Ids
from .keys import store_keyed
from .rows import LANES, LEASED, QUEUES, READY, claimed_of, fresh_of, queue_row
from .shares import Flow

logger = logging.getLogger("petitbleu.worker")

LINGER = 0.001
"""Seconds a write waits for company, once writes have begun to come several at a time."""
INTAKE_LINGER = 0.002
"""The same for events that come in: their callers wait for the commit anyway, and fewer of them are cheaper for all."""
TOGETHER = 200
"""Events that calls store in one commit; a call with more has its own. While it is under way others are read."""

Kind: TypeAlias = Literal["claim", "claim_expired", "claim_suspects"]
_Put: TypeAlias = tuple[Sequence[Event], CallKey | None]


class Taker(Protocol):
    """A worker that takes fresh events without a claim."""

    def room(self, events: Sequence[Event]) -> int:
        """How many of these events, from the first on, it would begin with at once."""
        ...

    def take(self, claimed: Sequence[Claimed]) -> None: ...


class WorkQueue:
    """`cell` numbers this installation; `lease` is in seconds, and so are the `windows` in which an event of a type can
    be repeated, and the `call_window` in which a call with a key can."""

    def __init__(
        self,
        store: Store,
        cell: int,
        lease: float,
        windows: Mapping[str, float] = MappingProxyType({}),
        metrics: Metrics | None = None,
        call_window: float = 86400.0,
        tally: Tally | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics or Metrics()
        self._tally = tally or Tally()
        self._lease = int(lease * 1_000_000)
        self._ids = Ids(store, cell)
        self._windows = {event_type: int(window * 1_000_000) for event_type, window in windows.items()}
        self._call_window = int(call_window * 1_000_000)
        self._puts: Batcher[_Put, list[Stored] | EventsRefused] = Batcher(
            self._write_events, most=TOGETHER, linger=INTAKE_LINGER, weigh=lambda put: len(put[0])
        )
        self._marks: Batcher[tuple[Claimed, str, Sequence[str]], bool] = Batcher(self._write_hand_offs, linger=LINGER)
        self._steps: Batcher[Step, bool] = Batcher(self._write_steps, linger=LINGER)
        self._claims = itertools.count()
        self.depth = Depth(store)
        self.taker: Taker | None = None
        """This process's own worker, which may take what is stored here without a claim."""
        self.incarnation = uuid.uuid4().hex[:20]
        """Names this process for as long as it lives; its lease tokens begin with it."""
        self.announce: Callable[[], None] = lambda: None
        """Called after a commit with work in it that this process's worker has not taken."""
        self.suppressions: Suppressions | None = None
        """Writes down what outcomes show about addresses."""
        self.outbox: Outbox | None = None
        """Writes down what plugins are to be told."""
        self._untaken = False
        self._noted = False
        self.arrived = asyncio.Event()
        """Set when there may be work to claim."""
        self.left: dict[Queue, set[Flow]] = {queue: set() for queue in Queue}
        """Flows of which this process has left something to be claimed; whoever claims clears it."""
        self.stale = False
        """Whether others may have left something too."""
        self.soonest: int | None = None
        """When something waiting becomes due, as far as this process knows, in microseconds."""

    # ------------------------------------------------------------------------------------------------------ in

    async def put(self, events: Sequence[Event]) -> list[int]:
        """Store the events durably, all or none, and return their ids in order. Raises `EventsRefused`."""
        return [one.id for one in await self.store(events)]

    async def put_noted(
        self, events: Sequence[Event], note: Callable[[Sequence[int], Any], Awaitable[None]]
    ) -> list[int]:
        """Store events without a look at their keys; `note` is given their ids and the transaction, and writes what
        must be stored with them or not at all."""
        ids = await self._ids.take(len(events))
        fresh = [propose(one, event, {}) for one, event in zip(ids, events, strict=True)]
        async with self._store.transaction() as transaction:
            await self._insert(fresh, transaction)
            await note(ids, transaction)
        self.depth.grow(len(fresh))
        self._tell()
        return ids

    async def store(self, events: Sequence[Event], call: CallKey | None = None) -> list[Stored]:
        """As `put`, and telling which events are new rather than repeated, which all of a repeated `call` are."""
        stored = await self._puts.add((events, call))
        if isinstance(stored, EventsRefused):
            raise stored
        fresh = sum(one.fresh for one in stored)
        self._metrics.repeated(len(stored) - fresh)
        self.depth.grow(fresh)
        if self._untaken:
            self._untaken = False
            self.announce()
        self._tell()
        return stored

    def _note(self, rows: Sequence[dict[str, Any]], notices: Sequence[Mapping[str, Any] | None]) -> None:
        """Store these notices with the rows."""
        for row, notice in zip(rows, notices, strict=True):
            if notice is not None:
                row.update(notice)
                self._noted = True

    def _tell(self) -> None:
        if self._noted and self.outbox is not None:
            self._noted = False
            self.outbox.arrived()

    async def known(self, events: Sequence[Event], call: CallKey | None = None) -> int:
        """How many of the events have a key that stands for an earlier event, and so need no room; all, where the
        call's own key is known."""
        asked = [propose(0, event, self._windows).key for event in events]
        whole = call_key(call) if call is not None else ""
        rows = [{"key": key} for key in sorted({*asked, whole} - {""})]
        found = {row["key"] for row in await self._store.rows("known_keys", rows)} if rows else set()
        return len(events) if whole in found else sum(key in found for key in asked)

    async def _write_events(self, calls: list[_Put]) -> list[list[Stored] | EventsRefused]:
        self._metrics.batch("store", len(calls))
        ids = iter(await self._ids.take(sum(len(events) for events, _ in calls)))
        proposed = [
            propose_call([propose(next(ids), event, self._windows) for event in events], call, self._call_window)
            for events, call in calls
        ]
        if any(call.key or any(one.key for one in call.events) for call in proposed):
            # stored a second time, the events would be sent twice
            return await self._store.again(lambda: store_keyed(self._store, proposed, self._insert), twice=False)
        await self._insert([one for call in proposed for one in call.events])
        return [[Stored(one.id) for one in call.events] for call in proposed]

    async def _insert(self, fresh: Sequence[Proposal], transaction: Any = None) -> None:
        """Alone, what this process's worker has room for is leased to it in the same commit, and given to it after."""
        rows = [queue_row(one.id, one.event, self._store, self._tally) for one in fresh]
        self._note(rows, [None if self.outbox is None else self.outbox.of_event(one.id, one.event) for one in fresh])
        lease, taken = "", 0
        if transaction is None and self.taker is not None:
            taken = self.taker.room([one.event for one in fresh])
        if taken:
            lease = self._new_lease()
            for row in rows[:taken]:
                row["state"], row["lease"] = LEASED, lease
        await insert(self._store, rows, self._lease, transaction)
        if taken and self.taker is not None:
            self._metrics.batch("take", taken)
            now = self._store.now()
            self.taker.take([fresh_of(one, lease, now) for one in fresh[:taken]])
        for row, one in zip(rows[taken:], fresh[taken:], strict=True):
            if row["state"] == READY:
                self.left[one.event.queue].add(Flow(one.event.channel, one.event.type))
                self.arrived.set()
                self._untaken = True
            else:
                self._wait_until(row["due"])

    # ---------------------------------------------------------------------------------------------------- claim

    async def flows(self, queue: Queue) -> list[Flow]:
        """Those that have something ready."""
        lane = LANES[queue]
        return [Flow(row["channel"], row["type"]) for row in await self._store.rows("flows", lane, lane, lane, lane)]

    async def suspects(self) -> list[tuple[Queue, Flow]]:
        """Flows that have something due which another crash would condemn: what is to be tried alone."""
        return [(QUEUES[row["lane"]], Flow(row["channel"], row["type"])) for row in await self._store.rows("suspects")]

    async def claim(self, queue: Queue, places: Mapping[Flow, int] | int, kind: Kind = "claim") -> list[Claimed]:
        """Up to so many due events of each flow, the most urgent first; a number is for every flow there is.

        Suspects only as such; `claim_expired` takes only those whose time is over. One that cannot be read is paused,
        and holds up no other.
        """
        if isinstance(places, int):
            places = dict.fromkeys(await self.flows(queue), places)
        if not places:
            return []
        with self._metrics.claiming(queue):
            lease, rows = await self._store.again(lambda: self._take(queue, places, kind))
        if rows:
            self._metrics.batch("claim", len(rows))
        claimed, unread = [], {}
        for row in rows:
            try:
                claimed.append(claimed_of(row, lease, self._store))
            except Exception as error:
                unread[row["id"]] = error
        if unread:
            await self._set_aside(unread, lease)
        return sorted(claimed, key=lambda one: (one.event.priority, one.id))

    async def _take(
        self, queue: Queue, places: Mapping[Flow, int], kind: Kind
    ) -> tuple[str, Sequence[Mapping[str, Any]]]:
        """Always under a new lease: what a lost answer named is nobody's, and must not be kept with what is ours."""
        lease = self._new_lease()
        if self._store.dialect == "postgres" and kind == "claim":
            rows = [{"channel": flow.channel, "type": flow.type, "most": most} for flow, most in places.items()]
            return lease, await self._store.rows("claim_flows", lease, self._lease, LANES[queue], rows)
        found: list[Mapping[str, Any]] = []
        async with self._store.transaction() as transaction:
            for flow, most in places.items():
                values = (lease, self._lease, LANES[queue], flow.channel, flow.type, most)
                found += await self._store.rows(kind, *values, on=transaction)
        return lease, found

    async def _set_aside(self, unread: Mapping[int, Exception], lease: str) -> None:
        """Until somebody has seen to it, such as to a key that is missing; as `Operations` pauses events."""
        held: dict[int, str] = {}
        try:
            async with self._store.transaction() as transaction:
                asked = [{"id": number, "lease": lease} for number in unread]
                for row in await self._store.rows("set_aside", asked, on=transaction):
                    error = unread[row["id"]]
                    cause = str(error) if isinstance(error, StoreError) else type(error).__name__
                    reason = (
                        f"held: what is stored of it cannot be read ({cause}); mend it, then `petitbleu events release`"
                    )
                    await self._store.rows("record_reason", reason, [{"id": row["id"]}], on=transaction)
                    held[row["id"]] = reason
        except Exception:
            # those that can be read must not wait for this
            logger.exception("%d events that cannot be read are looked at again when their lease ends", len(unread))
            return
        for number, reason in held.items():
            logger.error("event %d is paused, %s", number, reason, extra={"event": number})

    def _new_lease(self) -> str:
        return f"{self.incarnation}-{next(self._claims):x}"

    async def promote(self) -> int | None:
        """Make ready what has become due, except for suspects; gives when the next waiting event becomes so, if there
        is one."""
        self.soonest = None
        await self._store.rows("promote")
        due = (await self._store.rows("next_due"))[0]["due"]
        if due is not None and (self.soonest is None or due < self.soonest):
            self.soonest = int(due)
        return self.soonest

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
        """Give back untouched events, at no cost to them. What an earlier try handed off stays marked so."""
        rows = [{"id": one.id, "lease": one.lease, "handed_off": one.handed_off} for one in claimed]
        await self._store.rows("release", rows)

    # ------------------------------------------------------------------------------------------------- hand-off

    async def hand_off(self, claimed: Claimed, provider: str, names: Sequence[str] = ()) -> None:
        """Note durably that `provider` may have the message from now on, which receipts will call by `names`. Raises
        `HandOffRefused`."""
        if not await self._marks.add((claimed, provider, names)):
            raise HandOffRefused(f"event {claimed.id}: its lease or its time has run out")

    async def _write_hand_offs(self, marks: list[tuple[Claimed, str, Sequence[str]]]) -> list[bool]:
        self._metrics.batch("hand_off", len(marks))
        rows = [
            {"id": one.id, "lease": one.lease, "provider": provider, "names": to_json([*names]) if names else ""}
            for one, provider, names in marks
        ]
        marked = {row["id"] for row in await self._store.rows("hand_off", rows)}
        return [one.id in marked for one, _, _ in marks]

    # -------------------------------------------------------------------------------------------------- outcome

    def record(self, step: Step) -> asyncio.Future[bool]:
        """Store what became of an event, also when whoever waits for the answer is cancelled. False: the lease was lost
        and nothing is changed."""
        if step.due is not None:
            self._wait_until(step.due)
        return self._steps.begin(step)

    def look_again(self) -> None:
        """Something may have become ready that this process did not leave there itself."""
        self.stale = True
        self.arrived.set()

    def _wait_until(self, due: int) -> None:
        """Let the worker know of a time at which something becomes due, if it is sooner than those it knows."""
        if self.soonest is None or due < self.soonest:
            self.soonest = due
            self.arrived.set()

    async def _write_steps(self, steps: list[Step]) -> list[bool]:
        self._metrics.batch("record", len(steps))
        rows = [step_row(step, self._tally) for step in steps]
        if self.outbox is not None:
            self._note(rows, [self.outbox.of_step(step) for step in steps])
        noted = self.suppressions is not None and any(step.note is not None for step in steps)
        done: set[int] = set()
        added: list[Added] = []
        doubtful = False

        async def note(transaction: Any, ours: set[int]) -> None:
            nonlocal added
            notes = [step.note for step in steps if step.note is not None and step.claimed.id in ours]
            added = await self.suppressions.attempt(notes, transaction) if self.suppressions is not None else []

        async def write() -> None:
            nonlocal done, doubtful
            try:
                done = await settle(self._store, rows, note if noted else None)
            except CommitUnknown:
                doubtful = True
                raise

        # after the lease somebody else has the events; until then an answer is worth waiting for the database
        await self._store.again(write, patience=self._lease / 1e6)
        if doubtful and (missing := [row for row in rows if row["id"] not in done]):
            done |= await settled(self._store, missing)
        if self.suppressions is not None and added:
            self.suppressions.count(added)
        self._tell()
        return [step.claimed.id in done for step in steps]
