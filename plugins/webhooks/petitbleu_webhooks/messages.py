"""What receivers are sent, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from petitbleu import Alert, Notice, StatusName

PING = "webhook.test"
"""Type of the message that `petitbleu webhooks test` sends."""


def message(notice: Notice, statuses: Mapping[str, StatusName], addresses: Mapping[str, str] | None) -> bytes:
    """The same at every try. `addresses` stand in it unless they are None."""
    if notice.alert is not None:
        return written("alert.changed", notice.at, changed(notice.alert))
    status = statuses.get(notice.status)
    data: dict[str, Any] = {
        # more than JavaScript's numbers hold
        "id": str(notice.event),
        "type": notice.type,
        "channel": notice.channel,
        "brand": notice.brand or None,
        "externalId": notice.external_id or None,
        "origin": notice.origin or None,
        "status": notice.status,
        "statusCode": None if status is None else status.code,
        "statusName": None if status is None else status.rest,
        "feedback": notice.feedback or None,
        "attempt": notice.attempt or None,
        "provider": notice.provider or None,
        "code": notice.code or None,
        "reason": notice.reason or None,
        "template": notice.template or None,
    }
    if addresses is not None:
        data["addresses"] = dict(addresses)
    return written(f"event.{notice.kind}", notice.at, data)


def changed(alert: Alert) -> Mapping[str, Any]:
    return {
        "name": alert.name,
        "label": alert.label,
        "level": alert.level,
        "was": alert.was,
        "value": alert.value,
        "unit": alert.unit,
        "warning": alert.warning,
        "alert": alert.alert,
        "text": alert.text,
    }


def written(kind: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    whole = {"type": kind, "timestamp": at.astimezone(UTC).isoformat().replace("+00:00", "Z"), "data": data}
    # a lone surrogate is no UTF-8: such text goes as escapes
    return json.dumps(whole, separators=(",", ":")).encode("ascii")
