"""What was handed over to providers, for a while."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._dialect import PostgresSQL
from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0014_console")]

    operations = [
        ops.CreateModel(
            name="RenderedRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event", fields.BigIntField(db_index=True)),
                ("number", fields.IntField()),
                ("until", fields.BigIntField(db_index=True)),
                ("body", fields.BinaryField(unique=False)),
            ],
            options={"table": "rendered", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        # it is compressed already
        PostgresSQL(
            ["ALTER TABLE rendered ALTER COLUMN body SET STORAGE EXTERNAL"],
            reverse_sql=["ALTER TABLE rendered ALTER COLUMN body SET STORAGE EXTENDED"],
        ),
    ]
