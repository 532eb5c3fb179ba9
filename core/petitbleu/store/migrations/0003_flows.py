"""What is ready is claimed by channel and event type, so that each gets its share."""

from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0002_idempotency")]

    operations = [
        ops.RunSQL(
            [
                "CREATE INDEX queue_flows ON queue (lane, channel, type, priority, id) WHERE state = 1",
                "DROP INDEX queue_ready",
            ],
            reverse_sql=[
                "CREATE INDEX queue_ready ON queue (lane, priority, id) WHERE state = 1",
                "DROP INDEX queue_flows",
            ],
        ),
    ]
