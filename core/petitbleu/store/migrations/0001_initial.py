"""The first tables."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    initial = True

    operations = [
        ops.CreateModel(
            name="AttemptRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event", fields.BigIntField(db_index=True)),
                ("number", fields.IntField()),
                ("channel", fields.CharField(max_length=64)),
                ("provider", fields.CharField(db_default="", max_length=128)),
                ("template", fields.CharField(db_default="", max_length=255)),
                ("started", fields.BigIntField()),
                ("ended", fields.BigIntField()),
                ("outcome", fields.CharField(max_length=16)),
                ("scope", fields.CharField(db_default="", max_length=16)),
                ("code", fields.CharField(db_default="", max_length=64)),
                ("text", fields.TextField(db_default="", unique=False)),
                ("reference", fields.CharField(db_default="", max_length=255)),
            ],
            options={"table": "attempts", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="CounterRow",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=32)),
                ("value", fields.BigIntField()),
            ],
            options={"table": "counters", "app": "petitbleu", "pk_attr": "name"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EventRow",
            fields=[
                ("id", fields.BigIntField(generated=False, primary_key=True, unique=True, db_index=True)),
                ("type", fields.CharField(max_length=128)),
                ("lane", fields.SmallIntField()),
                ("channel", fields.CharField(max_length=64)),
                ("status", fields.CharField(max_length=16)),
                ("errors", fields.IntField(db_default=0)),
                ("created", fields.BigIntField()),
                ("processing", fields.BigIntField(null=True)),
                ("processed", fields.BigIntField(null=True)),
                ("process_requested", fields.BigIntField(null=True)),
                ("external_id", fields.CharField(db_default="", max_length=255)),
                ("origin", fields.CharField(db_default="", max_length=255)),
                ("email", fields.CharField(db_default="", max_length=320)),
                ("mobile_phone", fields.CharField(db_default="", max_length=32)),
                ("template", fields.CharField(db_default="", max_length=255)),
                ("reason", fields.TextField(db_default="", unique=False)),
            ],
            options={
                "table": "events",
                "app": "petitbleu",
                "indexes": [Index(fields=["external_id"]), Index(fields=["email"]), Index(fields=["created"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PayloadRow",
            fields=[
                ("id", fields.BigIntField(generated=False, primary_key=True, unique=True, db_index=True)),
                ("body", fields.TextField(unique=False)),
            ],
            options={"table": "payloads", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PublicationRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event_type", fields.CharField(max_length=128)),
                ("channel", fields.CharField(max_length=64)),
                ("action", fields.CharField(max_length=16)),
                ("version", fields.IntField(null=True)),
                ("at", fields.BigIntField()),
                ("by", fields.CharField(max_length=128)),
            ],
            options={
                "table": "publications",
                "app": "petitbleu",
                "indexes": [Index(fields=["event_type", "channel"])],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="QueueRow",
            fields=[
                ("id", fields.BigIntField(generated=False, primary_key=True, unique=True, db_index=True)),
                ("state", fields.SmallIntField(db_default=1)),
                ("lane", fields.SmallIntField()),
                ("priority", fields.SmallIntField()),
                ("due", fields.BigIntField()),
                ("expires", fields.BigIntField(null=True)),
                ("type", fields.CharField(max_length=128)),
                ("channel", fields.CharField(max_length=64)),
                ("tries", fields.IntField(db_default=0)),
                ("attempts", fields.IntField(db_default=0)),
                ("crashes", fields.SmallIntField(db_default=0)),
                ("unknowns", fields.SmallIntField(db_default=0)),
                ("handed_off", fields.CharField(db_default="", max_length=128)),
                ("lease", fields.CharField(null=True, max_length=36)),
                ("leased_until", fields.BigIntField(null=True)),
            ],
            options={
                "table": "queue",
                "app": "petitbleu",
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SessionRow",
            fields=[
                ("token_hash", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("security_hash", fields.CharField(max_length=64)),
                ("login", fields.CharField(max_length=128)),
                ("created", fields.BigIntField()),
                ("expires", fields.BigIntField()),
            ],
            options={
                "table": "sessions",
                "app": "petitbleu",
                "pk_attr": "token_hash",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="TemplateVersionRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event_type", fields.CharField(max_length=128)),
                ("channel", fields.CharField(max_length=64)),
                ("number", fields.IntField()),
                ("digest", fields.CharField(max_length=64)),
                ("snapshot", fields.TextField(unique=False)),
                ("created", fields.BigIntField()),
                ("created_by", fields.CharField(max_length=128)),
            ],
            options={
                "table": "template_versions",
                "app": "petitbleu",
                "unique_together": (("event_type", "channel", "number"),),
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        # partial indexes: what is claimed, what waits for its time, what may have lost its worker
        ops.RunSQL(
            [
                "CREATE INDEX queue_ready ON queue (lane, priority, id) WHERE state = 1",
                "CREATE INDEX queue_waiting ON queue (due) WHERE state = 0",
                "CREATE INDEX queue_leased ON queue (leased_until) WHERE state = 2",
                "INSERT INTO counters (name, value) VALUES ('events', 0)",
            ],
            reverse_sql=["DROP INDEX queue_ready", "DROP INDEX queue_waiting", "DROP INDEX queue_leased"],
        ),
    ]
