"""Indexes for operators who look for events.

PostgreSQL reads the whole table in parallel where a filter leaves it no index, and an index on a column that changes
would cost every step of every event. SQLite has one index in the order of listings that has all that filters compare:
it takes the place of the one on `created` alone.
"""

from ._dialect import SqliteSQL
from ._index import Index
from ._uncopied import Uncopied

_CREATED = "idx_events_created_d969d8"


class Migration(Uncopied):
    dependencies = [("petitbleu", "0015_rendered")]

    operations = [
        Index("events_phone", "events (mobile_phone) WHERE mobile_phone <> ''"),
        SqliteSQL(
            [
                "CREATE INDEX events_search ON events (created, id, status, type, channel, feedback, brand, cause, "
                "origin, lane, processed, template)",
                f"DROP INDEX {_CREATED}",
            ],
            reverse_sql=[f"CREATE INDEX {_CREATED} ON events (created)", "DROP INDEX events_search"],
        ),
    ]
