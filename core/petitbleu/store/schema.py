"""The tables an open database has: which migrations it has had, and the way to those that it lacks."""

from __future__ import annotations

import asyncio
import logging
import pkgutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient

from . import migrations
from .database import APP, Store, app_config
from .errors import StoreError
from .postgres import MIGRATION_LOCK
from .queries import Dialect

if TYPE_CHECKING:
    from .migrations._index import Index

logger = logging.getLogger("petitbleu.database")

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1) AS ours"
TURN = 0.1
"""Seconds between looks whether another process still migrates."""

_HAS_MIGRATIONS: Mapping[Dialect, str] = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE name = 'tortoise_migrations'",
    "postgres": "SELECT 1 WHERE to_regclass('tortoise_migrations') IS NOT NULL",
}


def known_migrations() -> list[str]:
    """Those that this version has, in order."""
    return sorted(name for _, name, _ in pkgutil.iter_modules(migrations.__path__) if name[0].isdigit())


async def pending_migrations(store: Store) -> list[str]:
    had = await _applied_migrations(store)
    return [name for name in known_migrations() if name not in had]


async def check_tables(store: Store) -> None:
    """Refuse tables of an earlier version, and those of a later one that this version would spoil."""
    had, known = await _applied_migrations(store), known_migrations()
    if pending := [name for name in known if name not in had]:
        raise StoreError(f"the database lacks {', '.join(pending)}; run `petitbleu migrate` first")
    later = sorted(had.difference(known))
    if not later:
        return
    needs = (await store.read("SELECT value FROM installation WHERE name = ?", ["needs"]))[0]["value"]
    if needs > known[-1]:
        raise StoreError(
            f"the database has been brought to {later[-1]}, for versions that know {needs}; this one knows "
            f"{known[-1]} at most: install the later version here too"
        )
    logger.info("the database is ahead of this version", extra={"knows": known[-1], "has": later[-1]})


async def is_empty(store: Store) -> bool:
    """No migration was ever applied here."""
    return not await _applied_migrations(store)


async def _applied_migrations(store: Store, on: BaseDBAsyncClient | None = None) -> set[str]:
    if not await store.read(_HAS_MIGRATIONS[store.dialect], [], on):
        return set()
    rows = await store.read("SELECT name FROM tortoise_migrations WHERE app = ?", [APP], on)
    return {row["name"] for row in rows}


async def migrate(store: Store, patience: float = 10.0) -> list[str]:
    """Bring the tables up to date; gives the names of what was applied.

    Whoever comes second waits for the first, and then finds nothing left. All is, or nothing, but for indexes of tables
    that are in use on PostgreSQL: they are built while others write, which no transaction can do, and each is a step by
    itself; what came before it stays. There a table that another transaction holds is waited for `patience` seconds,
    since everybody else has to wait behind us.
    """
    applied: list[str] = []
    try:
        while step := await _step(store, patience):
            applied += step
    except asyncpg.LockNotAvailableError as error:
        raise StoreError(
            f"{_done(applied)}: a transaction has held a table for {patience:g} s (pg_stat_activity tells "
            "which); end it, then run `petitbleu migrate` again"
        ) from error
    except _IndexNotBuilt as error:
        raise StoreError(f"{_done(applied)}: {error}; run `petitbleu migrate` again") from error.__cause__
    return applied


def _done(applied: list[str]) -> str:
    return f"nothing was changed after {applied[-1]}" if applied else "nothing was changed"


async def _step(store: Store, patience: float) -> list[str]:
    """As many of the migrations that are left as one transaction can have."""
    # as much to import as a tenth of a small start
    from tortoise.migrations.executor import MigrationExecutor, MigrationTarget

    async with _locked(store) as transaction:
        had = await _applied_migrations(store, transaction)
        left = [name for name in known_migrations() if name not in had]
        if not left:
            return []
        if store.dialect == "postgres":
            if had:
                left = left[: max(1, next((place for place, name in enumerate(left) if _indexes(name)), len(left)))]
                # it may take hours; and a script ends the statement before, whose snapshot the build would wait for
                await transaction.execute_script("SET LOCAL idle_in_transaction_session_timeout = 0")
                await _build(store, _indexes(left[0]))
            await transaction.execute_script(f"SET LOCAL lock_timeout = {int(patience * 1000)}")
        executor = MigrationExecutor(transaction, {APP: app_config(store.dialect)})
        # before anything asks for it, which would fail and thereby end the transaction
        await executor.recorder.ensure_schema(executor._schema_editor(atomic=False))
        await executor.migrate([MigrationTarget(APP, left[-1])], direction="forward")
        return left


@asynccontextmanager
async def _locked(store: Store) -> AsyncIterator[Any]:
    """A transaction in which nobody else migrates; on SQLite it is the lock."""
    while True:
        async with store.transaction() as transaction:
            if store.dialect == "sqlite":
                yield transaction
                return
            # not waited for in a transaction, for whose end whoever builds an index might wait
            (row,) = await transaction.execute_query_dict(_TRY_LOCK, [MIGRATION_LOCK])
            if row["ours"]:
                yield transaction
                return
        await asyncio.sleep(TURN)


class _IndexNotBuilt(Exception):
    pass


def _indexes(name: str) -> list[Index]:
    from .migrations._index import Index

    module = import_module(f"{migrations.__name__}.{name}")
    return [operation for operation in module.Migration.operations if isinstance(operation, Index)]


async def _build(store: Store, indexes: list[Index]) -> None:
    for index in indexes:
        logger.info("building the index %s, while others write: on a large table that takes a while", index.name)
        try:
            connection = await store.listener()
            try:
                await index.build(connection)
            finally:
                await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise _IndexNotBuilt(f"the index {index.name} could not be built: {error}") from error
