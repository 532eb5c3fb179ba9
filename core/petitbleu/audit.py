"""Who did what to what: written in the transaction that does it, read by `petitbleu audit`.

`detail` never holds a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .operating import Actor, AuditEntry
from .store import Store
from .store.payload import moment
from .types import Operator

ITSELF = Actor(Operator("petitbleu", frozenset()), "")
"""Who it was when nobody said so."""
_MOST_OBJECT = 512


@dataclass(frozen=True, slots=True)
class Change:
    """`action` is a word such as `suppressions.add`; `object` what it was done to, such as `email/zoe@example.com`."""

    action: str
    object: str
    detail: Mapping[str, Any] = field(default_factory=dict)


async def record(store: Store, changes: Sequence[Change], actor: Actor, on: Any) -> None:
    """Within the transaction `on`."""
    rows = [
        {
            "action": one.action,
            "object": one.object[:_MOST_OBJECT],
            "detail": json.dumps(one.detail, ensure_ascii=False),
        }
        for one in changes
    ]
    if rows:
        await store.rows("insert_audit", actor.login[:128], actor.origin[:16], actor.address[:64], rows, on=on)


async def recorded(
    store: Store,
    *,
    action: str = "",
    object_: str = "",
    by: str = "",
    origin: str = "",
    before: int | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """The latest changes, with ids below `before`; `action` may be the beginning of one, such as `suppressions`."""
    terms, values = ["1 = 1"], list[Any]()
    if before is not None:
        terms.append("id < ?")
        values.append(before)
    if action:
        terms.append("(action = ? OR action LIKE ? ESCAPE '!')")
        values += [action, action.replace("!", "!!").replace("%", "!%").replace("_", "!_") + ".%"]
    for column, value in (("object", object_), ('"by"', by), ("origin", origin)):
        if value:
            terms.append(f"{column} = ?")
            values.append(value)
    sql = f"SELECT * FROM audit WHERE {' AND '.join(terms)} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own words
    rows = await store.read(sql, [*values, limit])
    return [
        AuditEntry(
            row["id"],
            moment(row["at"]),
            row["by"],
            row["origin"],
            row["address"],
            row["action"],
            row["object"],
            json.loads(row["detail"]),
        )
        for row in rows
    ]


__all__ = ["ITSELF", "Change", "record", "recorded"]
