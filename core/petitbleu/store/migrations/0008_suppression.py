"""Addresses that are not written to, and a record of who changed what."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._dialect import PostgresSQL
from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0007_feedback")]

    operations = [
        ops.CreateModel(
            name="SuppressionRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("channel", fields.CharField(max_length=64)),
                ("address", fields.CharField(max_length=320)),
                ("brand", fields.CharField(db_default="", max_length=128)),
                ("reason", fields.CharField(max_length=16)),
                ("text", fields.TextField(db_default="", unique=False)),
                ("created", fields.BigIntField()),
                ("expires", fields.BigIntField(null=True, db_index=True)),
                ("by", fields.CharField(max_length=128)),
            ],
            options={
                "table": "suppressions",
                "app": "petitbleu",
                "unique_together": (("channel", "address", "brand", "reason"),),
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SoftErrorRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("channel", fields.CharField(max_length=64)),
                ("address", fields.CharField(max_length=320)),
                ("errors", fields.TextField(unique=False)),
                ("touched", fields.BigIntField(db_index=True)),
            ],
            options={
                "table": "soft_errors",
                "app": "petitbleu",
                "unique_together": (("channel", "address"),),
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="AuditRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("at", fields.BigIntField(db_index=True)),
                ("by", fields.CharField(max_length=128)),
                ("action", fields.CharField(max_length=64)),
                ("object", fields.CharField(max_length=512, db_index=True)),
                ("detail", fields.TextField(db_default="{}", unique=False)),
            ],
            options={"table": "audit", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        # rows of the count change with every error; nothing else here is ever updated much
        PostgresSQL(
            ["ALTER TABLE soft_errors SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)"],
            reverse_sql=["ALTER TABLE soft_errors RESET (fillfactor, autovacuum_vacuum_scale_factor)"],
        ),
    ]
