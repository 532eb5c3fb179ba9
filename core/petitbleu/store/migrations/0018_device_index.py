"""Events are found by the token of a device without reading all of them."""

from ._index import Index
from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0017_device")]

    operations = [Index("events_device", "events (device) WHERE device <> ''")]
