"""Tables as an earlier version left them."""

from __future__ import annotations

from petitbleu.store import Store
from petitbleu.store.database import APP
from tortoise.migrations.executor import MigrationTarget


async def migrate_to(store: Store, name: str) -> None:
    """Bring an empty database to the migration `name` and no further."""
    await store._executor().migrate([MigrationTarget(APP, name)], direction="forward")
