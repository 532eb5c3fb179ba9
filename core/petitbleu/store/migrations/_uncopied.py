"""What every migration here is."""

from typing import Any

from tortoise import migrations
from tortoise.migrations.schema_generator.state import State


class Uncopied(migrations.Migration):
    """Goes forward without a copy of all descriptions of tables from before each of its operations.

    None of them looks at it (tests/test_migrations.py sees to that), and most of the time that the tables of an empty
    database take would go there.
    """

    async def apply(self, state: State, **how: Any) -> State:
        return await super().apply(_Shared(state.models, state.apps), **how)


class _Shared(State):
    """Has everything in common with the state it was made from: what changes here has changed there."""

    def clone(self) -> State:
        return self
