"""Keeping house: whose turn it is, what the installation knows about itself, an index to find old sessions by, and how
PostgreSQL is to treat busy tables."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from ._dialect import PostgresSQL
from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0003_flows")]

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
        ops.CreateModel(
            name="InstallationRow",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=32)),
                ("value", fields.TextField(unique=False)),
            ],
            options={"table": "installation", "app": "petitbleu", "pk_attr": "name"},
            bases=["Model"],
        ),
        ops.AddIndex(model_name="SessionRow", index=Index(fields=["expires"])),
        ops.RunSQL(
            [
                "INSERT INTO chores (name) VALUES ('purge')",
                # the oldest migration that a version must know to work with these tables
                "INSERT INTO installation (name, value) VALUES ('needs', '0002_idempotency')",
            ],
            reverse_sql=[],
        ),
        # rows of the queue change several times and go: room on their page for the next version, vacuum after thousands
        # of them rather than a share of a table whose size says nothing, and no lock to give its empty end back.
        # Events change twice, in columns without an index: with room on the page their indexes are left alone
        PostgresSQL(
            [
                "ALTER TABLE queue SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, "
                "autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off)",
                "ALTER TABLE events SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
                "ALTER TABLE payloads SET (autovacuum_vacuum_scale_factor = 0.05)",
                "ALTER TABLE attempts SET (autovacuum_vacuum_scale_factor = 0.05)",
            ],
            reverse_sql=[
                "ALTER TABLE queue RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, "
                "autovacuum_vacuum_cost_delay, vacuum_truncate)",
                "ALTER TABLE events RESET (fillfactor, autovacuum_vacuum_scale_factor)",
                "ALTER TABLE payloads RESET (autovacuum_vacuum_scale_factor)",
                "ALTER TABLE attempts RESET (autovacuum_vacuum_scale_factor)",
            ],
        ),
    ]
