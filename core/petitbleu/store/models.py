"""The tables. Times are microseconds since 1970-01-01 UTC, by the database's clock, so that both databases compare
and index them alike.

`queue` holds open work only and stays narrow: a row leaves it in the same transaction that gives its event a final
status. `events` is the record that status queries read; `payloads` is what the caller sent; `attempts` tells how each
hand-over went.
"""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model, ModelMeta


class _Quick(ModelMeta):
    """Reads no comments from the source: that takes longer than all else when this module is imported."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> Any:
        return super().__new__(cls, name, bases, {"_no_comments": True, **attrs})


class Row(Model, metaclass=_Quick):
    class Meta:
        abstract = True


# Work to do. The indexes that serve it are partial ones and stand in the migration.
class QueueRow(Row):
    id = fields.BigIntField(primary_key=True, generated=False)
    state = fields.SmallIntField(db_default=1)
    """0 waits for `due`, 1 is ready, 2 is leased, 3 is paused."""
    lane = fields.SmallIntField()
    """0 real time, 1 batch."""
    priority = fields.SmallIntField()
    due = fields.BigIntField()
    expires = fields.BigIntField(null=True)
    type = fields.CharField(max_length=128)
    channel = fields.CharField(max_length=64)
    tries = fields.IntField(db_default=0)
    """Attempts that count against the event."""
    attempts = fields.IntField(db_default=0)
    """All attempts, the number of the last one."""
    crashes = fields.SmallIntField(db_default=0)
    unknowns = fields.SmallIntField(db_default=0)
    handed_off = fields.CharField(max_length=128, db_default="")
    """The provider that may have the message while it is leased."""
    names = fields.TextField(db_default="")
    """What receipts will call that message, as a JSON list."""
    lease = fields.CharField(max_length=36, null=True)
    leased_until = fields.BigIntField(null=True)
    chain = fields.CharField(max_length=255, db_default="")
    """The channels it has been through, by spaces, the one it is for now included; empty until it was recycled."""
    avoid = fields.CharField(max_length=1024, db_default="")
    """Providers it has failed with, by spaces: it is given to another one."""
    awaits = fields.SmallIntField(db_default=0)
    """The attempt whose receipt it waits for until `due`: nobody knows whether the provider has the message."""

    class Meta:
        table = "queue"


class EventRow(Row):
    id = fields.BigIntField(primary_key=True, generated=False)
    type = fields.CharField(max_length=128)
    lane = fields.SmallIntField()
    channel = fields.CharField(max_length=64)
    status = fields.CharField(max_length=16)
    errors = fields.IntField(db_default=0)
    created = fields.BigIntField()
    processing = fields.BigIntField(null=True)
    processed = fields.BigIntField(null=True)
    process_requested = fields.BigIntField(null=True)
    external_id = fields.CharField(max_length=255, db_default="")
    origin = fields.CharField(max_length=255, db_default="")
    email = fields.CharField(max_length=320, db_default="")
    mobile_phone = fields.CharField(max_length=32, db_default="")
    device = fields.CharField(max_length=255, db_default="")
    """The beginning of an address of another kind, such as a device's token."""
    template = fields.CharField(max_length=255, db_default="")
    reason = fields.TextField(db_default="")
    feedback = fields.CharField(max_length=16, db_default="")
    """What receipts say of its last attempt: `underway`, `received`, `bounced`, `complained`; empty: nothing."""
    feedback_at = fields.BigIntField(null=True)
    brand = fields.CharField(max_length=128, db_default="")
    """In whose name it is sent."""
    cause = fields.CharField(max_length=32, db_default="")
    """In one word why it ended unsent, or why its last try failed; see `delivery/`."""

    class Meta:
        table = "events"
        indexes = (Index(fields=("external_id",)), Index(fields=("email",)), Index(fields=("created",)))


class PayloadRow(Row):
    id = fields.BigIntField(primary_key=True, generated=False)
    body = fields.TextField()

    class Meta:
        table = "payloads"


class AttemptRow(Row):
    id = fields.BigIntField(primary_key=True)
    event = fields.BigIntField(db_index=True)
    number = fields.IntField()
    channel = fields.CharField(max_length=64)
    provider = fields.CharField(max_length=128, db_default="")
    template = fields.CharField(max_length=255, db_default="")
    started = fields.BigIntField()
    ended = fields.BigIntField()
    outcome = fields.CharField(max_length=16)
    scope = fields.CharField(max_length=16, db_default="")
    code = fields.CharField(max_length=64, db_default="")
    text = fields.TextField(db_default="")
    reference = fields.CharField(max_length=255, db_default="")
    feedback = fields.CharField(max_length=16, db_default="")

    class Meta:
        table = "attempts"


