"""Statements about counts: rows of `statistics` are added by whoever changes events, made fewer, read, and deleted."""

from __future__ import annotations

from collections.abc import Collection

BINS = 16
"""Columns `bin0` to `bin15`."""
KEY = ("fact", "type", "channel", "brand", "origin", "cause")
TIMES = ("queuing", "sending", "processing")
_MEASURED = (*TIMES, "depth")
SUMS = ("events", "timed", *_MEASURED, *(f"bin{number}" for number in range(BINS)))
LEAST = tuple(f"{name}_min" for name in _MEASURED)
MOST = tuple(f"{name}_max" for name in _MEASURED)
MEASURES = (*SUMS, *LEAST, *MOST)


def aggregated(names: Collection[str]) -> str:
    """Several rows as one, in SQL: these of their measures."""
    how = {**dict.fromkeys(SUMS, "sum"), **dict.fromkeys(LEAST, "min"), **dict.fromkeys(MOST, "max")}
    return ", ".join(f"{how[name]}({name}) AS {name}" for name in names)


_KEY = ", ".join(KEY)
_COLUMNS = f"span, start, {_KEY}, {', '.join(MEASURES)}"
_TIMED = ", ".join(f"sum({name}), min({name}), max({name})" for name in ("queuing", "sending", "took"))
_BINNED = ", ".join(f"sum(CASE WHEN bin = {number} THEN 1 END)" for number in range(BINS))
_MINUTE = "at - at % 60000000"

# our own words throughout
STATISTICS = {
    # with the events that are stored
    "count_accepted": """
        INSERT INTO statistics (span, start, fact, type, channel, brand, origin, events)
        SELECT 0, created - created % 60000000, 'accepted', type, channel, brand, counted, count(*)
        FROM {rows:type text, channel text, created bigint, brand text, counted text}
        GROUP BY created - created % 60000000, type, channel, brand, counted""",
    # with the steps that are stored
    "count_steps": f"""
        INSERT INTO statistics (span, start, {_KEY}, events, timed,
                                {", ".join(f"{name}, {name}_min, {name}_max" for name in TIMES)},
                                {", ".join(f"bin{number}" for number in range(BINS))})
        SELECT 0, {_MINUTE}, fact, type, channel, brand, counted, cause, count(*), count(took), {_TIMED}, {_BINNED}
        FROM {{rows:at bigint, fact text, type text, channel text, brand text, counted text, cause text,
              queuing bigint, sending bigint, took bigint, bin smallint}}
        WHERE fact IS NOT NULL GROUP BY {_MINUTE}, fact, type, channel, brand, counted, cause""",  # noqa: S608
    "add_statistics": """
        INSERT INTO statistics (span, start, fact, type, channel, brand, origin, cause, events)
        SELECT 0, start, fact, type, channel, brand, counted, cause, events
        FROM {rows:start bigint, fact text, type text, channel text, brand text, counted text, cause text,
              events bigint} WHERE true""",
    "depth_by_type": "SELECT type, channel, count(*) AS depth FROM queue GROUP BY type, channel",
    "add_soundings": """
        INSERT INTO statistics (span, start, fact, type, channel, brand, origin, events, depth, depth_min, depth_max)
        SELECT 0, start, 'queued', type, channel, brand, '', 1, depth, depth, depth
        FROM {rows:start bigint, type text, channel text, brand text, depth bigint} WHERE true""",
    "oldest_statistics": "SELECT min(start) AS start FROM statistics WHERE span = {0} AND start < {1}",
    # PostgreSQL's: what somebody adds meanwhile is not seen and stays, to be summed up another time
    "fold": f"""
        WITH gone AS (DELETE FROM statistics WHERE span = {{0}} AND start >= {{1}} AND start < {{2}} RETURNING *)
        INSERT INTO statistics ({_COLUMNS})
        SELECT CAST({{3}} AS int), CAST({{4}} AS bigint), {_KEY}, {aggregated(MEASURES)} FROM gone GROUP BY {_KEY}""",  # noqa: S608
    # SQLite's, where a transaction is alone
    "fold_into": f"""
        INSERT INTO statistics ({_COLUMNS})
        SELECT {{0}}, {{1}}, {_KEY}, {aggregated(MEASURES)} FROM statistics
        WHERE span = {{2}} AND start >= {{3}} AND start < {{4}} GROUP BY {_KEY}""",  # noqa: S608
    "fold_away": "DELETE FROM statistics WHERE span = {0} AND start >= {1} AND start < {2}",
    "purge_statistics": """
        DELETE FROM statistics WHERE id {any}(SELECT id FROM statistics
               WHERE span IN (0, 60, 3600, 86400) AND start <= {begun} - coalesce(
                     (SELECT keep FROM {rows:kind text, keep bigint} WHERE kind = statistics.type), CAST({0} AS bigint))
               LIMIT {1} {skip_locked}){end}""",
    "count_statistics": """
        SELECT count(*) AS found FROM statistics
        WHERE span IN (0, 60, 3600, 86400) AND start <= {begun} - coalesce(
              (SELECT keep FROM {rows:kind text, keep bigint} WHERE kind = statistics.type), CAST({0} AS bigint))""",
    "counted_origins": """
        SELECT DISTINCT origin FROM statistics WHERE span IN (0, 60) AND fact = 'accepted' LIMIT {0}""",
}

__all__ = ["BINS", "KEY", "LEAST", "MEASURES", "MOST", "STATISTICS", "SUMS", "TIMES", "aggregated"]
