"""Which event an idempotency key stands for."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0001_initial")]

    operations = [
        ops.CreateModel(
            name="IdempotencyRow",
            fields=[
                ("key", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("event", fields.BigIntField()),
                ("digest", fields.CharField(max_length=64)),
                ("until", fields.BigIntField(db_index=True)),
            ],
            options={"table": "idempotency", "app": "petitbleu", "pk_attr": "key"},
            bases=["Model"],
        ),
    ]
