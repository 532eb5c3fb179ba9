"""Statements of keeping house: what is deleted when its time is over, what is held and let go, how the house is."""

from __future__ import annotations

UPKEEP = {
    # a lease rather than an advisory lock: it serves both databases, and holds behind a pooler of connections
    "take_chore": """
        UPDATE chores SET holder = {0}, until = {now} + {1}
        WHERE name = {2} AND (until <= {now} OR holder = {3}) AND completed <= {now} - {4}
        RETURNING completed, swept, terms, {now} AS now""",
    "keep_chore": """
        UPDATE chores SET until = {now} + {0} WHERE name = {1} AND holder = {2} AND until > {now} RETURNING name""",
    "leave_chore": "UPDATE chores SET until = 0 WHERE name = {0} AND holder = {1}",
    "complete_chore": """
        UPDATE chores SET completed = {0}, swept = {1}, terms = {2} WHERE name = {3} AND holder = {4}""",
    "chore": "SELECT holder, until, completed, {now} AS now FROM chores WHERE name = {0}",
    # in the order of the index on `created`; `id` decides among those of one microsecond
    "old_events": """
        SELECT id, type, created, processed FROM events
        WHERE created >= {0} AND (created > {1} OR id > {2}) AND created <= {3}
        ORDER BY created, id LIMIT {4}""",
    # what was put back since it was read is open, or has ended anew, and stays
    "lock_ended": """
        SELECT id FROM events WHERE processed <= {0} AND id {any}(SELECT id FROM {rows:id bigint}){end}
        ORDER BY id {skip_locked}""",
    "purge_events": "DELETE FROM events WHERE id {any}(SELECT id FROM {rows:id bigint}){end}",
    "purge_payloads": "DELETE FROM payloads WHERE id {any}(SELECT id FROM {rows:id bigint}){end}",
    "purge_attempts": "DELETE FROM attempts WHERE event {any}(SELECT id FROM {rows:id bigint}){end}",
    "count_payloads": "SELECT count(*) AS found FROM payloads WHERE id {any}(SELECT id FROM {rows:id bigint}){end}",
    "count_attempts": "SELECT count(*) AS found FROM attempts WHERE event {any}(SELECT id FROM {rows:id bigint}){end}",
    "purge_rendered": "DELETE FROM rendered WHERE event {any}(SELECT id FROM {rows:id bigint}){end}",
    # copies of messages, whose events stay
    "purge_copies": """
        DELETE FROM rendered WHERE id {any}(SELECT id FROM rendered WHERE until <= {begun}
                                            ORDER BY until LIMIT {0} {skip_locked}){end}""",
    "count_copies": "SELECT count(*) AS found FROM rendered WHERE until <= {begun}",
    # for the archive
    "whole_events": "SELECT * FROM events WHERE id {any}(SELECT id FROM {rows:id bigint}){end} ORDER BY id",
    "whole_payloads": "SELECT id, body FROM payloads WHERE id {any}(SELECT id FROM {rows:id bigint}){end}",
    "whole_attempts": """
        SELECT a.*, (SELECT count(*) FROM awaited w WHERE w.event = a.event AND w.number = a.number) AS awaited,
               false AS rendered
        FROM attempts a WHERE event {any}(SELECT id FROM {rows:id bigint}){end} ORDER BY id""",
    "whole_receipts": """
        SELECT * FROM receipts WHERE event {any}(SELECT id FROM {rows:id bigint}){end} ORDER BY id""",
    "whole_recyclings": """
        SELECT * FROM recyclings WHERE event {any}(SELECT id FROM {rows:id bigint}){end} ORDER BY id""",
    "note_archive": """
        INSERT INTO installation (name, value) VALUES ({0}, {1})
        ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
    "purge_sessions": """
        DELETE FROM sessions WHERE token_hash {any}(SELECT token_hash FROM sessions WHERE expires <= {begun} - {0}
                                                    ORDER BY expires LIMIT {1} {skip_locked}){end}""",
    "count_sessions": "SELECT count(*) AS found FROM sessions WHERE expires <= {begun} - {0}",
    "count_keys": "SELECT count(*) AS found FROM idempotency WHERE until <= {begun}",
    "hold": """
        UPDATE queue SET state = 3
        WHERE id IN (SELECT id FROM queue WHERE state < 2 AND id IN (SELECT id FROM {rows:id bigint})
                     ORDER BY id {skip_locked})
        RETURNING id""",
    "let_go": """
        UPDATE queue SET state = CASE WHEN due > {now} OR {suspect} THEN 0 ELSE 1 END
        WHERE id IN (SELECT id FROM queue WHERE state = 3 AND id IN (SELECT id FROM {rows:id bigint})
                     ORDER BY id {skip_locked})
        RETURNING id""",
    "record_reason": "UPDATE events SET reason = {0} WHERE id IN (SELECT id FROM {rows:id bigint})",
    # one row, locked until the end of the transaction
    "lock_keys_of_vault": """
        INSERT INTO installation (name, value) VALUES ('keys', '[]')
        ON CONFLICT (name) DO UPDATE SET value = installation.value
        RETURNING value""",
    "note_keys": "UPDATE installation SET value = {0} WHERE name = 'keys'",
    "reseal": "UPDATE payloads SET body = {0} WHERE id = {1} AND body = {2}",
    "open_kinds": "SELECT type, channel, count(*) AS events FROM queue GROUP BY type, channel",
    "ask_reload": """
        INSERT INTO installation (name, value) VALUES ('reload', {0})
        ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
    "reseal_rendered": "UPDATE rendered SET body = {0} WHERE id = {1} AND body = {2}",
    "make_secret": "INSERT INTO installation (name, value) VALUES ('secret', {0}) ON CONFLICT (name) DO NOTHING",
    # of somebody who is forgotten: not even what may be with a provider is waited for
    "withdraw": "DELETE FROM queue WHERE state <> 2 AND id IN (SELECT id FROM {rows:id bigint})",
    "still_queued": "SELECT id FROM queue WHERE id IN (SELECT id FROM {rows:id bigint})",
    # PostgreSQL's alone. Who reads holds a snapshot (`backend_xmin`), who has written an id (`backend_xid`); what other
    # logins do is seen without its time. Vacuum itself holds nothing back
    "horizon": """
        SELECT CASE backend_type WHEN 'walsender' THEN 'standby' ELSE 'transaction' END AS kind, pid::text AS name,
               coalesce(application_name, '') AS application, coalesce(usename, '') AS login,
               coalesce(state, '') AS state, coalesce(backend_xmin, backend_xid)::text AS xmin,
               extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
        FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
              AND (datname = current_database() OR datname IS NULL)
              AND coalesce(backend_type, '') <> 'autovacuum worker'
        UNION ALL
        SELECT 'prepared', gid, '', owner, '', transaction::text,
               extract(epoch FROM clock_timestamp() - prepared)::float8
        FROM pg_prepared_xacts WHERE database = current_database()
        UNION ALL
        SELECT 'slot', slot_name, '', '', CASE WHEN active THEN 'in use' ELSE 'nobody uses it' END, xmin::text, NULL
        FROM pg_replication_slots WHERE xmin IS NOT NULL""",
    "dead_rows": "SELECT n_dead_tup AS dead FROM pg_stat_user_tables WHERE relid = to_regclass('queue')",
}
