"""Tokens of programs, and keys that stand for a whole call."""

from tortoise import fields
from tortoise.migrations import operations as ops

from ._uncopied import Uncopied


class Migration(Uncopied):
    dependencies = [("petitbleu", "0009_audit_origin")]

    operations = [
        ops.CreateModel(
            name="TokenRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("login", fields.CharField(max_length=128)),
                ("name", fields.CharField(max_length=128)),
                ("token_hash", fields.CharField(max_length=64, unique=True)),
                ("start", fields.CharField(max_length=16)),
                ("rights", fields.CharField(max_length=255)),
                ("event_types", fields.TextField(null=True, unique=False)),
                ("brands", fields.TextField(null=True, unique=False)),
                ("created", fields.BigIntField()),
                ("created_by", fields.CharField(max_length=128)),
                ("expires", fields.BigIntField(null=True)),
                ("revoked", fields.BigIntField(null=True)),
                ("used", fields.BigIntField(null=True)),
            ],
            options={"table": "api_tokens", "app": "petitbleu", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddField(model_name="IdempotencyRow", name="events", field=fields.TextField(null=True, unique=False)),
    ]
