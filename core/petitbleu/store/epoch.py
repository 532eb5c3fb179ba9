"""Is this the database we knew? A restored copy, or a standby that was promoted, may have forgotten what was sent.

PostgreSQL tells: a promoted standby, and a backup brought forward from its archive, goes on in another timeline; a dump
is restored into other tables; a copy is another database or another system. What these were is kept in a row that
travels with the data, and compared whenever a connection is made: before anything can be claimed over it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

logger = logging.getLogger("petitbleu.database")

PATIENCE = 3600.0
"""Seconds for holding, which may be a great many events, and for waiting until another has done it."""
HELD = "held: the database was restored, copied or failed over, so it may have been sent; `petitbleu events release`"

_EPOCH = """
    SELECT (SELECT value FROM installation WHERE name = 'epoch') AS known,
           CASE WHEN pg_is_in_recovery() THEN NULL ELSE
               (SELECT system_identifier::text FROM pg_control_system())
               || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
               || '/' || (SELECT oid::text FROM pg_database WHERE datname = current_database())
               || '/' || 'queue'::regclass::oid::text END AS now"""
# a lease that is still running is left to its owner, who may have lived through a fail-over
_HOLD = """
    WITH held AS (UPDATE queue SET state = 3, lease = NULL, leased_until = NULL
                  WHERE state < 2 OR (state = 2 AND leased_until < extract(epoch FROM clock_timestamp()) * 1000000)
                  RETURNING id),
         told AS (UPDATE events SET reason = $1 FROM held WHERE events.id = held.id RETURNING 1)
    SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM told) AS told"""

# what was given out since the backup must not be given out again: callers have it, and Message-IDs are made of it
_SKIP = "UPDATE counters SET value = value + 1000000000 WHERE name = 'events'"

Guard = Callable[[Any], Awaitable[None]]


def guard(hold: bool) -> Guard:
    """What a pool is to call with each new connection. With `hold`, events that are open when the database turns out to
    be another are held for an operator; of several processes one does it, and the others wait until it is done."""

    async def check(connection: asyncpg.Connection) -> None:
        if not await connection.fetchval("SELECT to_regclass('installation') IS NOT NULL"):
            return
        try:
            row = await connection.fetchrow(_EPOCH)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError) as error:
            logger.warning("a restored database cannot be told from the one that was: %s", error)
            return
        known, now = row["known"], row["now"]
        if now is not None and now != known:
            await _note(connection, known, now, hold)

    return check


async def _note(connection: asyncpg.Connection, known: str | None, now: str, hold: bool) -> None:
    async with connection.transaction():
        if known is None:
            await connection.execute(
                "INSERT INTO installation (name, value) VALUES ('epoch', $1) ON CONFLICT (name) DO NOTHING", now
            )
            return
        ours = await connection.fetchval(
            "UPDATE installation SET value = $1 WHERE name = 'epoch' AND value = $2 RETURNING 1",
            now,
            known,
            timeout=PATIENCE,
        )
        if ours is None:
            return
        await connection.execute(_SKIP)
        held = await connection.fetchval(_HOLD, HELD, timeout=PATIENCE) if hold else 0
    logger.warning(
        "the database was restored, copied or failed over (was %s, is %s): %s",
        known,
        now,
        f"holding {held} open events; look at them, then petitbleu events release or cancel"
        if hold
        else "its open events are sent (delivery.hold_after_restore is off)",
    )


__all__ = ["HELD", "Guard", "guard"]
