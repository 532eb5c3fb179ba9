"""How alerts stand."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0012_statistics")]

    operations = [
        ops.CreateModel(
            name="AlertRow",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=32)),
                ("level", fields.SmallIntField(db_default=0)),
                ("was", fields.SmallIntField(db_default=0)),
                ("since", fields.BigIntField(db_default=0)),
                ("value", fields.FloatField(db_default=0)),
                ("measured", fields.BigIntField(db_default=0)),
                ("warning", fields.SmallIntField(db_default=0)),
                ("warning_turned", fields.BigIntField(null=True)),
                ("alert", fields.SmallIntField(db_default=0)),
                ("alert_turned", fields.BigIntField(null=True)),
                ("told", fields.SmallIntField(db_default=0)),
                ("telling", fields.BigIntField(db_default=0)),
            ],
            options={"table": "alerts", "app": "petitbleu", "pk_attr": "name"},
            bases=["Model"],
        ),
        ops.RunSQL(["INSERT INTO chores (name) VALUES ('alerts'), ('watchdog')"], reverse_sql=[]),
    ]
