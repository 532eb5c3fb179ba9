"""Tells plugins what stands in the outbox, until each notice is told or its patience is over.

Every subscription has a lane of its own, so that a receiver that is down keeps no other waiting. A lane takes notices
under a lease, a few rounds ahead, and hands each to the plugin. A receiver that fails several times in a row is left
alone for a while that doubles; then one process tries it with one notice. Nothing is counted against the notices that
wait meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..batching import Batcher
from ..errors import PetitbleuError
from ..hosting.calling import HookFailed
from ..hosting.calls import Calls
from ..metrics import Metrics
from ..retry import LONGEST_WAIT, delay
from ..steps import words
from ..store import Store
from ..types import NotTold, Retry, Subscription, Told
from .notices import Outbox, full_name, notice

logger = logging.getLogger("petitbleu.outbox")

WAITING, TOLD, GIVEN_UP = 0, 1, 2
"""States of a notice."""
FAILING = 3
"""So many failures in a row, and a receiver is left alone for a while."""
MOST_PAUSE = 300.0
"""Seconds it is left alone at most: it may be one notice that it cannot take, and others wait."""
ROUNDS = 10
"""Notices that a lane takes ahead, for each that it tells at once."""
GRACE = 10.0
"""Seconds of a lease beyond the time that telling what was taken may take."""
LINGER = 0.02
"""Seconds that a lane waits for company once it is told of something new."""
NOTED = 5.0
"""Seconds after which it is noted again that a receiver is well."""
LEAVE = 5.0
"""Seconds for which a stop waits for what is being told."""
MOST_ANSWER = 500

Row = Mapping[str, Any]


@dataclass(slots=True)
class _Taken:
    """A notice that is ours until `until`, by the loop's clock."""

    row: Row
    lease: str
    until: float


@dataclass(slots=True)
class _Ended:
    lane: _Lane
    taken: _Taken
    result: Told | NotTold | None
    """None: it goes back untold, at no cost."""
    pause: int = 0
    """For how many microseconds the receiver is left alone."""


@dataclass(slots=True)
class _Lane:
    """What this process knows of a subscription of `plugin`."""

    plugin: str
    subscription: Subscription
    name: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    taken: deque[_Taken] = field(default_factory=deque)
    failures: int = 0
    until: int = 0
    """Until when this process leaves the receiver alone, by the database's clock; the database knows of others."""
    noted: float = float("-inf")


