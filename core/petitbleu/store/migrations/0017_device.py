"""Events are found by the token of a device, or whatever else a channel has for an address."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0016_search")]

    operations = [
        ops.AddField(model_name="EventRow", name="device", field=fields.CharField(db_default="", max_length=255)),
    ]
