"""What operators do to events that are stored: cancel, retry, resend, reroute, hold, release.

Each takes many ids and answers for every one of them. What is said of an event is looked up first; the change itself is
a compare-and-set on what was found, so whatever a worker did meanwhile wins, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from ..audit import Change, record
from ..errors import AccessDenied, Unavailable
from ..hosting.calls import Calls
from ..lifecycle import FINAL, IGNORED, PAUSED, PENDING
from ..operating import Actor, Done
from ..outbox.notices import Outbox
from ..queue.queue import WorkQueue
from ..reports.tally import REOPENED, Fact, Tally
from ..store import Store, is_id, whole_id
from ..store.payload import moment, optional_micros, readable
from ..types import Event, Operator
from . import verdicts
from .rerouting import Rerouting
from .verdicts import Found, Verdict

_STATEMENTS = {"cancel": "cancel", "hold": "hold", "release": "let_go"}
"""What is done to the row in the queue."""

_NEWS = {
    "cancel": (IGNORED, IGNORED),
    "hold": ("paused", PAUSED),
    "release": ("released", PENDING),
    "retry": ("reopened", PENDING),
    "reroute": ("recycled", PENDING),
}
"""What plugins are told of it, and the status that the event has then."""

CANCELLED = "cancelled"
MEANWHILE = "changed meanwhile; look at it again"


class Operations:
    """`queue` takes copies and knows no idempotency windows; `lifetime` is what an event gets whose expiration has
    passed; `pending` is how many open events there may be, past which retry and resend raise `Unavailable`; `brands`
    maps event types to the brands they speak for; `addresses` tells which address each channel needs; `now` is the
    database's clock in microseconds.

    Every method wants the right `admin` (`AccessDenied`). An id may lack its high byte; an event that the operator's
    rights do not reach is one that does not exist. With `rehearsal` nothing is changed.
    """

    def __init__(
        self,
        store: Store,
        queue: WorkQueue,
        calls: Calls,
        cell: int,
        brands: Mapping[str, str],
        lifetime: timedelta,
        pending: int,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        outbox: Outbox | None = None,
        tally: Tally | None = None,
        addresses: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._tally = tally or Tally(brands)
        self._queue = queue
        self._calls = calls
        self._cell = cell
        self._brands = brands
        self._lifetime = lifetime
        self._lifetime_micros = int(lifetime.total_seconds() * 1_000_000)
        self._pending = pending
        self._now = now
        self._monotonic = monotonic
        self._rerouting = Rerouting(store, calls, addresses, self._lifetime_micros, now, self._tally)

    async def cancel(
        self, ids: Iterable[int], actor: Actor, *, reason: str = "", rehearsal: bool = False
    ) -> list[Done]:
        """End events that wait, as `ignored`. One that a worker has, or that may be out already, is left alone."""
        words = _words("cancelled", actor, reason)

        async def change(found: Sequence[Found]) -> Mapping[int, int | None]:
            gone = await self._turn("cancel", "record_cancelled", found, words, actor, reason)
            for one in found:
                if one.id in gone and one.event is not None:
                    await self._calls.outcome_recorded(one.event, IGNORED, None, words)
            return dict.fromkeys(gone)

        return await self._each(ids, actor.operator, verdicts.cancel, None if rehearsal else change)

    async def retry(self, ids: Iterable[int], actor: Actor, *, reason: str = "", rehearsal: bool = False) -> list[Done]:
        """Let events that wait for their next try have it now, and open again those that ended without being sent."""

        async def change(found: Sequence[Found]) -> Mapping[int, int | None]:
            waiting = [one.id for one in found if one.status not in FINAL]
            ended = [one for one in found if one.status in FINAL and one.event is not None]
            await self._room(len(ended))
            hastened = await self._hasten(waiting, actor, reason) if waiting else set()
            reopened = await self._reopen(ended, actor, reason) if ended else set()
            return dict.fromkeys(hastened | reopened)

        def judge(one: Found) -> Verdict:
            return verdicts.retry(one, self._now(), self._lifetime_micros)

        return await self._each(ids, actor.operator, judge, None if rehearsal else change)

    async def resend(
        self, ids: Iterable[int], actor: Actor, *, reason: str = "", rehearsal: bool = False
    ) -> list[Done]:
        """Store a copy of each event, with an id of its own and no memory of idempotency keys, whatever its status."""

        async def change(found: Sequence[Found]) -> Mapping[int, int | None]:
            copies = [self._copy(one.event) for one in found if one.event is not None]
            await self._room(len(copies))

            async def note(new: Sequence[int], transaction: Any) -> None:
                more = ((one.id, {"new_id": copy}) for one, copy in zip(found, new, strict=True))
                await self._note("resend", more, actor, reason, transaction)

            new = await self._queue.put_noted(copies, note)
            for event, new_id in zip(copies, new, strict=True):
                await self._calls.event_accepted(replace(event, id=new_id))
            return dict(zip((one.id for one in found), new, strict=True))

        def judge(one: Found) -> Verdict:
            return verdicts.resend(one, self._now(), self._lifetime_micros)

        return await self._each(ids, actor.operator, judge, None if rehearsal else change)

    async def reroute(
        self, ids: Iterable[int], actor: Actor, *, to: str, reason: str = "", rehearsal: bool = False
    ) -> list[Done]:
        """Let events go on by the channel `to`, under their own ids, whether they wait or have ended. What routing
        rules say of the channel counts no more; of the template and the brand it does."""
        words = _words(f"goes on by {to}, sent there", actor, reason)

        async def change(found: Sequence[Found]) -> Mapping[int, int | None]:
            await self._room(sum(one.status in FINAL for one in found))
            async with self._store.transaction() as transaction:
                changed = await self._rerouting.write(found, to, words, transaction)
                left = ((one.id, {"from": one.channel, "to": to}) for one in found if one.id in changed)
                await self._note("reroute", left, actor, reason, transaction)
                noted = await self._notice("reroute", found, changed, words, transaction)
            self._tell(noted)
            return dict.fromkeys(changed)

        return await self._each(
            ids,
            actor.operator,
            lambda found: self._rerouting.verdict(found, to),
            None if rehearsal else change,
            lambda found: self._rerouting.obstacle(found, to),
        )

    async def hold(self, ids: Iterable[int], actor: Actor, *, reason: str = "", rehearsal: bool = False) -> list[Done]:
        """Keep events that wait from being sent until they are released. One that a worker has is left alone."""
        words = _words("held", actor, reason)

        async def change(found: Sequence[Found]) -> Mapping[int, int | None]:
            return dict.fromkeys(await self._turn("hold", "record_reason", found, words, actor, reason))

        return await self._each(ids, actor.operator, verdicts.hold, None if rehearsal else change)

    async def release(
        self, ids: Iterable[int], actor: Actor, *, reason: str = "", rehearsal: bool = False
    ) -> list[Done]:
        """Let events go that are paused. One whose expiration has passed meanwhile ends as `expired`."""
        words = _words("released", actor, reason)

        async def change(found: Sequence[Found]) -> Mapping[int, int | None]:
            return dict.fromkeys(await self._turn("release", "record_reason", found, words, actor, reason))

        def judge(one: Found) -> Verdict:
            return verdicts.release(one, self._now())

        return await self._each(ids, actor.operator, judge, None if rehearsal else change)

    async def _each(
        self,
        ids: Iterable[int],
        operator: Operator,
        judge: Callable[[Found], Verdict],
        change: Callable[[Sequence[Found]], Coroutine[Any, Any, Mapping[int, int | None]]] | None,
        obstacle: Callable[[Found], Coroutine[Any, Any, str]] | None = None,
    ) -> list[Done]:
        """`obstacle` is asked about those that can be changed otherwise, and says what stands in the way."""
        if not operator.may("admin"):
            raise AccessDenied
        asked = list(dict.fromkeys(whole_id(one, self._cell) for one in ids))
        stored = [one for one in asked if is_id(one)]
        found = {one.id: one for one in await self._look(stored) if self._reaches(operator, one)}
        verdicts = {one.id: judge(one) for one in found.values()}
        if obstacle is not None:
            for each in found.values():
                if verdicts[each.id][0] and (why := await obstacle(each)):
                    verdicts[each.id] = (False, why)
        possible = [found[one] for one in asked if one in found and verdicts[one][0]]
        changed = await change(possible) if change is not None and possible else {}
        done = []
        for one in asked:
            if one not in verdicts:
                done.append(Done(one, False, "there is no such event", missing=True))
                continue
            ok, text = verdicts[one]
            if ok and change is not None and one not in changed:
                ok, text = False, MEANWHILE
            done.append(Done(one, ok, text, changed.get(one)))
        return done

    def _reaches(self, operator: Operator, found: Found) -> bool:
        return operator.may("admin", found.type, self._brands.get(found.type, ""))

    async def _look(self, ids: Sequence[int]) -> list[Found]:
        rows = await self._store.rows("look", _ids(ids)) if ids else []
        return [
            Found(
                row["id"],
                row["type"],
                row["status"],
                row["channel"],
                row["state"],
                row["due"],
                row["expires"],
                row["handed_off"] or "",
                readable(self._store.vault, row["id"], row["body"]),
            )
            for row in rows
        ]

    # -------------------------------------------------------------------------------------------------------- changes

    async def _room(self, coming: int) -> None:
        depth = await self._queue.depth.count(self._monotonic) if coming else 0
        if depth + coming > self._pending:
            raise Unavailable(f"{coming} events more do not fit into the queue ({depth}/{self._pending})")

    async def _turn(
        self, action: str, query: str, found: Sequence[Found], words: str, actor: Actor, reason: str
    ) -> Set[int]:
        """Change the rows of the queue that are still as they were found; `query` writes `words` to their events."""
        async with self._store.transaction() as transaction:
            turned = await self._store.rows(_STATEMENTS[action], _ids([one.id for one in found]), on=transaction)
            if turned:
                # of these statements, that of cancelling alone gives rows: only there something ends
                facts = [
                    Fact(row["processed"], IGNORED, row["type"], row["channel"], row["brand"], row["origin"], CANCELLED)
                    for row in await self._store.rows(query, words, turned, on=transaction)
                ]
                await self._tally.count(self._store, facts, transaction)
                await self._note(action, ((row["id"], {}) for row in turned), actor, reason, transaction)
            changed = {row["id"] for row in turned}
            noted = await self._notice(action, found, changed, words, transaction)
        self._tell(noted)
        return changed

    async def _hasten(self, ids: Sequence[int], actor: Actor, reason: str) -> Set[int]:
        async with self._store.transaction() as transaction:
            hastened = await self._store.rows("hasten", self._lifetime_micros, _ids(ids), on=transaction)
            if hastened:
                await self._store.rows("record_hastened", hastened, on=transaction)
                await self._note("retry", ((row["id"], {}) for row in hastened), actor, reason, transaction)
        return {row["id"] for row in hastened}

    async def _reopen(self, found: Sequence[Found], actor: Actor, reason: str) -> Set[int]:
        words = _words("put back", actor, reason)
        ended = [_reopened(one, one.event) for one in found if one.event is not None]
        async with self._store.transaction() as transaction:
            # a purge that has them ends first; what it took is then seen to be gone
            locked = await self._store.rows("lock_events", _ids(sorted(row["id"] for row in ended)), on=transaction)
            rows = await self._store.rows("reopen", words, sorted(ended, key=lambda row: row["id"]), on=transaction)
            reopened = {row["id"] for row in rows}
            before = {row["id"]: row["status"] for row in ended}
            channels = {row["id"]: row["channel"] for row in locked}
            facts = [
                Fact(
                    self._now(),
                    REOPENED,
                    row["type"],
                    channels[row["id"]],
                    row["brand"],
                    row["origin"],
                    before[row["id"]],
                )
                for row in rows
            ]
            await self._tally.count(self._store, facts, transaction)
            back = [row for row in ended if row["id"] in reopened]
            if back:
                await self._store.rows("insert_reopened", self._lifetime_micros, back, on=transaction)
                more = ((row["id"], {"was": row["status"]}) for row in back)
                await self._note("retry", more, actor, reason, transaction)
            noted = await self._notice("retry", found, reopened, words, transaction)
        self._tell(noted)
        return reopened

    async def _notice(self, action: str, found: Sequence[Found], changed: Set[int], words: str, on: Any) -> bool:
        """Write down what plugins are to be told of the events that were changed; whether there is anything."""
        if self._outbox is None:
            return False
        now, (kind, status) = self._now(), _NEWS[action]
        return await self._outbox.write(
            (
                self._outbox.row(kind, one.id, one.event, status=status, at=now, channel=one.channel, reason=words)
                for one in found
                if one.id in changed and one.event is not None
            ),
            on,
        )

    def _tell(self, noted: bool) -> None:
        if noted and self._outbox is not None:
            self._outbox.arrived()

    async def _note(
        self, action: str, events: Iterable[tuple[int, Mapping[str, Any]]], actor: Actor, reason: str, on: Any
    ) -> None:
        """For the audit, each event with what is to be said of it beside the reason."""
        why = {"reason": reason} if reason else {}
        changes = [Change(f"events.{action}", f"event/{one}", {**more, **why}) for one, more in events]
        await record(self._store, changes, actor, on)

    def _copy(self, event: Event) -> Event:
        now = moment(self._now())
        scheduled = event.scheduled if event.scheduled is not None and event.scheduled > now else None
        expiration = event.expiration
        if expiration is None or expiration <= now:
            expiration = now + self._lifetime
        return replace(event, id=0, created=now, scheduled=scheduled, expiration=expiration)


def _words(done: str, actor: Actor, reason: str) -> str:
    return f"{done} by {actor.login}" + (f": {reason}" if reason else "")


def _ids(ids: Sequence[int]) -> list[dict[str, Any]]:
    return [{"id": one} for one in ids]


def _reopened(found: Found, event: Event) -> dict[str, Any]:
    return {
        "id": found.id,
        "status": found.status,
        "priority": event.priority,
        "channel": event.channel,
        "chain": "",
        "avoid": "",
        "due": optional_micros(event.scheduled) or 0,
        "expires": optional_micros(event.expiration),
    }
