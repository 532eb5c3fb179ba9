"""Every table there is, as the database itself lists them: to look for something everywhere, and to take it out.

Nothing here knows what a table is for, so a table that comes with a later version, or that somebody else made in the
same schema, is looked through like any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .database import Store

CHUNK = 500

_POSTGRES = """
    SELECT c.table_name AS "table", c.column_name AS name,
           c.data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'bytea') AS text,
           c.data_type = 'bigint' AS number,
           (SELECT k.ordinal_position FROM information_schema.table_constraints t
            JOIN information_schema.key_column_usage k USING (constraint_schema, constraint_name, table_name)
            WHERE t.constraint_type = 'PRIMARY KEY' AND t.table_schema = c.table_schema
                  AND t.table_name = c.table_name AND k.column_name = c.column_name) AS key
    FROM information_schema.columns c JOIN information_schema.tables s USING (table_schema, table_name)
    WHERE c.table_schema = current_schema() AND s.table_type = 'BASE TABLE' ORDER BY 1, c.ordinal_position"""
_SQLITE = """
    SELECT m.name AS "table", c.name AS name, c.type NOT LIKE '%INT%' AND c.type NOT LIKE '%REAL%' AS text,
           c.type LIKE '%INT%' AS number, nullif(c.pk, 0) AS key
    FROM sqlite_master m JOIN pragma_table_info(m.name) c
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY 1, c.cid"""


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are those that can hold text, `key` the primary key. `of_events`: rows belong to an event, which the
    column `owner` names."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A row in which something was found: the values of its key."""

    table: Table
    key: tuple[Any, ...]


async def tables(store: Store) -> list[Table]:
    """In the order of their names."""
    listed: dict[str, list[Mapping[str, Any]]] = {}
    for row in await store.read(_POSTGRES if store.dialect == "postgres" else _SQLITE, []):
        listed.setdefault(row["table"], []).append(row)
    return [_table(name, columns) for name, columns in listed.items()]


def _table(name: str, columns: Sequence[Mapping[str, Any]]) -> Table:
    keyed = sorted((one for one in columns if one["key"] is not None), key=lambda one: int(one["key"]))
    numbers = {one["name"] for one in columns if one["number"]}
    owner = "id" if name in ("events", "payloads", "queue") else "event" if "event" in numbers else ""
    return Table(
        name,
        tuple(one["name"] for one in keyed) or ("ctid",),
        tuple(one["name"] for one in columns if one["text"]),
        owner,
    )


async def rows_of(store: Store, table: Table) -> AsyncIterator[dict[str, Any]]:
    """Every row, its key and its text, a part at a time and in the order of the key."""
    if not table.columns:
        return
    names = ", ".join(f'"{one}"' for one in dict.fromkeys((*table.key, *table.columns, *filter(None, [table.owner]))))
    order = ", ".join(f'"{one}"' for one in table.key)
    marks = ", ".join("?" * len(table.key))
    after: list[Any] = []
    while True:
        where = f"WHERE ({order}) > ({marks})" if after else ""
        sql = f'SELECT {names} FROM "{table.name}" {where} ORDER BY {order} LIMIT {CHUNK}'  # noqa: S608 - from the catalog
        rows = await store.read(sql, after)
        for row in rows:
            yield row
        if len(rows) < CHUNK:
            return
        after = [rows[-1][one] for one in table.key]


async def row_at(store: Store, found: Found, on: Any) -> Mapping[str, Any] | None:
    """The row as it is now, locked; None: it is gone."""
    owner = filter(None, [found.table.owner])
    names = ", ".join(f'"{one}"' for one in dict.fromkeys((*found.table.key, *found.table.columns, *owner)))
    lock = "FOR UPDATE" if store.dialect == "postgres" else ""
    where = _keys(store, found.table, 1)
    sql = f'SELECT {names} FROM "{found.table.name}" WHERE {where} {lock}'  # noqa: S608 - from the catalog
    rows = await on.execute_query_dict(sql, list(found.key))
    return rows[0] if rows else None


async def replace_text(store: Store, found: Found, values: Mapping[str, Any], on: Any) -> None:
    sets = ", ".join(f'"{name}" = {_mark(store, number)}' for number, name in enumerate(values, 1))
    where = _keys(store, found.table, len(values) + 1)
    sql = f'UPDATE "{found.table.name}" SET {sets} WHERE {where}'  # noqa: S608 - from the catalog
    await on.execute_query(sql, [*values.values(), *found.key])


async def delete_row(store: Store, found: Found, on: Any) -> None:
    where = _keys(store, found.table, 1)
    await on.execute_query(f'DELETE FROM "{found.table.name}" WHERE {where}', list(found.key))  # noqa: S608 - see above


async def delete_owned(store: Store, table: Table, events: Sequence[int], on: Any) -> int:
    """Delete the rows of these events; how many those were."""
    marks = ", ".join(_mark(store, number) for number in range(1, len(events) + 1))
    sql = f'DELETE FROM "{table.name}" WHERE "{table.owner}" IN ({marks})'  # noqa: S608 - from the catalog
    changed, _ = await on.execute_query(sql, list(events))
    return int(changed)


def _keys(store: Store, table: Table, first: int) -> str:
    return " AND ".join(f'"{name}" = {_mark(store, number)}' for number, name in enumerate(table.key, first))


def _mark(store: Store, number: int) -> str:
    return f"${number}" if store.dialect == "postgres" else "?"


async def overwrite_what_goes(store: Store) -> None:
    """From now on what this connection deletes from an SQLite file is overwritten there."""
    if store.dialect == "sqlite":
        await store.connection.execute_query_dict("PRAGMA secure_delete = ON")


async def clear_away(store: Store, changed: Sequence[str], *, whole: bool) -> None:
    """Bring deletions to the disk: SQLite's log into its file; with `whole`, the file is written anew. On PostgreSQL
    the dead rows of the tables `changed` are cleared away, where this login may do that."""
    if store.dialect == "sqlite":
        if whole:
            await store.connection.execute_script("VACUUM")
        await store.connection.execute_query_dict("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    async with store.apart() as connection:
        for name in changed:
            await connection.execute_script(f'VACUUM "{name}"')


async def files(store: Store) -> list[Path]:
    """Those of an SQLite database."""
    if store.dialect != "sqlite":
        return []
    listed = await store.read("SELECT file FROM pragma_database_list WHERE name = 'main'", [])
    main = Path(listed[0]["file"])
    return [file for file in (main, main.with_name(main.name + "-wal")) if file.is_file()]


__all__ = [
    "Found",
    "Table",
    "clear_away",
    "delete_owned",
    "delete_row",
    "files",
    "overwrite_what_goes",
    "replace_text",
    "row_at",
    "rows_of",
    "tables",
]
