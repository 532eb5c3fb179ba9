"""The tables an open database has: which migrations it has had, and the way to those that it lacks."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Mapping

import asyncpg

from . import migrations
from .database import APP, Store, app_config
from .errors import StoreError
from .postgres import MIGRATION_LOCK
from .queries import Dialect

logger = logging.getLogger("petitbleu.database")

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


async def _applied_migrations(store: Store) -> set[str]:
    if not await store.read(_HAS_MIGRATIONS[store.dialect], []):
        return set()
    rows = await store.read("SELECT name FROM tortoise_migrations WHERE app = ?", [APP])
    return {row["name"] for row in rows}


async def migrate(store: Store, patience: float = 10.0) -> list[str]:
    """Bring the tables up to date; gives the names of what was applied. All is, or nothing.

    Whoever comes second waits for the first, and then finds nothing left. On PostgreSQL a table that another
    transaction holds is waited for `patience` seconds, since everybody else has to wait behind us.
    """
    # as much to import as a tenth of a small start
    from tortoise.migrations.executor import MigrationExecutor

    applied: list[str] = []

    def note(phase: str, app: str, name: str) -> None:
        if phase == "apply_done":
            applied.append(name)

    try:
        # on SQLite the transaction is the lock
        async with store.transaction() as transaction:
            if store.dialect == "postgres":
                await transaction.execute_query("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK])
                await transaction.execute_script(f"SET LOCAL lock_timeout = {int(patience * 1000)}")
            executor = MigrationExecutor(transaction, {APP: app_config(store.dialect)})
            # before anything asks for it, which would fail and thereby end the transaction
            await executor.recorder.ensure_schema(executor._schema_editor(atomic=False))
            await executor.migrate(direction="forward", progress=note)
    except asyncpg.LockNotAvailableError as error:
        raise StoreError(
            f"nothing was changed: a transaction has held a table for {patience:g} s (pg_stat_activity tells "
            "which); end it, then run `petitbleu migrate` again"
        ) from error
    return applied
