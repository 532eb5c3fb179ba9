"""What the processes of an installation tell each other about providers."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0004_upkeep")]

    operations = [
        ops.CreateModel(
            name="PauseRow",
            fields=[
                ("key", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=400)),
                ("until", fields.BigIntField()),
                ("number", fields.IntField()),
                ("since", fields.BigIntField()),
                ("reason", fields.TextField(unique=False)),
                ("prober", fields.CharField(db_default="", max_length=36)),
                ("probing", fields.BigIntField(db_default=0)),
            ],
            options={"table": "pauses", "app": "petitbleu", "pk_attr": "key"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="QuotaRow",
            fields=[
                ("key", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=400)),
                ("due", fields.BigIntField()),
            ],
            options={"table": "quotas", "app": "petitbleu", "pk_attr": "key"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="QuotaHolderRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("key", fields.CharField(max_length=400)),
                ("holder", fields.CharField(max_length=36)),
                ("held", fields.IntField()),
                ("wanted", fields.IntField()),
                ("until", fields.BigIntField()),
            ],
            options={
                "table": "quota_holders",
                "app": "petitbleu",
                "unique_together": (("key", "holder"),),
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
    ]
