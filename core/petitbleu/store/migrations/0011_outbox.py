"""What plugins are to be told of events, and how their receivers are doing."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._dialect import PostgresSQL
from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0010_tokens")]

    operations = [
        ops.CreateModel(
            name="NoticeRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("subscription", fields.CharField(max_length=160)),
                ("event", fields.BigIntField(db_index=True)),
                ("kind", fields.CharField(max_length=16)),
                ("at", fields.BigIntField()),
                ("queued", fields.BigIntField(db_index=True)),
                ("state", fields.SmallIntField(db_default=0)),
                ("due", fields.BigIntField()),
                ("tries", fields.IntField(db_default=0)),
                ("lease", fields.CharField(db_default="", max_length=36)),
                ("ended", fields.BigIntField(null=True)),
                ("answer", fields.TextField(db_default="", unique=False)),
                ("news", fields.TextField(unique=False)),
            ],
            options={"table": "outbox", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SubscriptionRow",
            fields=[
                ("name", fields.CharField(max_length=160, primary_key=True, unique=True, db_index=True)),
                ("failures", fields.IntField(db_default=0)),
                ("until", fields.BigIntField(db_default=0)),
                ("told", fields.BigIntField(null=True)),
                ("failed", fields.BigIntField(null=True)),
                ("ended", fields.BigIntField(null=True)),
                ("answer", fields.TextField(db_default="", unique=False)),
            ],
            options={"table": "subscriptions", "app": "petitbleu", "pk_attr": "name"},
            bases=["Model"],
        ),
        ops.RunSQL(
            ["CREATE INDEX outbox_due ON outbox (subscription, due, queued) WHERE state = 0"],
            reverse_sql=["DROP INDEX outbox_due"],
        ),
        # a row changes twice, soon after it came; the row of a subscription again and again
        PostgresSQL(
            [
                "ALTER TABLE outbox SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)",
                "ALTER TABLE subscriptions SET (fillfactor = 50)",
            ],
            reverse_sql=[
                "ALTER TABLE outbox RESET (fillfactor, autovacuum_vacuum_scale_factor)",
                "ALTER TABLE subscriptions RESET (fillfactor)",
            ],
        ),
    ]
