"""Judges what has thresholds, once for the whole installation, from what all processes share.

One process at a time measures and writes down how it stands (the chore `alerts`); all of them read it, for `/metrics`.
That the database does not answer each process says for itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..errors import AccessDenied
from ..lifecycle import SENT
from ..outbox.notices import Outbox
from ..reports.tally import MINUTE
from ..store import Store
from ..store.payload import optional_moment
from ..types import Alert, Operator
from .notifying import Notifier
from .thresholds import (
    DATABASE,
    ERROR_RATE,
    LEVELS,
    OK,
    PROCESSING,
    QUEUE,
    QUEUING,
    SENDING,
    WARNING,
    WATCHDOG,
    WATCHED,
    Gate,
    Pace,
    Standing,
    Terms,
    judge,
    worded,
)
from .watchdog import Beat, Watchdog

logger = logging.getLogger("petitbleu.alerts")

CHORE = "alerts"
LEASE = 60
"""Seconds a process may keep others from it without an end."""
SECOND = 1_000_000
AGAIN = 60.0
"""Seconds after which a message that could not be sent is tried again, once its own time is over."""
MOST_SHARE = 10
"""A look that took a second is not followed by another one for so many, as long as that is at most so many times the
usual pause:"""
MOST_PAUSES = 4
FORGOTTEN = 10
"""So many usual pauses without a look, and what values said before says nothing."""
_AT_ONCE = Pace(0, 0, 1.0)

Row = Mapping[str, Any]


class Alerting:
    """`terms` are by the name of what they are for, `database` those of seconds without an answer. Rates and averages
    are those of the last `window` microseconds; fewer failed events than `errors` are no rate. Looks every `every`
    seconds. `holder` names this process among all that use the database; `clock` counts seconds. Without a `notifier`
    others send messages. The events of a `watchdog` count for nothing else."""

    def __init__(
        self,
        store: Store,
        terms: Mapping[str, Terms],
        pace: Pace,
        window: int,
        errors: int,
        every: float,
        holder: str,
        outbox: Outbox | None = None,
        notifier: Notifier | None = None,
        watchdog: Watchdog | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._terms = {name: terms[name] for name in WATCHED if name in terms}
        self._pace = pace
        self._window = window
        self._errors = errors
        self._every = every
        self._holder = holder
        self._outbox = outbox
        self._notifier = notifier
        self._watchdog = watchdog
        self._clock = clock
        self._sleep = sleep
        self._answered = clock()
        self._answers = True
        self._database = Standing()
        self._was, self._since, self._told = OK, 0, OK
        self._rows: Mapping[str, Row] | None = None
        self.beat: Beat | None = None
        """What was last known of the watchdog."""

    # ------------------------------------------------------------------------------------------------------- by itself

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        self._answered = self._clock()
        telling: dict[Callable[[], Awaitable[None]], asyncio.Task[bool]] = {}
        try:
            while True:
                began = self._clock()
                self._answers = await _in_time("alerts cannot be judged", self._look, LEASE / 2)
                if self._answers:
                    self._answered = self._clock()
                self.judge_database()
                # a provider that hangs, as long as it may, holds up no look, and says nothing of the database
                for tell in (self.tell_database, self.tell) if self._answers else (self.tell_database,):
                    if tell not in telling or telling[tell].done():
                        telling[tell] = asyncio.create_task(_in_time("nobody can be told of alerts", tell, None))
                tired = MOST_SHARE * (self._clock() - began)
                await self._sleep(min(max(self._every, tired), MOST_PAUSES * self._every))
        finally:
            for task in telling.values():
                task.cancel()
            if telling:
                await asyncio.wait(telling.values())

    async def _look(self) -> None:
        await self.turn()
        await self.current()

    async def turn(self) -> bool:
        """Measure and judge, unless another process is at it or just was; whether it was done."""
        lease = (self._holder, LEASE * SECOND, CHORE, self._holder, int(self._every * SECOND) // 2)
        taken = await self._store.rows("take_chore", *lease)
        if not taken:
            return False
        try:
            now = int(taken[0]["now"])
            await self._note(await self._measured(now), now)
            await self._store.rows("complete_chore", now, now, "", CHORE, self._holder)
        finally:
            await self._store.rows("leave_chore", CHORE, self._holder)
        return True

    # ------------------------------------------------------------------------------------------------------- measuring

    async def _measured(self, now: int) -> Mapping[str, float]:
        (queue,) = await self._store.rows("measure_queue")
        waited = 0.0 if queue["due"] is None else max(0.0, (queue["now"] - queue["due"]) / SECOND)
        since = now - self._window
        own = "" if self._watchdog is None else self._watchdog.event_type
        ended = {row["fact"]: row for row in await self._store.rows("measure_ended", since - since % MINUTE, own)}
        sent = ended.pop(SENT, None)
        failed = sum(int(row["events"]) for row in ended.values())
        all_ended = failed + (int(sent["events"]) if sent is not None else 0)
        beat = None if self._watchdog is None else await self._watchdog.look()
        # what waits now says as much as what was sent: of a queue that stands still nothing is
        return {
            QUEUE: float(queue["events"]),
            ERROR_RATE: 100.0 * failed / all_ended if failed >= self._errors else 0.0,
            QUEUING: max(_average(sent, "queuing"), waited),
            SENDING: _average(sent, "sending"),
            PROCESSING: max(_average(sent, "processing"), waited),
            **({} if beat is None else {WATCHDOG: beat.age(now)}),
        }

    # --------------------------------------------------------------------------------------------------------- judging

    async def _note(self, measured: Mapping[str, float], now: int) -> None:
        names = [name for name in self._terms if name in measured]
        async with self._store.transaction() as on:
            await self._store.rows("make_alerts", [{"name": name} for name in names], on=on)
            known = {row["name"]: row for row in await self._store.rows("alerts", on=on)}
            rows = [self._judged(known[name], measured[name], now) for name in names]
            noted = {row["name"] for row in await self._store.rows("note_alerts", rows, on=on)}
            changed = [row for row in rows if row["name"] in noted and row["level"] != known[row["name"]]["level"]]
            told = False
            if self._outbox is not None:
                notices = [self._outbox.of_alert(self._alert(row["name"], row), now) for row in changed]
                told = await self._outbox.write(notices, on)
        if told and self._outbox is not None:
            self._outbox.arrived()
        for row in changed:
            _say(row["name"], row["was"], row["level"], row["value"])

    def _judged(self, row: Row, value: float, now: int) -> dict[str, Any]:
        standing = Standing(
            Gate(bool(row["warning"]), row["warning_turned"]), Gate(bool(row["alert"]), row["alert_turned"])
        )
        if now - row["measured"] > FORGOTTEN * self._every * SECOND:
            standing = standing.settled
        new = judge(standing, value, self._terms[row["name"]], self._pace, now)
        return {
            "name": row["name"],
            "seen": row["measured"],
            "level": new.level,
            "was": row["was"] if new.level == row["level"] else row["level"],
            "since": row["since"] if new.level == row["level"] else now,
            "value": value,
            "measured": now,
            "warning": int(new.warning.reached),
            "warning_turned": new.warning.turned,
            "alert": int(new.alert.reached),
            "alert_turned": new.alert.turned,
        }

    def _silent(self) -> float:
        """Seconds for which the database has not answered this process."""
        return 0.0 if self._answers else max(0.0, self._clock() - self._answered)

    def judge_database(self) -> None:
        if DATABASE not in self._terms:
            return
        silent, now = self._silent(), self._store.now()
        old, new = self._database, judge(self._database, silent, self._terms[DATABASE], _AT_ONCE, now)
        self._database = new
        if new.level != old.level:
            self._was, self._since = old.level, now
            _say(DATABASE, old.level, new.level, silent)

    # --------------------------------------------------------------------------------------------------------- telling

    async def tell(self) -> None:
        """Send messages about what has changed since they were last sent, unless another process does."""
        notifier = self._notifier
        if notifier is None:
            return
        for name in self._terms:
            # as it stands now: the one before may have taken a while
            row = (self._rows or {}).get(name)
            if row is None or row["level"] == row["told"]:
                continue
            lease = int((notifier.deadline + AGAIN) * SECOND)
            async with asyncio.timeout(LEASE / 2):
                found = await self._store.rows("take_alert", lease, name)
            for taken in found:
                alert = self._alert(name, {**row, "level": taken["level"]})
                # what is not sent is tried again when the lease ends
                if await notifier.tell(alert, taken["told"]):
                    async with asyncio.timeout(LEASE / 2):
                        await self._store.rows("alert_told", taken["level"], name, taken["telling"])

    async def tell_database(self) -> None:
        """The same about the database, which nobody can be asked about: every process tells by itself."""
        level = self._database.level
        if self._notifier is None or level == self._told:
            return
        if await self._notifier.tell(self._alert(DATABASE, None), self._told):
            self._told = level

    def known(self) -> Sequence[Alert]:
        """How all stood when it was last read; empty until then."""
        rows = self._rows
        return [] if rows is None else [self._alert(name, rows.get(name)) for name in self._terms]

    async def current(self) -> Sequence[Alert]:
        """How all stands."""
        self._rows = {row["name"]: row for row in await self._store.rows("alerts")}
        self.beat = None if self._watchdog is None else await self._watchdog.look()
        return self.known()

    async def read(self, operator: Operator) -> Sequence[Alert]:
        """Raises `AccessDenied`."""
        if not operator.may("read"):
            raise AccessDenied
        return await self.current()

    def _alert(self, name: str, row: Row | None) -> Alert:
        watched, terms = WATCHED[name], self._terms[name]
        if name == DATABASE:
            row = {
                "level": self._database.level,
                "was": self._was,
                "since": self._since,
                "value": self._silent(),
                "measured": None,
            }
        level, was = (OK, OK) if row is None else (row["level"], row["was"])
        value = None if row is None else row["value"]
        return Alert(
            name=name,
            label=watched.label,
            level=LEVELS[level],
            was=LEVELS[was],
            since=optional_moment((row and row["since"]) or None),
            value=value,
            measured=optional_moment((row and row["measured"]) or None),
            unit=watched.unit,
            warning=terms.warning,
            alert=terms.alert,
            text="was not measured yet" if value is None else worded(name, value),
        )


async def _in_time(otherwise: str, work: Callable[[], Awaitable[None]], seconds: float | None) -> bool:
    """Without `seconds` the work has limits of its own."""
    try:
        async with asyncio.timeout(seconds):
            await work()
    except Exception as error:
        logger.warning("%s: %s: %s", otherwise, type(error).__name__, error)
        return False
    return True


def _average(row: Row | None, name: str) -> float:
    """Seconds."""
    if row is None or not row["timed"] or row[name] is None:
        return 0.0
    return int(row[name]) / int(row["timed"]) / SECOND


def _say(name: str, was: int, level: int, value: float) -> None:
    severity = logging.INFO if level == OK else logging.WARNING if level == WARNING else logging.ERROR
    said = {"alert": name, "alert_level": LEVELS[level], "was": LEVELS[was], "value": round(value, 3)}
    logger.log(severity, "%s is %s: %s", WATCHED[name].label, LEVELS[level], worded(name, value), extra=said)


__all__ = ["CHORE", "Alerting"]
