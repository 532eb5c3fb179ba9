"""What becomes of a message after it was handed over: receipts, the parts they are for, other ways for an event."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from ._dialect import PostgresSQL
from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0006_throttle")]

    operations = [
        ops.AddField(model_name="QueueRow", name="chain", field=fields.CharField(db_default="", max_length=255)),
        ops.AddField(model_name="QueueRow", name="avoid", field=fields.CharField(db_default="", max_length=1024)),
        ops.AddField(model_name="QueueRow", name="awaits", field=fields.SmallIntField(db_default=0)),
        ops.AddField(model_name="QueueRow", name="names", field=fields.TextField(db_default="", unique=False)),
        ops.AddField(model_name="EventRow", name="feedback", field=fields.CharField(db_default="", max_length=16)),
        ops.AddField(model_name="EventRow", name="feedback_at", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="AttemptRow", name="feedback", field=fields.CharField(db_default="", max_length=16)),
        ops.CreateModel(
            name="AwaitedRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event", fields.BigIntField(db_index=True)),
                ("number", fields.IntField()),
                ("part", fields.IntField()),
                ("channel", fields.CharField(max_length=64)),
                ("provider", fields.CharField(max_length=128)),
                ("name", fields.CharField(max_length=255)),
                ("state", fields.CharField(db_default="", max_length=16)),
            ],
            options={
                "table": "awaited",
                "app": "petitbleu",
                "indexes": [Index(fields=["name", "channel"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ReceiptRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("channel", fields.CharField(max_length=64)),
                ("provider", fields.CharField(db_default="", max_length=128)),
                ("names", fields.TextField(unique=False)),
                ("event", fields.BigIntField(null=True, db_index=True)),
                ("number", fields.IntField(null=True)),
                ("state", fields.CharField(max_length=16)),
                ("text", fields.TextField(db_default="", unique=False)),
                ("code", fields.CharField(db_default="", max_length=64)),
                ("scope", fields.CharField(db_default="", max_length=16)),
                ("permanent", fields.SmallIntField(db_default=1)),
                ("at", fields.BigIntField(null=True)),
                ("received", fields.BigIntField(db_index=True)),
                ("look", fields.BigIntField(null=True)),
            ],
            options={"table": "receipts", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="WatchRow",
            fields=[
                ("event", fields.BigIntField(generated=False, primary_key=True, unique=True, db_index=True)),
                ("number", fields.IntField()),
                ("due", fields.BigIntField(db_index=True)),
                ("failure", fields.CharField(max_length=16)),
            ],
            options={"table": "watches", "app": "petitbleu", "pk_attr": "event"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="RecyclingRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event", fields.BigIntField(db_index=True)),
                ("at", fields.BigIntField()),
                ("number", fields.IntField()),
                ("origin", fields.CharField(max_length=64)),
                ("target", fields.CharField(max_length=64)),
                ("reason", fields.TextField(db_default="", unique=False)),
            ],
            options={"table": "recyclings", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.RunSQL(
            ["CREATE INDEX receipts_look ON receipts (look, id) WHERE look IS NOT NULL"],
            reverse_sql=["DROP INDEX receipts_look"],
        ),
        # a receipt's row changes once, soon after it came; a watch goes when it is over
        PostgresSQL(
            [
                "ALTER TABLE receipts SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)",
                "ALTER TABLE awaited SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)",
                "ALTER TABLE watches SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)",
            ],
            reverse_sql=[
                "ALTER TABLE receipts RESET (fillfactor, autovacuum_vacuum_scale_factor)",
                "ALTER TABLE awaited RESET (fillfactor, autovacuum_vacuum_scale_factor)",
                "ALTER TABLE watches RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
            ],
        ),
    ]
