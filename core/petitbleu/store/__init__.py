"""The database: tables, named queries, migrations. Nothing outside this folder writes SQL that changes a row.

`models` has the tables; `queries` and its neighbours the statements, by name, in both dialects; `database` runs them,
`schema` brings the tables up to date. What they are for is known by whoever runs them.
"""

from .database import Store, open_store
from .errors import CommitUnknown, StepUndone, StoreError
from .numbers import CELL_SHIFT, KEY_MASK, is_id, whole_id
from .schema import check_tables, is_empty, migrate, pending_migrations

__all__ = [
    "CELL_SHIFT",
    "KEY_MASK",
    "CommitUnknown",
    "StepUndone",
    "Store",
    "StoreError",
    "check_tables",
    "is_empty",
    "is_id",
    "migrate",
    "open_store",
    "pending_migrations",
    "whole_id",
]