# What an attempt handed over, packed by `rendered.py`: of event types that ask for it, and no longer than `until`.
class RenderedRow(Row):
    id = fields.BigIntField(primary_key=True)
    event = fields.BigIntField(db_index=True)
    number = fields.IntField()
    until = fields.BigIntField(db_index=True)
    body = fields.BinaryField()

    class Meta:
        table = "rendered"


# A part of a message that a receipt may come for, under the name the receipt will have for it.
class AwaitedRow(Row):
    id = fields.BigIntField(primary_key=True)
    event = fields.BigIntField(db_index=True)
    number = fields.IntField()
    part = fields.IntField()
    channel = fields.CharField(max_length=64)
    provider = fields.CharField(max_length=128)
    name = fields.CharField(max_length=255)
    state = fields.CharField(max_length=16, db_default="")

    class Meta:
        table = "awaited"
        indexes = (Index(fields=("name", "channel")),)


# A receipt as it came. `look` is when to find its attempt; null: that is done, or given up if `event` is null too.
class ReceiptRow(Row):
    id = fields.BigIntField(primary_key=True)
    channel = fields.CharField(max_length=64)
    provider = fields.CharField(max_length=128, db_default="")
    names = fields.TextField()
    event = fields.BigIntField(null=True, db_index=True)
    number = fields.IntField(null=True)
    state = fields.CharField(max_length=16)
    text = fields.TextField(db_default="")
    code = fields.CharField(max_length=64, db_default="")
    scope = fields.CharField(max_length=16, db_default="")
    permanent = fields.SmallIntField(db_default=1)
    at = fields.BigIntField(null=True)
    received = fields.BigIntField(db_index=True)
    look = fields.BigIntField(null=True)

    class Meta:
        table = "receipts"


# What is to be decided about an event that was sent, at `due`: `no_receipt`, if none came until then, or `bounced`.
class WatchRow(Row):
    event = fields.BigIntField(primary_key=True, generated=False)
    number = fields.IntField()
    due = fields.BigIntField(db_index=True)
    failure = fields.CharField(max_length=16)

    class Meta:
        table = "watches"


# That an event went on by another channel, after its attempt `number`.
class RecyclingRow(Row):
    id = fields.BigIntField(primary_key=True)
    event = fields.BigIntField(db_index=True)
    at = fields.BigIntField()
    number = fields.IntField()
    origin = fields.CharField(max_length=64)
    target = fields.CharField(max_length=64)
    reason = fields.TextField(db_default="")

    class Meta:
        table = "recyclings"


# Never changed, never deleted: messages point to it.
class TemplateVersionRow(Row):
    id = fields.BigIntField(primary_key=True)
    event_type = fields.CharField(max_length=128)
    channel = fields.CharField(max_length=64)
    number = fields.IntField()
    digest = fields.CharField(max_length=64)
    snapshot = fields.TextField()
    created = fields.BigIntField()
    created_by = fields.CharField(max_length=128)

    class Meta:
        table = "template_versions"
        unique_together = (("event_type", "channel", "number"),)


# What was done to a template: `publish`, `rollback` or `unpublish`. The last row of a type and channel rules;
# `version` is null after `unpublish`.
class PublicationRow(Row):
    id = fields.BigIntField(primary_key=True)
    event_type = fields.CharField(max_length=128)
    channel = fields.CharField(max_length=64)
    action = fields.CharField(max_length=16)
    version = fields.IntField(null=True)
    at = fields.BigIntField()
    by = fields.CharField(max_length=128)

    class Meta:
        table = "publications"
        indexes = (Index(fields=("event_type", "channel")),)


# A log-on. Only hashes of its secrets are kept.
class SessionRow(Row):
    token_hash = fields.CharField(max_length=64, primary_key=True)
    security_hash = fields.CharField(max_length=64)
    login = fields.CharField(max_length=128)
    created = fields.BigIntField()
    expires = fields.BigIntField()
    address = fields.CharField(max_length=64, db_default="")
    """From where it was opened."""

    class Meta:
        table = "sessions"
        indexes = (Index(fields=("expires",)),)


# A token of a program. Only its hash is kept; `start` is what people know it again by. `event_types` and `brands` are
# JSON lists, null for no limit.
class TokenRow(Row):
    id = fields.BigIntField(primary_key=True)
    login = fields.CharField(max_length=128)
    name = fields.CharField(max_length=128)
    token_hash = fields.CharField(max_length=64, unique=True)
    start = fields.CharField(max_length=16)
    rights = fields.CharField(max_length=255)
    event_types = fields.TextField(null=True)
    brands = fields.TextField(null=True)
    created = fields.BigIntField()
    created_by = fields.CharField(max_length=128)
    expires = fields.BigIntField(null=True)
    revoked = fields.BigIntField(null=True)
    used = fields.BigIntField(null=True)

    class Meta:
        table = "api_tokens"


