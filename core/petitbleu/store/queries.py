"""Every query that is not a plain read of one model, by name.

Each is written once for both databases. Parameters stand in the order they are given. Many rows travel together:
`{rows:…}` names their columns and stands for a table `j` of them, which is made of one array for each column on
PostgreSQL and of a list of values on SQLite. `{now}` is the database's clock in microseconds, `{begun}` the same as the
statement began, which PostgreSQL can look up in an index. `{skip_locked}` takes only rows nobody holds, `{lock}` waits
for whoever does; `{any}(SELECT …){end}` is `IN (SELECT …)` that PostgreSQL evaluates once, whatever its plan, so that
it locks no more rows than the limit says; `{each_name}` makes a row `n` of each text in the JSON list `j.names`, and
`{part}` is its number; `{each_told}` does so with `j.told`. Statements that follow a claim are compare-and-set: they
carry the lease and touch nothing that another worker has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ..lifecycle import MOST_CRASHES
from .alerts import ALERTS
from .feedback import FEEDBACK
from .outbox import OUTBOX
from .statistics import STATISTICS
from .suppression import SUPPRESSION
from .upkeep import UPKEEP

Dialect = Literal["sqlite", "postgres"]

_CLAIMS = {
    "claim": """
        UPDATE queue SET state = 2, lease = {0}, leased_until = {now} + {1}
        WHERE id {any}(SELECT id FROM queue WHERE state = 1 AND lane = {2} AND channel = {3} AND type = {4}
                       ORDER BY priority, id LIMIT {5} {skip_locked}){end}""",
    # of several flows at once, for PostgreSQL
    "claim_flows": """
        UPDATE queue SET state = 2, lease = {0}, leased_until = {now} + {1}
        WHERE id {any}(SELECT one.id FROM {rows:channel text, type text, most int}
                       CROSS JOIN LATERAL (SELECT id FROM queue
                                           WHERE state = 1 AND lane = {2} AND channel = j.channel AND type = j.type
                                           ORDER BY priority, id LIMIT j.most {skip_locked}) one){end}""",
    # of flows from which nothing else is claimed
    "claim_expired": """
        UPDATE queue SET state = 2, lease = {0}, leased_until = {now} + {1}
        WHERE id {any}(SELECT id FROM queue WHERE state = 1 AND lane = {2} AND channel = {3} AND type = {4}
                       AND expires <= {now} ORDER BY priority, id LIMIT {5} {skip_locked}){end}""",
    # of what another crash would condemn
    "claim_suspects": """
        UPDATE queue SET state = 2, lease = {0}, leased_until = {now} + {1}
        WHERE id {any}(SELECT id FROM queue WHERE state = 0 AND due <= {begun} AND {suspect}
                       AND lane = {2} AND channel = {3} AND type = {4}
                       ORDER BY priority, id LIMIT {5} {skip_locked}){end}""",
}
_CLAIMED = """
        RETURNING id, type, channel, priority, expires, tries, attempts, crashes, unknowns, handed_off,
                  chain, avoid, awaits, names, {now} AS claimed,
                  (SELECT body FROM payloads WHERE payloads.id = queue.id) AS body"""

QUERIES = {
    "take_ids": "UPDATE counters SET value = value + {0} WHERE name = {1} RETURNING value",
    "insert_queue": """
        INSERT INTO queue (id, state, lane, priority, due, expires, type, channel, lease, leased_until)
        SELECT id, state, lane, priority, due, expires, type, channel, lease,
               CASE WHEN lease IS NULL THEN NULL ELSE {now} + {0} END
        FROM {rows:id bigint, state smallint, lane smallint, priority smallint, due bigint, expires bigint, type text,
              channel text, lease text}""",
    "insert_events": """
        INSERT INTO events (id, type, lane, channel, status, created, process_requested, external_id, origin, email,
                            mobile_phone, device, brand)
        SELECT id, type, lane, channel, 'pending', created, due, external_id, origin, email, mobile_phone,
               device, brand
        FROM {rows:id bigint, type text, lane smallint, channel text, created bigint, due bigint, external_id text,
              origin text, email text, mobile_phone text, device text, brand text}""",
    # those of `j` that are not there yet; whoever stores the same ones at the same moment is waited for
    "insert_missing": """
        INSERT INTO events (id, type, lane, channel, status, created, process_requested, external_id, origin, email,
                            mobile_phone, device, brand)
        SELECT id, type, lane, channel, 'pending', created, due, external_id, origin, email, mobile_phone,
               device, brand
        FROM {rows:id bigint, type text, lane smallint, channel text, created bigint, due bigint, external_id text,
              origin text, email text, mobile_phone text, device text, brand text} WHERE true
        ON CONFLICT (id) DO NOTHING
        RETURNING id""",
    "insert_payloads": "INSERT INTO payloads (id, body) SELECT id, body FROM {rows:id bigint, body text}",
    # locks every key, new or not, until the end of the transaction: of concurrent twins the second one waits here.
    # In one order for all, so that no two transactions wait for each other
    "lock_keys": """
        INSERT INTO idempotency (key, event, digest, until)
        SELECT key, 0, '', 0 FROM {rows:key text} WHERE true ORDER BY key
        ON CONFLICT (key) DO UPDATE SET until = idempotency.until
        RETURNING key, event, digest, events, CASE WHEN until > {now} THEN 1 ELSE 0 END AS holds""",
    "known_keys": "SELECT key FROM idempotency WHERE key IN (SELECT key FROM {rows:key text}) AND until > {now}",
    "take_keys": """
        UPDATE idempotency SET event = j.event, digest = j.digest, until = j.until, events = j.events
        FROM {rows:key text, event bigint, digest text, until bigint, events text} WHERE idempotency.key = j.key""",
    "purge_keys": """
        DELETE FROM idempotency WHERE key {any}
               (SELECT key FROM idempotency WHERE until <= {begun} ORDER BY until LIMIT {0} {skip_locked}){end}""",
    # suspects stay behind: no claim of many sees them. One whose time is over ends without being tried
    "promote": """
        UPDATE queue SET state = 1 WHERE state = 0 AND due <= {begun} AND (NOT {suspect} OR expires <= {begun})""",
    "next_due": "SELECT min(due) AS due FROM queue WHERE state = 0 AND NOT {suspect}",
    "suspects": """
        SELECT DISTINCT lane, channel, type FROM queue WHERE state = 0 AND due <= {begun} AND {suspect}
        ORDER BY lane, channel, type""",
    # which channels and types have something to claim: one step in the index for each
    "flows": """
        WITH RECURSIVE flow(channel, type) AS (
            SELECT (SELECT channel FROM queue WHERE state = 1 AND lane = {0} ORDER BY channel, type LIMIT 1),
                   (SELECT type FROM queue WHERE state = 1 AND lane = {1} ORDER BY channel, type LIMIT 1)
            UNION ALL
            SELECT (SELECT q.channel FROM queue q WHERE q.state = 1 AND q.lane = {2}
                           AND (q.channel, q.type) > (flow.channel, flow.type) ORDER BY q.channel, q.type LIMIT 1),
                   (SELECT q.type FROM queue q WHERE q.state = 1 AND q.lane = {3}
                           AND (q.channel, q.type) > (flow.channel, flow.type) ORDER BY q.channel, q.type LIMIT 1)
            FROM flow WHERE flow.channel IS NOT NULL)
        SELECT channel, type FROM flow WHERE channel IS NOT NULL""",
    "renew": """
        UPDATE queue SET leased_until = {now} + {0}
        WHERE id IN (SELECT id FROM queue WHERE state = 2 AND lease IN (SELECT lease FROM {rows:lease text})
                     {skip_locked})""",
    "overdue": "SELECT id, lease FROM queue WHERE state = 2 AND leased_until < {begun} ORDER BY id LIMIT {0}",
    "rescue": """
        UPDATE queue SET state = CASE WHEN {next_suspect} THEN 0 ELSE 1 END, lease = NULL, leased_until = NULL,
               crashes = crashes + 1
        WHERE id {any}(SELECT id FROM queue WHERE state = 2 AND leased_until < {begun} ORDER BY id
                       LIMIT {0} {skip_locked}){end}
        RETURNING id""",
    "release": """
        UPDATE queue SET state = CASE WHEN {suspect} THEN 0 ELSE 1 END, lease = NULL, leased_until = NULL,
               handed_off = j.handed_off
        FROM {rows:id bigint, lease text, handed_off text}
        WHERE queue.id = j.id AND queue.lease = j.lease AND queue.state = 2
        RETURNING queue.id AS id""",
    "set_aside": """
        UPDATE queue SET state = 3, lease = NULL, leased_until = NULL
        FROM {rows:id bigint, lease text}
        WHERE queue.id = j.id AND queue.lease = j.lease AND queue.state = 2
        RETURNING queue.id AS id""",
    "hand_off": """
        UPDATE queue SET handed_off = j.provider, names = j.names
        FROM {rows:id bigint, lease text, provider text, names text}
        WHERE queue.id = j.id AND queue.lease = j.lease AND queue.state = 2 AND queue.leased_until > {now}
              AND (queue.expires IS NULL OR queue.expires > {now})
        RETURNING queue.id AS id""",
    "requeue": """
        UPDATE queue SET state = CASE WHEN j.due > {now} OR {suspect} THEN 0 ELSE 1 END, due = j.due, lease = NULL,
               leased_until = NULL, handed_off = j.handed_off, names = '', tries = j.tries, attempts = j.attempts,
               unknowns = j.unknowns, channel = coalesce(j.moved, queue.channel), chain = j.chain, avoid = j.avoid,
               awaits = j.awaits
        FROM {rows:id bigint, lease text, due bigint, tries int, attempts int, unknowns smallint, handed_off text,
              moved text, chain text, avoid text, awaits smallint}
        WHERE queue.id = j.id AND queue.lease = j.lease AND queue.state = 2 AND j.due IS NOT NULL
        RETURNING queue.id AS id""",
    "finish": """
        DELETE FROM queue WHERE state = 2
               AND (id, lease) IN (SELECT id, lease FROM {rows:id bigint, lease text, due bigint} WHERE due IS NULL)
        RETURNING id""",
    "record_steps": """
        UPDATE events SET status = j.status, channel = coalesce(j.moved, j.channel), errors = j.errors,
               processing = coalesce(events.processing, j.processing), processed = j.processed,
               process_requested = j.process_requested, template = j.template, reason = j.reason, brand = j.brand,
               cause = j.cause
        FROM {rows:id bigint, status text, channel text, errors int, processing bigint, processed bigint,
              process_requested bigint, template text, reason text, moved text, brand text, cause text}
        WHERE events.id = j.id""",
    # of steps whose commit was in doubt, those that were stored
    "settled": """
        SELECT e.id FROM {rows:id bigint, status text, due bigint, processed bigint} JOIN events e ON e.id = j.id
        WHERE e.status = j.status AND (e.processed = j.processed OR e.process_requested = j.due)""",
    # what operators do never waits for a row that somebody else holds
    "look": """
        SELECT e.id, e.type, e.status, e.channel, q.state, q.due, q.expires, q.handed_off, p.body
        FROM {rows:id bigint} JOIN events e ON e.id = j.id
             LEFT JOIN queue q ON q.id = e.id LEFT JOIN payloads p ON p.id = e.id""",
    "cancel": """
        DELETE FROM queue WHERE id IN
               (SELECT id FROM queue WHERE state <> 2 AND handed_off = '' AND id IN (SELECT id FROM {rows:id bigint})
                ORDER BY id {skip_locked})
        RETURNING id""",
    "record_cancelled": """
        UPDATE events SET status = 'ignored', reason = {0}, cause = 'cancelled', processed = {now},
               process_requested = NULL
        WHERE id IN (SELECT id FROM {rows:id bigint})
        RETURNING type, channel, brand, origin, processed""",
    "hasten": """
        UPDATE queue SET state = CASE WHEN {suspect} THEN 0 ELSE 1 END, due = {now},
               expires = CASE WHEN expires <= {now} THEN {now} + {0} ELSE expires END
        WHERE id IN (SELECT id FROM queue
                     WHERE state = 0 AND handed_off = '' AND id IN (SELECT id FROM {rows:id bigint})
                     ORDER BY id {skip_locked})
        RETURNING id""",
    "record_hastened": """
        UPDATE events SET process_requested = {now} WHERE id IN (SELECT id FROM {rows:id bigint})""",
    "lock_events": "SELECT id, channel FROM events WHERE id IN (SELECT id FROM {rows:id bigint}) ORDER BY id {lock}",
    "reopen": """
        UPDATE events SET status = 'pending', reason = {0}, channel = j.channel, processed = NULL, feedback = '',
               feedback_at = NULL, cause = '',
               process_requested = CASE WHEN j.due > {now} THEN j.due ELSE {now} END
        FROM {rows:id bigint, status text, channel text, due bigint}
        WHERE events.id = j.id AND events.status = j.status
              AND EXISTS (SELECT 1 FROM payloads WHERE payloads.id = events.id)
        RETURNING events.id AS id, events.type AS type, events.brand AS brand, events.origin AS origin""",
    "insert_reopened": """
        INSERT INTO queue (id, state, lane, priority, due, expires, type, channel, chain, avoid, attempts)
        SELECT e.id, CASE WHEN j.due > {now} THEN 0 ELSE 1 END, e.lane, j.priority,
               CASE WHEN j.due > {now} THEN j.due ELSE {now} END,
               CASE WHEN j.expires <= {now} THEN {now} + {0} ELSE j.expires END, e.type, j.channel,
               j.chain, j.avoid, (SELECT coalesce(max(number), 0) FROM attempts WHERE attempts.event = e.id)
        FROM {rows:id bigint, priority int, channel text, chain text, avoid text, due bigint, expires bigint}
             JOIN events e ON e.id = j.id""",
    # of what waits and is with nobody; what somebody else holds is left alone
    "lock_waiting": """
        SELECT id FROM queue WHERE state < 2 AND handed_off = '' AND id IN (SELECT id FROM {rows:id bigint})
        ORDER BY id {skip_locked}""",
    "move_waiting": """
        UPDATE queue SET channel = j.channel, chain = j.chain, avoid = '', tries = 0,
               state = CASE WHEN j.due > {now} OR {suspect} THEN 0 ELSE 1 END,
               due = CASE WHEN j.due > {now} THEN j.due ELSE {now} END,
               expires = CASE WHEN queue.expires <= {now} THEN {now} + {0} ELSE queue.expires END
        FROM {rows:id bigint, channel text, chain text, due bigint} WHERE queue.id = j.id""",
    "record_moved": """
        UPDATE events SET channel = j.channel, reason = {0}, cause = '',
               process_requested = CASE WHEN j.due > {now} THEN j.due ELSE {now} END
        FROM {rows:id bigint, channel text, due bigint} WHERE events.id = j.id""",
    "insert_attempts": """
        INSERT INTO attempts (event, number, channel, provider, template, started, ended, outcome, scope, code, text,
                              reference)
        SELECT id, number, channel, provider, template, started, ended, outcome, scope, code, text, reference
        FROM {rows:id bigint, number int, channel text, provider text, template text, started bigint, ended bigint,
              outcome text, scope text, code text, text text, reference text} WHERE number IS NOT NULL""",
    "depth": "SELECT count(*) AS depth FROM queue",
    # what is due is ready, whoever may claim it. One pass over the narrow table: the partial indexes lack `due`, and
    # looking rows up one by one takes twice as long
    "backlog": """
        SELECT lane, CASE WHEN state = 0 AND due <= (SELECT {begun}) THEN 1 ELSE state END AS state,
               count(*) AS events, min(due) AS due, {now} AS now
        FROM queue GROUP BY 1, 2""",
    "open_events": """
        SELECT lane, channel, type, CASE WHEN state = 0 AND due <= (SELECT {begun}) THEN 1 ELSE state END AS state,
               count(*) AS events, min(due) AS due, {now} AS now
        FROM queue GROUP BY 1, 2, 3, 4""",
    # the flow to providers
    "pauses": "SELECT key, until, number, since, reason, probing FROM pauses",
    "pause": """
        INSERT INTO pauses (key, until, number, since, reason, prober, probing) VALUES ({0}, {1}, {2}, {3}, {4}, '', 0)
        ON CONFLICT (key) DO UPDATE SET until = excluded.until, number = excluded.number, reason = excluded.reason,
                    prober = '', probing = 0
        WHERE pauses.until <= {now} AND (pauses.probing <= {now} OR pauses.prober = {5})""",
    "resume": "DELETE FROM pauses WHERE key = {0}",
    "probe": """
        UPDATE pauses SET prober = {0}, probing = {now} + {1} WHERE key = {2} AND until <= {now} AND probing <= {now}
        RETURNING key""",
    "still_probing": "UPDATE pauses SET probing = {now} + {0} WHERE prober = {1}",
    "leave_probe": "UPDATE pauses SET prober = '', probing = 0 WHERE key = {0} AND prober = {1}",
    # the row is there and locked until the end of the transaction
    "lock_quota": """
        INSERT INTO quotas (key, due) VALUES ({0}, 0) ON CONFLICT (key) DO UPDATE SET due = quotas.due
        RETURNING due, {now} AS now""",
    "move_quota": "UPDATE quotas SET due = {0} WHERE key = {1}",
    # several at once, in one order for all, so that no two transactions wait for each other
    "lock_quotas": """
        INSERT INTO quotas (key, due) SELECT key, 0 FROM {rows:key text} WHERE true ORDER BY key
        ON CONFLICT (key) DO UPDATE SET due = quotas.due
        RETURNING key""",
    "quota_holders": """
        SELECT key, held, wanted FROM quota_holders
        WHERE holder <> {0} AND until > {now} AND key IN (SELECT key FROM {rows:key text})""",
    "hold_quotas": """
        INSERT INTO quota_holders (key, holder, held, wanted, until)
        SELECT key, {0}, held, wanted, {now} + {1} FROM {rows:key text, held int, wanted int} WHERE true
        ON CONFLICT (key, holder)
        DO UPDATE SET held = excluded.held, wanted = excluded.wanted, until = excluded.until""",
    "leave_quotas": "DELETE FROM quota_holders WHERE holder = {0}",
    "purge_pauses": "DELETE FROM pauses WHERE until < {now} - 3600000000 AND probing <= {now}",
    "purge_holders": "DELETE FROM quota_holders WHERE until < {now} - 3600000000",
    "purge_quotas": """
        DELETE FROM quotas WHERE due < {now} - 3600000000 AND key NOT IN (SELECT key FROM quota_holders)""",
    "now": "SELECT {now} AS now",
    **{name: text + _CLAIMED for name, text in _CLAIMS.items()},
    **UPKEEP,
    **FEEDBACK,
    **SUPPRESSION,
    **OUTBOX,
    **STATISTICS,
    **ALERTS,
}

REPEATABLE = frozenset(
    (
        "take_ids",
        "known_keys",
        "make_secret",
        "suppressed",
        "promote",
        "next_due",
        "suspects",
        "flows",
        "renew",
        "overdue",
        "rescue",
        "release",
        "hand_off",
        "depth",
        "now",
    )
)
"""Those that may be run once more when nobody knows whether they took effect: it makes no difference, or costs a gap in
the ids. A claim is none: its events would be leased to nobody."""

_SUSPECT, _NEXT_SUSPECT = (f"(crashes = {MOST_CRASHES - left})" for left in (1, 2))
_FRAGMENTS: dict[Dialect, dict[str, str]] = {
    "sqlite": {
        "now": "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000 + {shift})",
        "begun": "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000 + {shift})",
        "skip_locked": "",
        "lock": "",
        "any": "IN",
        "end": "",
        "each_name": "JOIN json_each(j.names) n ON true",
        "each_told": "JOIN json_each(j.told) n ON true",
        "part": "n.key + 1",
        "suspect": _SUSPECT,
        "next_suspect": _NEXT_SUSPECT,
    },
    "postgres": {
        "now": "((extract(epoch FROM clock_timestamp()) * 1000000)::bigint + {shift})",
        "begun": "((extract(epoch FROM statement_timestamp()) * 1000000)::bigint + {shift})",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        "lock": "FOR UPDATE",
        "any": "= ANY (ARRAY",
        "end": ")",
        "each_name": "CROSS JOIN LATERAL json_array_elements_text(j.names::json) WITH ORDINALITY AS n(value, key)",
        "each_told": "CROSS JOIN LATERAL json_array_elements_text(j.told::json) AS n(value)",
        "part": "n.key",
        "suspect": _SUSPECT,
        "next_suspect": _NEXT_SUSPECT,
    },
}


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries of one dialect. `shift` moves the database's clock by so many microseconds, for tests."""

    dialect: Dialect
    shift: int = 0

    def __getitem__(self, name: str) -> str:
        """As it stands for one row, or for any number of them on PostgreSQL."""
        return _statement(name, self.dialect, self.shift, 1)

    def bind(self, name: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """The statement and its parameters; of `values`, a list of mappings is the rows."""
        rows = next((value for value in values if isinstance(value, list)), None)
        scalars = [value for value in values if not isinstance(value, list)]
        if rows is None:
            return _statement(name, self.dialect, self.shift, 0), scalars
        columns = _columns(name)
        if self.dialect == "postgres":
            return _statement(name, self.dialect, self.shift, 1), [*scalars, *transposed(rows, columns)]
        flat = [row[column] for row in rows for column in columns]
        return _statement(name, self.dialect, self.shift, len(rows)), [*flat, *scalars]

    def now(self) -> str:
        return _FRAGMENTS[self.dialect]["now"].format(shift=self.shift)


def transposed(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in columns]


def _declared(text: str) -> list[tuple[str, str]]:
    """Names and types of the columns of `{rows:…}`."""
    found = re.search(r"\{rows:([^{}]+)\}", text)
    return [] if found is None else [(name, kind) for name, kind in map(str.split, found[1].split(","))]


@lru_cache(maxsize=256)
def _columns(name: str) -> tuple[str, ...]:
    return tuple(column for column, _ in _declared(QUERIES[name]))


# statements on SQLite differ by their number of rows
@lru_cache(maxsize=4096)
def _statement(name: str, dialect: Dialect, shift: int, rows: int) -> str:
    text = QUERIES[name]
    fragments = {key: value.format(shift=shift) for key, value in _FRAGMENTS[dialect].items()}
    declared = _declared(text)
    scalars = len(set(re.findall(r"\{(\d)\}", text)))

    def replace(match: re.Match[str]) -> str:
        word = match.group(1)
        if word.startswith("rows:"):
            return "j" if dialect == "sqlite" else unnested(declared, scalars + 1)
        if word.isdigit():
            return "?" if dialect == "sqlite" else "$" + str(int(word) + 1)
        return fragments[word]

    written = " ".join(re.sub(r"\{([^{}]+)\}", replace, text).split())
    if dialect == "postgres" or not declared:
        return written
    one = f"({', '.join('?' * len(declared))})"
    return f"WITH j({', '.join(name for name, _ in declared)}) AS (VALUES {', '.join([one] * rows)}) {written}"


def together(parts: Sequence[tuple[str, str, str]], result: str, shift: int) -> tuple[str, tuple[str, ...]]:
    """Several queries over the same rows as one statement, for PostgreSQL; also gives the columns of the rows.

    Each part has a name, a query (or a plain `SELECT`) and the table expression it takes for its `j`; it sees the
    results of earlier parts by their names, but not what they changed. Scalar parameters are shared by their numbers.
    """
    texts = {name: QUERIES.get(query, query) for name, query, _ in parts}
    declared = dict(one for text in texts.values() for one in _declared(text))
    scalars = len({found for text in texts.values() for found in re.findall(r"\{(\d)\}", text)})
    fragments = {key: value.format(shift=shift) for key, value in _FRAGMENTS["postgres"].items()}

    def write(text: str, source: str) -> str:
        def replace(match: re.Match[str]) -> str:
            word = match.group(1)
            if word.startswith("rows:"):
                return source
            return "$" + str(int(word) + 1) if word.isdigit() else fragments[word]

        return " ".join(re.sub(r"\{([^{}]+)\}", replace, text).split())

    whole = [f"j AS (SELECT * FROM {unnested(list(declared.items()), scalars + 1)})"]  # noqa: S608 - our own words
    whole += [f"{name} AS ({write(texts[name], source)})" for name, _, source in parts]
    return f"WITH {', '.join(whole)} {result}", tuple(declared)


def unnested(declared: Sequence[tuple[str, str]], first: int) -> str:
    """A table expression `j` over one array for each column, the parameters from `$first` on."""
    arrays = ", ".join(f"${number}::{kind}[]" for number, (_, kind) in enumerate(declared, first))
    return f"unnest({arrays}) AS j({', '.join(name for name, _ in declared)})"
