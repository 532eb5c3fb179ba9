"""Counts of what happens to events, and what an event's record says about its brand and about why it ended."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from ._dialect import PostgresSQL
from ._uncopied import Uncopied

_MEASURED = ("queuing", "sending", "processing", "depth")


class Migration(Uncopied):
    dependencies = [("petitbleu", "0011_outbox")]

    operations = [
        ops.AddField(model_name="EventRow", name="brand", field=fields.CharField(db_default="", max_length=128)),
        ops.AddField(model_name="EventRow", name="cause", field=fields.CharField(db_default="", max_length=32)),
        ops.CreateModel(
            name="StatisticRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("span", fields.IntField()),
                ("start", fields.BigIntField()),
                ("fact", fields.CharField(max_length=16)),
                ("type", fields.CharField(max_length=128)),
                ("channel", fields.CharField(max_length=64)),
                ("brand", fields.CharField(max_length=128)),
                ("origin", fields.CharField(max_length=255)),
                ("cause", fields.CharField(db_default="", max_length=32)),
                ("events", fields.BigIntField()),
                ("timed", fields.BigIntField(null=True)),
                *(
                    (name, fields.BigIntField(null=True))
                    for measured in _MEASURED
                    for name in (measured, f"{measured}_min", f"{measured}_max")
                ),
                *((f"bin{number}", fields.BigIntField(null=True)) for number in range(16)),
            ],
            options={
                "table": "statistics",
                "app": "petitbleu",
                "indexes": [Index(fields=["span", "start"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.RunSQL(["INSERT INTO chores (name) VALUES ('statistics')"], reverse_sql=[]),
        # most rows live for a minute, until they are made one
        PostgresSQL(
            ["ALTER TABLE statistics SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000)"],
            reverse_sql=["ALTER TABLE statistics RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)"],
        ),
    ]