# Which event an idempotency key stands for. `key` is a hash of origin, type and externalId, or of a call's own key;
# past `until` the row counts for nothing, and the next holder of the key replaces it.
class IdempotencyRow(Row):
    key = fields.CharField(max_length=64, primary_key=True)
    event = fields.BigIntField()
    digest = fields.CharField(max_length=64)
    until = fields.BigIntField(db_index=True)
    events = fields.TextField(null=True)
    """For a call's key all of its events, as a JSON list of ids."""

    class Meta:
        table = "idempotency"


# A provider that is left alone, or a destination behind it. While `probing` is in the future, the process `prober`
# tries it again.
class PauseRow(Row):
    key = fields.CharField(max_length=400, primary_key=True)
    until = fields.BigIntField()
    number = fields.IntField()
    since = fields.BigIntField()
    reason = fields.TextField()
    prober = fields.CharField(max_length=36, db_default="")
    probing = fields.BigIntField(db_default=0)

    class Meta:
        table = "pauses"


# A limit that all processes share. `due` is when its rate allows the next message; the row also is the lock on the
# holders of its places.
class QuotaRow(Row):
    key = fields.CharField(max_length=400, primary_key=True)
    due = fields.BigIntField()

    class Meta:
        table = "quotas"


# Places of such a limit that a process has until `until`.
class QuotaHolderRow(Row):
    id = fields.BigIntField(primary_key=True)
    key = fields.CharField(max_length=400)
    holder = fields.CharField(max_length=36)
    held = fields.IntField()
    wanted = fields.IntField()
    until = fields.BigIntField()

    class Meta:
        table = "quota_holders"
        unique_together = (("key", "holder"),)


# An address that is not written to. The unique index begins with what it is looked up by. Brand "" is every brand;
# past `expires` the row counts for nothing.
class SuppressionRow(Row):
    id = fields.BigIntField(primary_key=True)
    channel = fields.CharField(max_length=64)
    address = fields.CharField(max_length=320)
    """As `suppression.address_key` gives it, or as `forgotten_key` where the person is forgotten."""
    brand = fields.CharField(max_length=128, db_default="")
    reason = fields.CharField(max_length=16)
    text = fields.TextField(db_default="")
    created = fields.BigIntField()
    expires = fields.BigIntField(null=True, db_index=True)
    by = fields.CharField(max_length=128)

    class Meta:
        table = "suppressions"
        unique_together = (("channel", "address", "brand", "reason"),)
        indexes = (Index(fields=("created",)),)


# Soft errors of an address, as JSON: event, time, and by what they were heard of. The row also is the lock on them.
class SoftErrorRow(Row):
    id = fields.BigIntField(primary_key=True)
    channel = fields.CharField(max_length=64)
    address = fields.CharField(max_length=320)
    errors = fields.TextField()
    touched = fields.BigIntField(db_index=True)

    class Meta:
        table = "soft_errors"
        unique_together = (("channel", "address"),)


# Something that happened to an event, as one subscription of a plugin is to be told it. `news` is what was so `at` that
# time, as JSON; `queued` is since when it is to be told. While it is told, it is due again when `lease` has ended.
class NoticeRow(Row):
    id = fields.BigIntField(primary_key=True)
    subscription = fields.CharField(max_length=160)
    event = fields.BigIntField(db_index=True)
    kind = fields.CharField(max_length=16)
    at = fields.BigIntField()
    queued = fields.BigIntField(db_index=True)
    state = fields.SmallIntField(db_default=0)
    """0 waits, 1 is told, 2 is given up."""
    due = fields.BigIntField()
    tries = fields.IntField(db_default=0)
    lease = fields.CharField(max_length=36, db_default="")
    ended = fields.BigIntField(null=True)
    answer = fields.TextField(db_default="")
    """What the receiver said last, or why it was not reached."""
    news = fields.TextField()

    class Meta:
        table = "outbox"


# How the receiver of a subscription is doing: so many `failures` in a row; until `until` nobody tells it anything.
class SubscriptionRow(Row):
    name = fields.CharField(max_length=160, primary_key=True)
    failures = fields.IntField(db_default=0)
    until = fields.BigIntField(db_default=0)
    told = fields.BigIntField(null=True)
    failed = fields.BigIntField(null=True)
    ended = fields.BigIntField(null=True)
    """It wants nothing any more, since then."""
    answer = fields.TextField(db_default="")

    class Meta:
        table = "subscriptions"


# Who did what to what, by which way and from where. `detail` is JSON without secrets; rows are never changed.
class AuditRow(Row):
    id = fields.BigIntField(primary_key=True)
    at = fields.BigIntField(db_index=True)
    by = fields.CharField(max_length=128)
    origin = fields.CharField(max_length=16, db_default="")
    address = fields.CharField(max_length=64, db_default="")
    action = fields.CharField(max_length=64)
    object = fields.CharField(max_length=512, db_index=True)
    detail = fields.TextField(db_default="{}")

    class Meta:
        table = "audit"


