"""The database: tables, named queries, migrations. Nothing outside this folder writes SQL that changes a row."""

from .database import CELL_SHIFT, KEY_MASK, Store, open_store
from .errors import CommitUnknown, StepUndone, StoreError

__all__ = ["CELL_SHIFT", "KEY_MASK", "CommitUnknown", "StepUndone", "Store", "StoreError", "open_store"]
