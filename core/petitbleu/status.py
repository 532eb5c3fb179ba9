"""Questions about events: from callers' names for things to SQL, and back.

Whatever cannot be answered exactly is refused; nothing of a caller's text ever becomes SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import tzinfo
from typing import Any

import orjson

from .addresses import instant
from .errors import AccessDenied, QueryRefused
from .lifecycle import PAUSED, PENDING, PROCESSING
from .operating import FoundEvent
from .queue.rows import HELD, LANES, LEASED, READY, WAITING
from .rendered import text_of
from .services import StatusName
from .store import Store, whole_id
from .store.payload import micros, moment, optional_moment
from .suggest import did_you_mean
from .types import Condition, EventQuery, Junction, Operator, Queue

MOST_TERMS = 100
MOST_ROWS = 10_000
LONGEST_PATTERN = 1000
"""Characters after `like`; what is compared with them has 320 at most."""

_STATES = {PENDING: (WAITING, READY), PROCESSING: (LEASED,), PAUSED: (HELD,)}
"""What is open has a row in the queue, whose state tells how."""
_STATUS = f"CASE q.state WHEN 2 THEN '{PROCESSING}' WHEN 3 THEN '{PAUSED}' ELSE e.status END"
_COLUMNS = {
    "id": "e.id",
    "type": "e.type",
    "channel": "e.channel",
    "status": _STATUS,
    "errors": "CAST(e.errors AS bigint)",  # callers may compare with any number of 64 bits
    "created": "e.created",
    "processing": "e.processing",
    "processed": "e.processed",
    "processRequested": "e.process_requested",
    "externalId": "e.external_id",
    "origin": "e.origin",
    "email": "e.email",
    "mobilePhone": "e.mobile_phone",
    "device": "e.device",
    "template": "e.template",
    "feedback": "e.feedback",
    "brand": "e.brand",
    "cause": "e.cause",
}
_TIMES = frozenset({"created", "processing", "processed", "processRequested"})
_NUMBERS = frozenset({"errors"})
_FROM = "FROM events e LEFT JOIN queue q ON q.id = e.id"
_OPERATORS = {"=": "=", "!=": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
_GLOB = str.maketrans({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"})


class Status:
    """Answers `find` and `count`; only what the operator may read."""

    def __init__(
        self,
        store: Store,
        cell: int,
        statuses: Mapping[str, StatusName],
        brands: Mapping[str, str],
        time_zone: tzinfo,
    ) -> None:
        """`brands` maps every event type to the brand it speaks for."""
        self._store = store
        self._brands = brands
        self._cell = cell
        self._statuses = statuses
        self._time_zone = time_zone

    async def find(self, query: EventQuery, operator: Operator) -> list[FoundEvent]:
        where, values = self._where(query, operator)
        if not 0 <= query.limit <= MOST_ROWS or query.offset < 0:
            raise QueryRefused(f"the number of lines must be between 0 and {MOST_ROWS}")
        order = ", ".join(
            f"{_column(attribute)} {'DESC' if descending else 'ASC'}" for attribute, descending in query.order_by
        )
        rows = await self._store.read(
            f"SELECT e.*, {_STATUS} AS now_status {_FROM} {where} ORDER BY {order or 'e.id'} LIMIT ? OFFSET ?",
            [*values, query.limit, query.offset],
        )
        return [found_event(row) for row in rows]

    async def newest(
        self, query: EventQuery, operator: Operator, before: tuple[int, int] | None = None
    ) -> list[tuple[tuple[int, int], FoundEvent]]:
        """By the time they came, the latest first, each with its place in this order, which `before` takes. Of the
        query, `order_by` and `offset` count for nothing."""
        where, values = self._where(query, operator)
        if before is not None:
            where += (" AND " if where else "WHERE ") + "e.created <= ? AND (e.created < ? OR e.id < ?)"
            values += [before[0], *before]
        rows = await self._store.read(
            f"SELECT e.*, {_STATUS} AS now_status {_FROM} {where} ORDER BY e.created DESC, e.id DESC LIMIT ?",
            [*values, query.limit],
        )
        return [((row["created"], row["id"]), found_event(row)) for row in rows]

    async def ids(self, query: EventQuery, operator: Operator, after: int, until: int) -> list[int]:
        """The ids above `after` of events that came until then (microseconds), the smallest first, as far as the right
        `admin` reaches."""
        where, values = self._where(query, operator, "admin")
        where += (" AND " if where else "WHERE ") + "e.id > ? AND e.created <= ?"
        rows = await self._store.read(
            f"SELECT e.id {_FROM} {where} ORDER BY e.id LIMIT ?", [*values, after, until, query.limit]
        )
        return [row["id"] for row in rows]

    async def count(self, query: EventQuery, operator: Operator) -> int:
        where, values = self._where(query, operator)
        rows = await self._store.read(f"SELECT count(*) AS found {_FROM} {where}", values)
        return int(rows[0]["found"])

    async def attempts(self, event_id: int) -> list[dict[str, Any]]:
        """Each with `awaited`, the number of parts for which a receipt may come, and whether its message is kept."""
        return await self._store.read(
            "SELECT a.*, (SELECT count(*) FROM awaited w WHERE w.event = a.event AND w.number = a.number) AS awaited, "
            "EXISTS (SELECT 1 FROM rendered r WHERE r.event = a.event AND r.number = a.number) AS rendered "
            "FROM attempts a WHERE event = ? ORDER BY id",
            [event_id],
        )

    async def rendered(self, event_id: int, number: int) -> dict[str, Any] | None:
        """What was handed over: the `message`, and `until` when it is kept."""
        rows = await self._store.read(
            "SELECT until, body FROM rendered WHERE event = ? AND number = ? ORDER BY id DESC LIMIT 1",
            [event_id, number],
        )
        if not rows:
            return None
        text = text_of(self._store.vault, event_id, bytes(rows[0]["body"]))
        return {"until": rows[0]["until"], "message": orjson.loads(text)}

    async def by_reference(self, channel: str, reference: str) -> int | None:
        """The event of the latest message that a provider gave this reference. Reads every attempt."""
        rows = await self._store.read(
            "SELECT event FROM attempts WHERE channel = ? AND reference = ? ORDER BY id DESC LIMIT 1",
            [channel, reference],
        )
        return int(rows[0]["event"]) if rows else None

    async def receipts(self, event_id: int) -> list[dict[str, Any]]:
        return await self._store.read("SELECT * FROM receipts WHERE event = ? ORDER BY id", [event_id])

    async def recyclings(self, event_id: int) -> list[dict[str, Any]]:
        return await self._store.read("SELECT * FROM recyclings WHERE event = ? ORDER BY id", [event_id])

    def _where(self, query: EventQuery, operator: Operator, right: str = "read") -> tuple[str, list[Any]]:
        if not operator.may(right):
            raise AccessDenied
        terms: list[str] = []
        values: list[Any] = []
        if query.queue is not None:
            terms.append("e.lane = ?")
            values.append(LANES[Queue(query.queue)])
        if operator.event_types is not None or operator.brands is not None:
            readable = [name for name, brand in self._brands.items() if operator.may(right, name, brand)]
            terms.append(f"e.type IN ({', '.join('?' * len(readable)) or 'NULL'})")
            values += readable
        if query.where is not None:
            terms.append(self._condition(query.where, values, MOST_TERMS))
        return (f"WHERE {' AND '.join(terms)}" if terms else ""), values

    def _condition(self, condition: Condition, values: list[Any], room: int) -> str:
        if isinstance(condition, Junction):
            if not 0 < len(condition.terms) <= room:
                raise QueryRefused(f"a condition joins between 1 and {MOST_TERMS} terms")
            parts = [self._condition(term, values, room - 1) for term in condition.terms]
            return "(" + (" AND " if condition.kind == "and" else " OR ").join(parts) + ")"
        column = _column(condition.attribute)
        if condition.operator == "like":
            if condition.attribute in _TIMES | _NUMBERS | {"id", "status"}:
                raise QueryRefused(f"like compares text, which @{condition.attribute} is not")
            return self._like(column, condition.values[0], values)
        if condition.attribute == "status":
            if condition.operator not in ("=", "!=", "in"):
                raise QueryRefused(f"@status is compared by =, != and in, not by {condition.operator}")
            if condition.operator != "!=" and len(condition.values) <= MOST_TERMS:
                return _is_one_of({self._status(text) for text in condition.values}, values)
        found = [self._value(condition.attribute, text) for text in condition.values]
        if condition.operator == "in":
            if not 0 < len(found) <= MOST_TERMS:
                raise QueryRefused(f"in takes between 1 and {MOST_TERMS} values")
            values += found
            return f"{column} IN ({', '.join('?' * len(found))})"
        values.append(found[0])
        if condition.attribute in ("mobilePhone", "device") and condition.operator == "=" and found[0]:
            # their indexes have only those that are there
            return f"({column} = ? AND {column} <> '')"
        return f"{column} {_OPERATORS[condition.operator]} ?"

    def _like(self, column: str, pattern: str, values: list[Any]) -> str:
        """`%` and `_` alone stand for other letters, and the case of letters counts, as in `=`: the same on both
        databases, of which one would take a backslash for more than itself and the other big letters for small ones."""
        if len(pattern) > LONGEST_PATTERN:
            raise QueryRefused(f"like takes up to {LONGEST_PATTERN} characters")
        if self._store.dialect == "postgres":
            values.append(pattern)
            return f"{column} LIKE ? ESCAPE ''"
        values.append(pattern.translate(_GLOB))
        return f"{column} GLOB ?"

    def _value(self, attribute: str, text: str) -> Any:
        if attribute == "id":
            return whole_id(_integer(attribute, text), self._cell)
        if attribute in _NUMBERS:
            return _integer(attribute, text)
        if attribute in _TIMES:
            try:
                return micros(instant(text, self._time_zone))
            except ValueError as error:
                raise QueryRefused(f"@{attribute}: {error}") from None
        if attribute == "status":
            return self._status(text)
        return text

    def _status(self, text: str) -> str:
        for status in self._statuses.values():
            if text in (status.name, status.rest, str(status.code)):
                return status.name
        raise QueryRefused(f"@status: {text!r} is not a status")


def _is_one_of(statuses: Set[str], values: list[Any]) -> str:
    """As a comparison of `_STATUS`, in a form that lets the database begin with the few rows of the queue where only
    those count, and leave the queue alone where it does not count at all."""
    states = sorted(state for name in statuses for state in _STATES.get(name, ()))
    final = sorted(statuses - {*_STATES})
    terms = [f"q.state IN ({', '.join(map(str, states))})"] if states else []
    if final:
        terms.append(f"e.status IN ({', '.join('?' * len(final))})")
        values += final
    return f"({' OR '.join(terms) or '1 = 0'})"


def _column(attribute: str) -> str:
    if attribute not in _COLUMNS:
        hint = did_you_mean(attribute, _COLUMNS)
        raise QueryRefused(f"events have no readable attribute @{attribute}" + (f"; {hint}" if hint else ""))
    return _COLUMNS[attribute]


def _integer(attribute: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise QueryRefused(f"@{attribute}: {text[:64]!r} is not a whole number") from None
    if not -(1 << 63) <= number < 1 << 63:
        raise QueryRefused(f"@{attribute}: {text[:64]} is out of range")
    return number


def found_event(row: Mapping[str, Any]) -> FoundEvent:
    return FoundEvent(
        id=row["id"],
        type=row["type"],
        queue=next(queue.value for queue, lane in LANES.items() if lane == row["lane"]),
        channel=row["channel"],
        status=row["now_status"],
        errors=row["errors"],
        created=moment(row["created"]),
        processing=optional_moment(row["processing"]),
        processed=optional_moment(row["processed"]),
        process_requested=optional_moment(row["process_requested"]),
        external_id=row["external_id"],
        origin=row["origin"],
        email=row["email"],
        mobile_phone=row["mobile_phone"],
        template=row["template"],
        reason=row["reason"],
        feedback=row["feedback"],
        brand=row["brand"],
        cause=row["cause"],
    )
