"""Statements about what comes after the hand-over: receipts, the parts they are for, events that go another way."""

from __future__ import annotations

FEEDBACK = {
    # with the outcome of an attempt
    "insert_awaited": """
        INSERT INTO awaited (event, number, part, channel, provider, name)
        SELECT j.id, j.number, {part}, j.channel, j.provider, n.value
        FROM {rows:id bigint, number int, channel text, provider text, names text} {each_name}
        WHERE j.names IS NOT NULL""",
    "insert_watches": """
        INSERT INTO watches (event, number, due, failure) SELECT id, attempts, watch, 'no_receipt'
        FROM {rows:id bigint, attempts int, watch bigint} WHERE watch IS NOT NULL
        ON CONFLICT (event) DO UPDATE SET number = excluded.number, due = excluded.due, failure = excluded.failure""",
    "insert_recyclings": """
        INSERT INTO recyclings (event, at, number, origin, target, reason)
        SELECT id, at, attempts, channel, moved, reason
        FROM {rows:id bigint, at bigint, attempts int, channel text, moved text, reason text}
        WHERE moved IS NOT NULL""",
    "insert_rendered": """
        INSERT INTO rendered (event, number, until, body) SELECT id, number, until, rendered
        FROM {rows:id bigint, number int, until bigint, rendered bytea} WHERE rendered IS NOT NULL""",
    # as they come
    "insert_receipts": """
        INSERT INTO receipts (channel, provider, names, event, number, state, text, code, scope, permanent, at,
                              received, look)
        SELECT channel, provider, names, event, number, state, text, code, scope, permanent, at, {now}, {now}
        FROM {rows:channel text, provider text, names text, event bigint, number int, state text, text text, code text,
              scope text, permanent smallint, at bigint}""",
    # what another process has is left to it
    "take_receipts": """
        SELECT id, channel, provider, names, event, number, state, text, code, scope, permanent, at, received,
               {now} AS now
        FROM receipts WHERE look <= {begun} ORDER BY look, id LIMIT {0} {skip_locked}""",
    "find_awaited": """
        SELECT a.id, a.event, a.number, a.part, a.channel, a.provider, a.name, a.state
        FROM {rows:channel text, name text} JOIN awaited a ON a.name = j.name AND a.channel = j.channel
        ORDER BY a.id""",
    "find_attempts": """
        SELECT a.event, a.number, a.channel, a.provider, a.feedback
        FROM {rows:event bigint, number int} JOIN attempts a ON a.event = j.event AND a.number = j.number
        ORDER BY a.id""",
    "find_parts": """
        SELECT a.id, a.event, a.number, a.part, a.state
        FROM {rows:event bigint, number int} JOIN awaited a ON a.event = j.event AND a.number = j.number
        ORDER BY a.id""",
    "concerned": """
        SELECT e.id, e.type, e.brand, e.status, e.channel, e.reason, e.feedback, e.external_id, e.origin, q.state,
               q.handed_off, q.awaits, p.body, (SELECT max(number) FROM attempts WHERE attempts.event = e.id) AS last
        FROM {rows:id bigint} JOIN events e ON e.id = j.id
             LEFT JOIN queue q ON q.id = e.id LEFT JOIN payloads p ON p.id = e.id""",
    "record_parts": "UPDATE awaited SET state = j.state FROM {rows:id bigint, state text} WHERE awaited.id = j.id",
    "record_attempts": """
        UPDATE attempts SET feedback = j.state FROM {rows:event bigint, number int, state text}
        WHERE attempts.event = j.event AND attempts.number = j.number""",
    "record_feedback": """
        UPDATE events SET feedback = j.state, feedback_at = {now}, status = coalesce(j.status, events.status),
               reason = coalesce(j.reason, events.reason), channel = coalesce(j.channel, events.channel),
               cause = CASE j.status WHEN 'failed' THEN 'receipt' WHEN 'sent' THEN '' ELSE events.cause END,
               processed = CASE WHEN j.status IS NULL THEN events.processed ELSE {0} END,
               process_requested = CASE WHEN j.status IS NULL THEN events.process_requested ELSE NULL END
        FROM {rows:id bigint, state text, status text, reason text, channel text} WHERE events.id = j.id""",
    # what waits for this receipt, or for another way that is not needed any more; what a worker has stays
    "drop_waiting": """
        DELETE FROM queue WHERE id IN
               (SELECT q.id FROM queue q WHERE q.state <> 2 AND (q.awaits > 0 OR q.handed_off = '')
                AND q.id IN (SELECT id FROM {rows:id bigint}) ORDER BY q.id {skip_locked})
        RETURNING id""",
    "match_receipts": """
        UPDATE receipts SET event = j.event, number = j.number, look = j.look
        FROM {rows:id bigint, event bigint, number int, look bigint} WHERE receipts.id = j.id""",
    "end_watches": "DELETE FROM watches WHERE event IN (SELECT id FROM {rows:id bigint})",
    "begin_watches": """
        INSERT INTO watches (event, number, due, failure) SELECT id, number, {now}, failure
        FROM {rows:id bigint, number int, failure text} WHERE true
        ON CONFLICT (event) DO UPDATE SET number = excluded.number, due = excluded.due, failure = excluded.failure""",
    # decisions
    "take_watches": """
        UPDATE watches SET due = {now} + {0}
        WHERE event {any}(SELECT event FROM watches WHERE due <= {begun} ORDER BY due LIMIT {1} {skip_locked}){end}
        RETURNING event AS id, number, failure""",
    "tried_with": """
        SELECT a.event, a.channel, a.provider FROM {rows:id bigint} JOIN attempts a ON a.event = j.id ORDER BY a.id""",
    "found_recyclings": "SELECT r.* FROM {rows:id bigint} JOIN recyclings r ON r.event = j.id ORDER BY r.id",
    "found_receipts": "SELECT r.* FROM {rows:id bigint} JOIN receipts r ON r.event = j.id ORDER BY r.id",
    # over
    "purge_awaited": "DELETE FROM awaited WHERE event {any}(SELECT id FROM {rows:id bigint}){end}",
    "purge_receipts": "DELETE FROM receipts WHERE event {any}(SELECT id FROM {rows:id bigint}){end}",
    "purge_recyclings": "DELETE FROM recyclings WHERE event {any}(SELECT id FROM {rows:id bigint}){end}",
    "purge_watches": "DELETE FROM watches WHERE event {any}(SELECT id FROM {rows:id bigint}){end}",
    "count_unmatched": """
        SELECT count(*) AS found FROM receipts WHERE event IS NULL AND received <= {begun} - {0}""",
    "purge_unmatched": """
        DELETE FROM receipts WHERE id {any}(SELECT id FROM receipts WHERE event IS NULL AND received <= {begun} - {0}
                                            ORDER BY received LIMIT {1} {skip_locked}){end}""",
}
