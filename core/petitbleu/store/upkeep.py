"""Statements of keeping house: what is deleted when its time is over, and who is at it."""

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
    "purge_sessions": """
        DELETE FROM sessions WHERE token_hash {any}(SELECT token_hash FROM sessions WHERE expires <= {begun} - {0}
                                                    ORDER BY expires LIMIT {1} {skip_locked}){end}""",
    "count_sessions": "SELECT count(*) AS found FROM sessions WHERE expires <= {begun} - {0}",
    "count_keys": "SELECT count(*) AS found FROM idempotency WHERE until <= {begun}",
}
