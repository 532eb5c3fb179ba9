"""From where a session was opened."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0013_alerts")]

    operations = [
        ops.AddField(model_name="SessionRow", name="address", field=fields.CharField(db_default="", max_length=64)),
    ]
