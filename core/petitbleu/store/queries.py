"""Every query that is not a plain read of one model, by name.

Each is written once for both databases. Parameters stand in the order they are given. Many rows travel as one JSON
parameter: `{rows:…}` stands for a table expression made of it. `{now}` is the database's clock in microseconds,
`{skip_locked}` takes only rows nobody holds; `{any}(SELECT …){end}` is `IN (SELECT …)` that PostgreSQL evaluates once,
whatever its plan, so that it locks no more rows than the limit says. Statements that follow a claim are
compare-and-set: they carry the lease and touch nothing that another worker has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Dialect = Literal["sqlite", "postgres"]

QUERIES = {
    "take_ids": "UPDATE counters SET value = value + {0} WHERE name = {1} RETURNING value",
    "insert_queue": """
        INSERT INTO queue (id, state, lane, priority, due, expires, type, channel)
        SELECT id, CASE WHEN due <= created THEN 1 ELSE 0 END, lane, priority, due, expires, type, channel
        FROM {rows:id bigint, lane int, priority int, due bigint, expires bigint, type text, channel text,
              created bigint}""",
    "insert_events": """
        INSERT INTO events (id, type, lane, channel, status, created, process_requested, external_id, origin, email,
                            mobile_phone)
        SELECT id, type, lane, channel, 'pending', created, due, external_id, origin, email, mobile_phone
        FROM {rows:id bigint, type text, lane int, channel text, created bigint, due bigint, external_id text,
              origin text, email text, mobile_phone text}""",
    "insert_payloads": "INSERT INTO payloads (id, body) SELECT id, body FROM {rows:id bigint, body text}",
    # locks every key, new or not, until the end of the transaction: of concurrent twins the second one waits here.
    # In one order for all, so that no two transactions wait for each other
    "lock_keys": """
        INSERT INTO idempotency (key, event, digest, until)
        SELECT key, 0, '', 0 FROM {rows:key text} WHERE true ORDER BY key
        ON CONFLICT (key) DO UPDATE SET until = idempotency.until
        RETURNING key, event, digest, CASE WHEN until > {now} THEN 1 ELSE 0 END AS holds""",
    "take_keys": """
        UPDATE idempotency SET event = j.event, digest = j.digest, until = j.until
        FROM {rows:key text, event bigint, digest text, until bigint} WHERE idempotency.key = j.key""",
    "purge_keys": """
        DELETE FROM idempotency WHERE key IN
               (SELECT key FROM idempotency WHERE until <= {now} ORDER BY until LIMIT {0} {skip_locked})""",
    "promote": "UPDATE queue SET state = 1 WHERE state = 0 AND due <= {now}",
    "next_due": "SELECT min(due) AS due FROM queue WHERE state = 0",
    "claim": """
        UPDATE queue SET state = 2, lease = {0}, leased_until = {now} + {1}
        WHERE id {any}(SELECT id FROM queue WHERE state = 1 AND lane = {2} ORDER BY priority, id
                       LIMIT {3} {skip_locked}){end}
        RETURNING id, type, channel, priority, expires, tries, attempts, crashes, unknowns, handed_off,
                  {now} AS claimed, (SELECT body FROM payloads WHERE payloads.id = queue.id) AS body""",
    "renew": """
        UPDATE queue SET leased_until = {now} + {0}
        WHERE id IN (SELECT id FROM queue WHERE state = 2 AND lease IN (SELECT lease FROM {rows:lease text})
                     {skip_locked})""",
    "overdue": "SELECT id, lease FROM queue WHERE state = 2 AND leased_until < {now} ORDER BY id LIMIT {0}",
    "rescue": """
        UPDATE queue SET state = 1, lease = NULL, leased_until = NULL, crashes = crashes + 1
        WHERE id {any}(SELECT id FROM queue WHERE state = 2 AND leased_until < {now} ORDER BY id
                       LIMIT {0} {skip_locked}){end}
        RETURNING id""",
    "release": """
        UPDATE queue SET state = 1, lease = NULL, leased_until = NULL, handed_off = ''
        FROM {rows:id bigint, lease text} WHERE queue.id = j.id AND queue.lease = j.lease AND queue.state = 2
        RETURNING queue.id AS id""",
    "hand_off": """
        UPDATE queue SET handed_off = j.provider
        FROM {rows:id bigint, lease text, provider text}
        WHERE queue.id = j.id AND queue.lease = j.lease AND queue.state = 2 AND queue.leased_until > {now}
              AND (queue.expires IS NULL OR queue.expires > {now})
        RETURNING queue.id AS id""",
    "requeue": """
        UPDATE queue SET state = CASE WHEN j.due <= {now} THEN 1 ELSE 0 END, due = j.due, lease = NULL,
               leased_until = NULL, handed_off = '', tries = j.tries, attempts = j.attempts, unknowns = j.unknowns
        FROM {rows:id bigint, lease text, due bigint, tries int, attempts int, unknowns int}
        WHERE queue.id = j.id AND queue.lease = j.lease AND queue.state = 2
        RETURNING queue.id AS id""",
    "finish": """
        DELETE FROM queue WHERE state = 2 AND (id, lease) IN (SELECT id, lease FROM {rows:id bigint, lease text})
        RETURNING id""",
    "record_steps": """
        UPDATE events SET status = j.status, channel = j.channel, errors = j.errors,
               processing = coalesce(events.processing, j.processing), processed = j.processed,
               process_requested = j.process_requested, template = j.template, reason = j.reason
        FROM {rows:id bigint, status text, channel text, errors int, processing bigint, processed bigint,
              process_requested bigint, template text, reason text}
        WHERE events.id = j.id""",
    # what operators do never waits for a row that somebody else holds
    "look": """
        SELECT e.id, e.type, e.status, q.state, q.due, q.expires, q.handed_off, p.body
        FROM {rows:id bigint} JOIN events e ON e.id = j.id
             LEFT JOIN queue q ON q.id = e.id LEFT JOIN payloads p ON p.id = e.id""",
    "cancel": """
        DELETE FROM queue WHERE id IN
               (SELECT id FROM queue WHERE state <> 2 AND handed_off = '' AND id IN (SELECT id FROM {rows:id bigint})
                ORDER BY id {skip_locked})
        RETURNING id""",
    "record_cancelled": """
        UPDATE events SET status = 'ignored', reason = {0}, processed = {now}, process_requested = NULL
        WHERE id IN (SELECT id FROM {rows:id bigint})""",
    "hasten": """
        UPDATE queue SET state = 1, due = {now},
               expires = CASE WHEN expires <= {now} THEN {now} + {0} ELSE expires END
        WHERE id IN (SELECT id FROM queue WHERE state = 0 AND id IN (SELECT id FROM {rows:id bigint})
                     ORDER BY id {skip_locked})
        RETURNING id""",
    "record_hastened": """
        UPDATE events SET process_requested = {now} WHERE id IN (SELECT id FROM {rows:id bigint})""",
    "reopen": """
        UPDATE events SET status = 'pending', reason = {0}, channel = j.channel, processed = NULL,
               process_requested = CASE WHEN j.due > {now} THEN j.due ELSE {now} END
        FROM {rows:id bigint, status text, channel text, due bigint}
        WHERE events.id = j.id AND events.status = j.status
        RETURNING events.id AS id""",
    "insert_reopened": """
        INSERT INTO queue (id, state, lane, priority, due, expires, type, channel, attempts)
        SELECT e.id, CASE WHEN j.due > {now} THEN 0 ELSE 1 END, e.lane, j.priority,
               CASE WHEN j.due > {now} THEN j.due ELSE {now} END,
               CASE WHEN j.expires <= {now} THEN {now} + {0} ELSE j.expires END, e.type, j.channel,
               (SELECT coalesce(max(number), 0) FROM attempts WHERE attempts.event = e.id)
        FROM {rows:id bigint, priority int, channel text, due bigint, expires bigint} JOIN events e ON e.id = j.id""",
    "insert_attempts": """
        INSERT INTO attempts (event, number, channel, provider, template, started, ended, outcome, scope, code, text,
                              reference)
        SELECT event, number, channel, provider, template, started, ended, outcome, scope, code, text, reference
        FROM {rows:event bigint, number int, channel text, provider text, template text, started bigint, ended bigint,
              outcome text, scope text, code text, text text, reference text}""",
    "depth": "SELECT count(*) AS depth FROM queue",
    # one pass over the narrow table: the partial indexes lack `due`, and looking rows up one by one takes twice as long
    "backlog": """
        SELECT lane, state, count(*) AS events, min(due) AS due, {now} AS now FROM queue GROUP BY lane, state""",
    "now": "SELECT {now} AS now",
}

REPEATABLE = frozenset(
    ("take_ids", "promote", "next_due", "renew", "overdue", "rescue", "release", "hand_off", "depth", "now")
)
"""Those that may be run once more when nobody knows whether they took effect: it makes no difference, or costs a gap in
the ids. A claim is none: its events would be leased to nobody."""

_FRAGMENTS: dict[Dialect, dict[str, str]] = {
    "sqlite": {
        "now": "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000 + {shift})",
        "skip_locked": "",
        "any": "IN",
        "end": "",
    },
    "postgres": {
        "now": "((extract(epoch FROM clock_timestamp()) * 1000000)::bigint + {shift})",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        "any": "= ANY (ARRAY",
        "end": ")",
    },
}


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries of one dialect. `shift` moves the database's clock by so many microseconds, for tests."""

    dialect: Dialect
    shift: int = 0

    def __getitem__(self, name: str) -> str:
        return _render(name, self.dialect, self.shift)

    def now(self) -> str:
        return _FRAGMENTS[self.dialect]["now"].format(shift=self.shift)