# How many events a fact was about, of one key, from `start` on for `span` seconds; 0 is a minute that was not yet
# summed up. See `reports/tally.py`. Times are in microseconds, `depth` is of fact `queued` and counts open events.
class StatisticRow(Row):
    id = fields.BigIntField(primary_key=True)
    span = fields.IntField()
    start = fields.BigIntField()
    fact = fields.CharField(max_length=16)
    type = fields.CharField(max_length=128)
    channel = fields.CharField(max_length=64)
    brand = fields.CharField(max_length=128)
    origin = fields.CharField(max_length=255)
    cause = fields.CharField(max_length=32, db_default="")
    events = fields.BigIntField()
    timed = fields.BigIntField(null=True)
    """Those of them whose times are known."""
    queuing = fields.BigIntField(null=True)
    queuing_min = fields.BigIntField(null=True)
    queuing_max = fields.BigIntField(null=True)
    sending = fields.BigIntField(null=True)
    sending_min = fields.BigIntField(null=True)
    sending_max = fields.BigIntField(null=True)
    processing = fields.BigIntField(null=True)
    processing_min = fields.BigIntField(null=True)
    processing_max = fields.BigIntField(null=True)
    depth = fields.BigIntField(null=True)
    depth_min = fields.BigIntField(null=True)
    depth_max = fields.BigIntField(null=True)
    bin0 = fields.BigIntField(null=True)
    bin1 = fields.BigIntField(null=True)
    bin2 = fields.BigIntField(null=True)
    bin3 = fields.BigIntField(null=True)
    bin4 = fields.BigIntField(null=True)
    bin5 = fields.BigIntField(null=True)
    bin6 = fields.BigIntField(null=True)
    bin7 = fields.BigIntField(null=True)
    bin8 = fields.BigIntField(null=True)
    bin9 = fields.BigIntField(null=True)
    bin10 = fields.BigIntField(null=True)
    bin11 = fields.BigIntField(null=True)
    bin12 = fields.BigIntField(null=True)
    bin13 = fields.BigIntField(null=True)
    bin14 = fields.BigIntField(null=True)
    bin15 = fields.BigIntField(null=True)

    class Meta:
        table = "statistics"
        indexes = (Index(fields=("span", "start")),)


# How something with thresholds stands: at `level` since `since`, at `was` before; at `value` when it was last
# `measured`; see `alerts/`. People were last sent the level `told`; until `telling` somebody sends, or waits after a
# failure.
class AlertRow(Row):
    name = fields.CharField(max_length=32, primary_key=True)
    level = fields.SmallIntField(db_default=0)
    was = fields.SmallIntField(db_default=0)
    since = fields.BigIntField(db_default=0)
    value = fields.FloatField(db_default=0)
    measured = fields.BigIntField(db_default=0)
    warning = fields.SmallIntField(db_default=0)
    warning_turned = fields.BigIntField(null=True)
    alert = fields.SmallIntField(db_default=0)
    alert_turned = fields.BigIntField(null=True)
    told = fields.SmallIntField(db_default=0)
    telling = fields.BigIntField(db_default=0)

    class Meta:
        table = "alerts"


class CounterRow(Row):
    name = fields.CharField(max_length=32, primary_key=True)
    value = fields.BigIntField()

    class Meta:
        table = "counters"


# Work that one process at a time does for all: `holder` has it, `until` then.
class ChoreRow(Row):
    name = fields.CharField(max_length=32, primary_key=True)
    holder = fields.CharField(max_length=64, db_default="")
    until = fields.BigIntField(db_default=0)
    completed = fields.BigIntField(db_default=0)
    """When it was last done to the end."""
    swept = fields.BigIntField(db_default=0)
    """When it last looked at everything, not only at what is new."""
    terms = fields.CharField(max_length=64, db_default="")
    """A digest of the settings it was done by."""

    class Meta:
        table = "chores"


# What an installation knows about itself. `epoch`: which PostgreSQL database this is; `needs`: the migration that a
# version must know, or a later one, to work with these tables; `secret`: what addresses that are forgotten are hashed
# with; `keys`: with which keys payloads may be encrypted; `reload`: the latest request to do so.
class InstallationRow(Row):
    name = fields.CharField(max_length=32, primary_key=True)
    value = fields.TextField()

    class Meta:
        table = "installation"


# Tortoise makes ready at every start what it is told of, a third of a millisecond for each table; the statements of the
# others are in `queries.py`
__models__ = (TemplateVersionRow, PublicationRow, SessionRow, TokenRow)
