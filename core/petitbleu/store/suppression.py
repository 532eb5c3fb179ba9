"""Statements about addresses that are not written to, and about who changed what."""

from __future__ import annotations

SUPPRESSION = {
    # what stands against messages to these addresses, and whether soft errors are counted there
    "suppressed": """
        SELECT j.channel, j.address, s.brand, s.reason, s.text, s.created, s."by" AS who, f.id AS doubted
        FROM {rows:channel text, address text, forgotten text}
             LEFT JOIN suppressions s ON s.channel = j.channel AND s.address = j.address
                                         AND (s.expires IS NULL OR s.expires > {now})
             LEFT JOIN soft_errors f ON f.channel = j.channel AND f.address = j.address
        WHERE s.id IS NOT NULL OR f.id IS NOT NULL
        UNION ALL
        SELECT j.channel, j.address, s.brand, s.reason, s.text, s.created, s."by", NULL
        FROM {rows:channel text, address text, forgotten text}
             JOIN suppressions s ON s.channel = j.channel AND s.address = j.forgotten
                                    AND (s.expires IS NULL OR s.expires > {now})""",
    "doubted": """
        SELECT f.channel, f.address
        FROM {rows:channel text, address text} JOIN soft_errors f ON f.channel = j.channel AND f.address = j.address""",
    # the rows are there and locked until the end of the transaction; they come in one order for all
    "lock_soft": """
        INSERT INTO soft_errors (channel, address, errors, touched)
        SELECT channel, address, '[]', {now} FROM {rows:channel text, address text} WHERE true
        ON CONFLICT (channel, address) DO UPDATE SET touched = soft_errors.touched
        RETURNING channel, address, errors""",
    "keep_soft": """
        UPDATE soft_errors SET errors = j.errors, touched = j.touched
        FROM {rows:channel text, address text, errors text, touched bigint}
        WHERE soft_errors.channel = j.channel AND soft_errors.address = j.address""",
    "drop_soft": """
        DELETE FROM soft_errors
        WHERE (channel, address) IN (SELECT channel, address FROM {rows:channel text, address text})""",
    # by a person: as it is given
    "suppress": """
        INSERT INTO suppressions (channel, address, brand, reason, text, created, expires, "by")
        SELECT channel, address, brand, reason, text, coalesce(created, {now}), expires, who
        FROM {rows:channel text, address text, brand text, reason text, text text, created bigint, expires bigint,
              who text} WHERE true
        ON CONFLICT (channel, address, brand, reason)
        DO UPDATE SET text = excluded.text, created = excluded.created, expires = excluded.expires, "by" = excluded."by"
        RETURNING channel, address, brand, reason""",
    # by feedback: nothing that lasts longer is touched
    "suppress_longer": """
        INSERT INTO suppressions (channel, address, brand, reason, text, created, expires, "by")
        SELECT channel, address, brand, reason, text, coalesce(created, {now}), expires, who
        FROM {rows:channel text, address text, brand text, reason text, text text, created bigint, expires bigint,
              who text} WHERE true
        ON CONFLICT (channel, address, brand, reason)
        DO UPDATE SET text = excluded.text, created = excluded.created, expires = excluded.expires, "by" = excluded."by"
        WHERE suppressions.expires < excluded.expires
              OR (suppressions.expires IS NOT NULL AND excluded.expires IS NULL)
        RETURNING channel, address, brand, reason""",
    # these two lock what is there in the order of the rows given, as all others take it
    "forget_soft": """
        DELETE FROM soft_errors
        WHERE id {any}(SELECT f.id FROM {rows:n int, channel text, address text}
                       JOIN soft_errors f ON f.channel = j.channel AND f.address = j.address
                       ORDER BY j.n {lock}){end}""",
    "unsuppress": """
        DELETE FROM suppressions
        WHERE id {any}(SELECT s.id FROM {rows:n int, channel text, address text, brand text, reason text}
                       JOIN suppressions s ON s.channel = j.channel AND s.address = j.address
                       WHERE (j.brand IS NULL OR s.brand = j.brand) AND (j.reason IS NULL OR s.reason = j.reason)
                       ORDER BY j.n, s.brand, s.reason {lock}){end}
        RETURNING channel, address, brand, reason, text, created, expires, "by" AS who""",
    # of somebody who is forgotten, what keeps us from writing to them
    "keep_forgotten": """
        INSERT INTO suppressions (channel, address, brand, reason, text, created, expires, "by")
        SELECT channel, CAST({0} AS text), brand, reason, '', created, expires, 'petitbleu'
        FROM suppressions WHERE id = {1}
        ON CONFLICT (channel, address, brand, reason)
        DO UPDATE SET created = excluded.created, expires = excluded.expires""",
    "insert_audit": """
        INSERT INTO audit (at, "by", origin, address, action, object, detail)
        SELECT {now}, {0}, {1}, {2}, action, object, detail FROM {rows:action text, object text, detail text}""",
    "purge_suppressions": """
        DELETE FROM suppressions WHERE id {any}(SELECT id FROM suppressions WHERE expires <= {begun}
                                                ORDER BY expires LIMIT {0} {skip_locked}){end}""",
    "purge_soft_errors": """
        DELETE FROM soft_errors WHERE id {any}(SELECT id FROM soft_errors WHERE touched <= {begun} - {0}
                                               ORDER BY touched LIMIT {1} {skip_locked}){end}""",
    "purge_audit": """
        DELETE FROM audit WHERE id {any}(SELECT id FROM audit WHERE at <= {begun} - {0}
                                         ORDER BY at LIMIT {1} {skip_locked}){end}""",
    "count_suppressions": "SELECT count(*) AS found FROM suppressions WHERE expires <= {begun}",
    "count_soft_errors": "SELECT count(*) AS found FROM soft_errors WHERE touched <= {begun} - {0}",
    "count_audit": "SELECT count(*) AS found FROM audit WHERE at <= {begun} - {0}",
}