_rendered: dict[tuple[str, Dialect, int], str] = {}


def _render(name: str, dialect: Dialect, shift: int) -> str:
    key = (name, dialect, shift)
    if key not in _rendered:
        _rendered[key] = _write(QUERIES[name], dialect, shift)
    return _rendered[key]


def _write(text: str, dialect: Dialect, shift: int) -> str:
    fragments = {name: value.format(shift=shift) for name, value in _FRAGMENTS[dialect].items()}

    next_parameter = len(set(re.findall(r"\{(\d)\}", text))) + 1

    def replace(match: re.Match[str]) -> str:
        word = match.group(1)
        if word.startswith("rows:"):
            return _rows(word.removeprefix("rows:"), dialect, next_parameter)
        if word.isdigit():
            return "?" if dialect == "sqlite" else "$" + str(int(word) + 1)
        return fragments[word]

    return " ".join(re.sub(r"\{([^{}]+)\}", replace, text).split())


def _rows(columns: str, dialect: Dialect, parameter: int) -> str:
    """A table expression `j` over the JSON array that is the statement's last parameter."""
    if dialect == "postgres":
        return f"json_to_recordset(${parameter}::json) AS j({' '.join(columns.split())})"
    names = [column.split()[0] for column in columns.split(",")]
    picked = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in names)
    return f"(SELECT {picked} FROM json_each(?)) AS j"  # noqa: S608 - only column names from above
