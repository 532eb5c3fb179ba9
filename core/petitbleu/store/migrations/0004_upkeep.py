"""Keeping house: whose turn it is, and an index to find old sessions by."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("petitbleu", "0002_idempotency")]

    operations = [
        ops.CreateModel(
            name="ChoreRow",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=32)),
                ("holder", fields.CharField(db_default="", max_length=64)),
                ("until", fields.BigIntField(db_default=0)),
                ("completed", fields.BigIntField(db_default=0)),
                ("swept", fields.BigIntField(db_default=0)),
                ("terms", fields.CharField(db_default="", max_length=64)),
            ],
            options={"table": "chores", "app": "petitbleu", "pk_attr": "name"},
            bases=["Model"],
        ),
        ops.AddIndex(model_name="SessionRow", index=Index(fields=["expires"])),
        ops.RunSQL(["INSERT INTO chores (name) VALUES ('purge')"], reverse_sql=[]),
    ]
