"""Tables as an earlier version left them, and what may be in them."""

from __future__ import annotations

from petitbleu.store import Store
from petitbleu.store.database import APP, app_config
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget

HOUR = 3_600_000_000
BODY = (
    '{"type":"order","queue":"realtime","channel":"email","data":{"ctx":{"name":"Zoé"}},"created":1000000,'
    '"addresses":{"email":"zoe@example.com"},"language":"","country":"","externalId":"","origin":"","priority":5,'
    '"scheduled":null,"expiration":null}'
)


async def migrate_to(store: Store, name: str) -> None:
    """Bring an empty database to the migration `name` and no further."""
    executor = MigrationExecutor(store.connection, {APP: app_config(store.dialect)})
    await executor.migrate([MigrationTarget(APP, name)], direction="forward")


async def fill(store: Store) -> None:
    """Put something into every table of 0002: event 1 is ready, 2 waits for its next try, which is due, 3 and 4 have
    lost their workers, the latter after its hand-off, 5 is scheduled in the batch queue, 6 is sent, 7 has failed."""
    now = store.now()
    columns = "id, state, lane, due, tries, attempts, handed_off, lease, leased_until, priority, type, channel"
    queued = (
        f"1, 1, 0, {now - HOUR}, 0, 0, '', NULL, NULL",
        f"2, 0, 0, {now - 1000}, 1, 1, '', NULL, NULL",
        f"3, 2, 0, {now - HOUR}, 0, 0, '', 'dead-1', {now - 1000}",
        f"4, 2, 0, {now - HOUR}, 0, 0, 'main', 'dead-2', {now - 1000}",
        f"5, 0, 1, {now + HOUR}, 0, 0, '', NULL, NULL",
    )
    script = [f"INSERT INTO queue ({columns}) VALUES ({row}, 5, 'order', 'email')" for row in queued]
    for number, status in enumerate(["pending"] * 5 + ["sent", "failed"], 1):
        ended = "NULL" if status == "pending" else str(now)
        script += [
            "INSERT INTO events (id, type, lane, channel, status, created, processed, external_id, email) "
            f"VALUES ({number}, 'order', 0, 'email', '{status}', {now - HOUR}, {ended}, 'A', 'zoe@example.com')",
            f"INSERT INTO payloads (id, body) VALUES ({number}, '{BODY}')",
        ]
    attempts = {2: "deferred", 6: "delivered", 7: "failed"}
    script += [
        "INSERT INTO attempts (event, number, channel, provider, started, ended, outcome) "
        f"VALUES ({event}, 1, 'email', 'main', {now}, {now}, '{outcome}')"
        for event, outcome in attempts.items()
    ]
    script += [
        f"INSERT INTO idempotency (key, event, digest, until) VALUES ('k', 6, 'd', {now + 10 * HOUR})",
        f"INSERT INTO sessions (token_hash, security_hash, login, created, expires) VALUES ('t', 's', 'mc', 0, {now})",
        "INSERT INTO template_versions (event_type, channel, number, digest, snapshot, created, created_by) "
        "VALUES ('order', 'email', 1, 'd', '{}', 0, 'ann')",
    ]
    for statement in script:
        await store.connection.execute_query(statement)
