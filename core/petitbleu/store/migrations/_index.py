"""Indexes of tables that are large by now."""

import asyncpg
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State

from ._dialect import postgres


class Index(ops.RunSQL):
    """Made by its migration on SQLite and in an empty database. In any other one on PostgreSQL it is built before its
    migration's transaction, while others write (`store/schema.py`), and found there.

    The table and its columns are those of earlier migrations.
    """

    def __init__(self, name: str, on: str) -> None:
        super().__init__([f"CREATE INDEX {name} ON {on}"], reverse_sql=[f"DROP INDEX {name}"])
        self.name = name
        self._on = on

    async def build(self, connection: asyncpg.Connection) -> None:
        """Outside of any transaction. Of a build that was interrupted PostgreSQL keeps an index that is of no use."""
        valid = await connection.fetchval(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", self.name
        )
        if valid is False:
            await connection.execute(f"DROP INDEX CONCURRENTLY {self.name}")
        if not valid:
            await connection.execute(f"CREATE INDEX CONCURRENTLY {self.name} ON {self._on}")

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        if state_editor is not None and postgres(state_editor):
            # IF NOT EXISTS would take the table's lock all the same
            (row,) = await state_editor.client.execute_query_dict("SELECT to_regclass($1) AS found", [self.name])
            if row["found"] is not None:
                return
        await super().database_forward(app_label, old_state, new_state, state_editor)
