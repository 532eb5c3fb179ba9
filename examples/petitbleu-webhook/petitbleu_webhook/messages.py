"""What is posted: JSON, signed as the Standard Webhooks specification has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from petitbleu import Content, Message, Settings

LARGEST = 262_144
"""Bytes of a body: receivers need not take more."""


class WebhookFields(Settings):
    """What `template.yaml` may hold beside the core's own keys."""

    type: str = ""
    """The message's `type`; the event's own unless given."""


def body(message: Message) -> bytes:
    """The same at every try. Raises `ValueError`."""
    data = _data(message.content)
    kind = str(message.content.fields.get("type") or message.event.type)
    created = message.event.created.astimezone(UTC).isoformat().replace("+00:00", "Z")
    found = json.dumps({"type": kind, "timestamp": created, "data": data}, separators=(",", ":")).encode("ascii")
    if len(found) > LARGEST:
        raise ValueError(f"it has {len(found)} bytes; the limit is {LARGEST}")
    return found


def preview(content: Content) -> Sequence[str]:
    """For whoever previews a template."""
    try:
        return [f"data of {len(json.dumps(_data(content)))} bytes"]
    except ValueError as error:
        return [f"it cannot be sent: {error}"]


def _data(content: Content) -> object:
    try:
        return json.loads(content.parts["data"], parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"body.json.j2 is no JSON ({error}); write values as {{{{ value | tojson }}}}") from None


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number of JSON")


def signed(secrets: Sequence[bytes], key: str, now: datetime, content: bytes) -> Mapping[str, str]:
    """The headers. Whoever receives it may know any one of `secrets`; `key` is how it knows a repeat."""
    seconds = str(int(now.timestamp()))
    text = b".".join((key.encode(), seconds.encode(), content))
    signatures = (base64.b64encode(hmac.digest(secret, text, hashlib.sha256)).decode() for secret in secrets)
    return {
        "webhook-id": key,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