class Telling:
    """Notices are `kept` for so many seconds, and looked for every `poll` seconds; `now` is the database's clock in
    microseconds. Raises `PetitbleuError` for a subscription whose patience is longer than notices are kept."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        outbox: Outbox,
        subscriptions: Sequence[tuple[str, Subscription]],
        kept: float,
        poll: float,
        now: Callable[[], int],
        random: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._calls = calls
        self._poll = poll
        self._now = now
        self._random = random
        self._metrics = metrics
        self._lanes = {
            full_name(plugin, one.name): _Lane(plugin, one, full_name(plugin, one.name))
            for plugin, one in subscriptions
        }
        self._ends: Batcher[_Ended, None] = Batcher(self._write_ends, linger=0.001)
        self._telling: set[asyncio.Task[None]] = set()
        for lane in self._lanes.values():
            if lane.subscription.patience > kept:
                raise PetitbleuError(
                    f"{lane.name} has patience for {lane.subscription.patience:g} s, and notices are kept for "
                    f"{kept:g} s: retention.outbox should be longer"
                )
        outbox.arrived = self._wake_all

    def _wake_all(self) -> None:
        for lane in self._lanes.values():
            lane.wake.set()

    # ------------------------------------------------------------------------------------------------------- telling

    async def run(self) -> None:
        """Tell what there is to be told, until cancelled; what is being told then has a moment to end."""
        workers = [
            asyncio.create_task(self._work(lane))
            for lane in self._lanes.values()
            for _ in range(lane.subscription.concurrency)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            if self._telling:
                await asyncio.wait(self._telling, timeout=LEAVE)
            for lane in self._lanes.values():
                await self._give_back(lane)

    async def _work(self, lane: _Lane) -> None:
        while True:
            try:
                taken = await self._next(lane)
                # what was begun is ended, whatever becomes of this worker
                task = asyncio.create_task(self._tell(lane, taken))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)
                await asyncio.shield(task)
            except Exception as error:
                logger.warning("%s cannot be told anything: %s: %s", lane.name, type(error).__name__, error)
                await asyncio.sleep(self._poll)

    async def _next(self, lane: _Lane) -> _Taken:
        clock = asyncio.get_running_loop().time
        async with lane.lock:
            while True:
                lane.wake.clear()
                while lane.taken:
                    taken = lane.taken.popleft()
                    # of others the lease may end while they are told: they come back by themselves
                    if clock() < taken.until:
                        return taken
                if await self._take(lane):
                    continue
                try:
                    async with asyncio.timeout(self._poll):
                        await lane.wake.wait()
                        await asyncio.sleep(LINGER)
                except TimeoutError:
                    continue

    async def _take(self, lane: _Lane) -> bool:
        """Whether there is something to tell now."""
        if lane.until > self._now():
            return False
        (known,) = await self._store.rows("look_at_subscription", [{"name": lane.name}])
        lane.failures = known["failures"] or 0
        if not known["due"] or known["ended"] is not None or (known["until"] or 0) > known["now"]:
            return False
        one = lane.subscription
        most = one.concurrency * ROUNDS
        if lane.failures >= FAILING:
            until = int((one.deadline + GRACE) * 1_000_000)
            if not await self._store.rows("probe_subscription", until, lane.name):
                return False
            most = 1
        lease, seconds = uuid.uuid4().hex, 2 * one.deadline + GRACE
        began = asyncio.get_running_loop().time()
        rows = await self._store.rows("take_notices", int(seconds * 1_000_000), lease, lane.name, most)
        lane.taken.extend(_Taken(row, lease, began + one.deadline) for row in rows)
        return bool(rows)

    async def _tell(self, lane: _Lane, taken: _Taken) -> None:
        result: Told | NotTold
        try:
            told = notice(lane.subscription.name, taken.row)
            result = await self._calls.tell(lane.plugin, told, lane.subscription.deadline)
        except HookFailed as failed:
            result = NotTold(failed.cause)
        except Exception as error:
            logger.exception("a notice of %s cannot be told", lane.name)
            result = NotTold(f"{type(error).__name__}: {error}")
        recovered = lane.failures > 0 and isinstance(result, Told)
        pause = self._learn(lane, result)
        await self._ends.add(_Ended(lane, taken, result, pause))
        if recovered:
            # the database says so only now
            lane.wake.set()
        if pause or (isinstance(result, NotTold) and result.ended):
            await self._give_back(lane)

    def _learn(self, lane: _Lane, result: Told | NotTold) -> int:
        """For how many microseconds the receiver is to be left alone, after this answer."""
        if isinstance(result, Told):
            if lane.failures:
                logger.info("%s can be told again", lane.name)
                # noted at once
                lane.noted = float("-inf")
            lane.failures = lane.until = 0
            return 0
        lane.failures += 1
        if lane.failures < FAILING and result.retry_after is None:
            return 0
        one = lane.subscription
        retry = Retry(one.first, min(one.cap, MOST_PAUSE))
        seconds = delay(max(1, lane.failures - FAILING + 1), retry, _asked(result), self._random)
        pause = int(seconds * 1_000_000)
        lane.until = self._now() + pause
        if lane.failures == FAILING:
            logger.warning("%s is left alone for a while: %s", lane.name, words(result.text, MOST_ANSWER))
        return pause

    async def _give_back(self, lane: _Lane) -> None:
        left, lane.taken = [*lane.taken], deque()
        if left:
            await asyncio.gather(*(self._ends.begin(_Ended(lane, one, None)) for one in left))

    async def _write_ends(self, ends: list[_Ended]) -> list[None]:
        rows = [self._end_row(one) for one in ends]
        lanes = {one.lane.name: one.lane for one in ends}
        clock = asyncio.get_running_loop().time()
        # a second time changes nothing: the lease is gone
        await self._store.again(lambda: self._write(rows, ends, lanes, clock), patience=GRACE)
        for one, row in zip(ends, rows, strict=True):
            if one.result is not None:
                result = "told" if row["state"] == TOLD else "given_up" if row["state"] == GIVEN_UP else "failed"
                self._metrics.noticed(one.lane.name, result, 1)
        return [None] * len(ends)

    async def _write(
        self, rows: Sequence[Row], ends: Sequence[_Ended], lanes: Mapping[str, _Lane], clock: float
    ) -> None:
        async with self._store.transaction() as on:
            await self._store.rows("end_notices", [*rows], on=on)
            for name in sorted(lanes):
                mine = [one for one in ends if one.lane.name == name and one.result is not None]
                failed = [(one, one.result) for one in mine if isinstance(one.result, NotTold)]
                if len(failed) < len(mine) and clock - lanes[name].noted > NOTED:
                    lanes[name].noted = clock
                    await self._store.rows("note_told", name, on=on)
                if failed:
                    row = {
                        "name": name,
                        "failures": len(failed),
                        "pause": max(one.pause for one, _ in failed),
                        "over": int(any(result.ended for _, result in failed)),
                        "answer": words(failed[-1][1].text, MOST_ANSWER),
                    }
                    await self._store.rows("note_failed", [row], on=on)

    def _end_row(self, one: _Ended) -> dict[str, Any]:
        row, result = one.taken.row, one.result
        state, wait, tried, answer = WAITING, 0, 1, ""
        if result is None:
            tried = 0
        elif isinstance(result, Told):
            state, answer = TOLD, result.text
        else:
            answer, subscription = result.text, one.lane.subscription
            retry = Retry(subscription.first, subscription.cap)
            seconds = delay(row["tries"] + 1, retry, _asked(result), self._random)
            wait = int(seconds * 1_000_000)
            if not result.ended and self._now() - row["queued"] >= subscription.patience * 1_000_000:
                state = GIVEN_UP
        return {
            "id": row["id"],
            "lease": one.taken.lease,
            "state": state,
            "tried": tried,
            "wait": wait,
            "answer": words(answer, MOST_ANSWER),
        }


def _asked(result: NotTold) -> float | None:
    return None if result.retry_after is None else min(result.retry_after, LONGEST_WAIT)


__all__ = ["Telling"]
