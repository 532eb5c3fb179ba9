"""By which way a change came, and from where; the suppression list in the order of time."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0008_suppression")]

    operations = [
        ops.AddField("AuditRow", "origin", fields.CharField(max_length=16, db_default="")),
        ops.AddField("AuditRow", "address", fields.CharField(max_length=64, db_default="")),
        ops.AddIndex("SuppressionRow", Index(fields=("created",), name="idx_suppression_created")),
    ]
