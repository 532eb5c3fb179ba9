"""Steps that one of the two databases takes alone."""

from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State


class PostgresSQL(ops.RunSQL):
    """Statements for PostgreSQL; on SQLite nothing happens."""

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        if postgres(state_editor):
            await super().database_forward(app_label, old_state, new_state, state_editor)

    async def database_backward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        if postgres(state_editor):
            await super().database_backward(app_label, old_state, new_state, state_editor)


class SqliteSQL(ops.RunSQL):
    """Statements for SQLite; on PostgreSQL nothing happens."""

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        if not postgres(state_editor):
            await super().database_forward(app_label, old_state, new_state, state_editor)

    async def database_backward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        if not postgres(state_editor):
            await super().database_backward(app_label, old_state, new_state, state_editor)


def postgres(editor: BaseSchemaEditor | None) -> bool:
    return editor is not None and editor.DIALECT == "postgres"
