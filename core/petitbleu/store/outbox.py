"""Statements about what plugins are to be told of events: written with what they tell of, and told afterwards.

A notice that somebody has taken is due again when its lease ends: nobody needs to be found gone.
"""

from __future__ import annotations

OUTBOX = {
    # with what it tells of; `told` is a JSON list of subscriptions
    "insert_notices": """
        INSERT INTO outbox (subscription, event, kind, at, queued, due, news)
        SELECT n.value, j.id, j.kind, j.at, {now}, {now}, j.news
        FROM {rows:id bigint, told text, kind text, at bigint, news text} {each_told}
        WHERE j.told IS NOT NULL""",
    # is there something to tell, and may it be told?
    "look_at_subscription": """
        SELECT {now} AS now, s.failures, s.until, s.ended,
               EXISTS (SELECT 1 FROM outbox o WHERE o.subscription = j.name AND o.state = 0 AND o.due <= {begun}) AS due
        FROM {rows:name text} LEFT JOIN subscriptions s ON s.name = j.name""",
    "take_notices": """
        UPDATE outbox SET due = {now} + {0}, lease = {1}
        WHERE id {any}(SELECT id FROM outbox WHERE subscription = {2} AND state = 0 AND due <= {begun}
                       ORDER BY due LIMIT {3} {skip_locked}){end}
        RETURNING id, event, kind, at, queued, tries, news, {now} AS now""",
    # whoever changes the row tries a failing receiver once more
    "probe_subscription": """
        UPDATE subscriptions SET until = {now} + {0} WHERE name = {1} AND until <= {now} AND ended IS NULL
        RETURNING name""",
    "end_notices": """
        UPDATE outbox SET state = j.state, tries = outbox.tries + j.tried, lease = '', answer = j.answer,
               due = CASE WHEN j.state = 0 THEN {now} + j.wait ELSE outbox.due END,
               ended = CASE WHEN j.state = 0 THEN NULL ELSE {now} END
        FROM {rows:id bigint, lease text, state smallint, tried smallint, wait bigint, answer text}
        WHERE outbox.id = j.id AND outbox.lease = j.lease AND outbox.state = 0
        RETURNING outbox.id AS id""",
    "note_told": """
        INSERT INTO subscriptions (name, told) VALUES ({0}, {now})
        ON CONFLICT (name) DO UPDATE SET told = excluded.told, failures = 0, until = 0""",
    "note_failed": """
        INSERT INTO subscriptions (name, failures, until, failed, ended, answer)
        SELECT name, failures, {now} + pause, {now}, CASE WHEN over = 1 THEN {now} ELSE NULL END, answer
        FROM {rows:name text, failures int, pause bigint, over smallint, answer text} WHERE true
        ON CONFLICT (name) DO UPDATE SET failures = subscriptions.failures + excluded.failures,
                    until = CASE WHEN excluded.until > {now} THEN excluded.until ELSE subscriptions.until END,
                    failed = excluded.failed, ended = coalesce(subscriptions.ended, excluded.ended),
                    answer = excluded.answer""",
    # operators
    "enable_subscription": """
        UPDATE subscriptions SET failures = 0, until = 0, ended = NULL
        WHERE name = {0} AND (failures > 0 OR ended IS NOT NULL)
        RETURNING name""",
    "replay_notices": """
        UPDATE outbox SET state = 0, due = {now}, queued = {now}, tries = 0, ended = NULL
        WHERE state > 0 AND id IN (SELECT id FROM {rows:id bigint}) RETURNING id""",
    "hasten_notices": "UPDATE outbox SET due = {now} WHERE subscription = {0} AND state = 0 AND lease = ''",
    "subscription_states": """
        SELECT name, failures, until, told, failed, ended, answer, {now} AS now FROM subscriptions ORDER BY name""",
    # counted up to a limit: a long outage must not make looking expensive
    "measure_subscription": """
        SELECT count(*) AS waiting, min(queued) AS oldest, {now} AS now
        FROM (SELECT queued FROM outbox WHERE subscription = {0} AND state = 0 LIMIT {1}) c""",
    "outbox_names": "SELECT DISTINCT subscription AS name FROM outbox",
    "given_up": "SELECT subscription AS name, count(*) AS notices FROM outbox WHERE state = 2 GROUP BY subscription",
    "purge_outbox": """
        DELETE FROM outbox WHERE id {any}(SELECT id FROM outbox WHERE queued <= {begun} - {0}
                                          ORDER BY queued LIMIT {1} {skip_locked}){end}""",
    "count_outbox": "SELECT count(*) AS found FROM outbox WHERE queued <= {begun} - {0}",
}
