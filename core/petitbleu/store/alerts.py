"""Statements about alerts: what is measured for them, and how they stand, one row each."""

from __future__ import annotations

ALERTS = {
    # what has come due and is not sent, whether or not a worker is there to notice
    "measure_queue": """
        SELECT count(*) AS events, min(due) AS due, {now} AS now FROM queue
        WHERE lane = 0 AND (state IN (1, 2) OR (state = 0 AND due <= {begun}))""",
    "measure_ended": """
        SELECT fact, sum(events) AS events, sum(timed) AS timed, sum(queuing) AS queuing, sum(sending) AS sending,
               sum(processing) AS processing
        FROM statistics
        WHERE span IN (0, 60) AND start >= {0} AND fact IN ('sent', 'failed', 'expired', 'not_covered')
              AND type <> {1}
        GROUP BY fact""",
    "make_alerts": "INSERT INTO alerts (name) SELECT name FROM {rows:name text} WHERE true ON CONFLICT DO NOTHING",
    "alerts": """
        SELECT name, level, was, since, value, measured, warning, warning_turned, alert, alert_turned, told
        FROM alerts""",
    # of two processes that judge at the same time, one writes
    "note_alerts": """
        UPDATE alerts SET level = j.level, was = j.was, since = j.since, value = j.value, measured = j.measured,
               warning = j.warning, warning_turned = j.warning_turned, alert = j.alert, alert_turned = j.alert_turned
        FROM {rows:name text, seen bigint, level smallint, was smallint, since bigint, value float8, measured bigint,
              warning smallint, warning_turned bigint, alert smallint, alert_turned bigint}
        WHERE alerts.name = j.name AND alerts.measured = j.seen
        RETURNING alerts.name AS name""",
    # whoever changes the row sends; it is taken again when that time is over
    "take_alert": """
        UPDATE alerts SET telling = {now} + {0} WHERE name = {1} AND level <> told AND telling <= {now}
        RETURNING level, told, telling""",
    "alert_told": "UPDATE alerts SET told = {0}, telling = 0 WHERE name = {1} AND telling = {2}",
    "note_watchdog": """
        INSERT INTO installation (name, value) VALUES ('watchdog', {0})
        ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
}
