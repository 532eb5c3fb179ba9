"""What is too much, too slow or failing."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from .operation import Answer, Call, Operation, Success, Told


class Alert(Told):
    """How something with thresholds stands, in the whole installation."""

    name: str = Field(description="As its setting in the section `alerts`.")
    label: str = Field(description="For people.")
    level: Literal["ok", "warning", "alert"]
    was: Literal["ok", "warning", "alert"] = Field(description="What it was before.")
    since: datetime | None = Field(None, description="When it came to this level; missing if it never was elsewhere.")
    value: float | None = Field(None, description="As it was last measured; missing if it never was.")
    measured: datetime | None = None
    unit: Literal["events", "percent", "seconds"] = Field(description="Of the value and the thresholds.")
    warning: float | None = Field(None, description="From here on it is worth a warning.")
    alert: float | None = Field(None, description="From here on it is worth an alert.")
    text: str = Field(description="The value in words.")


class Alerts(Told):
    alerts: tuple[Alert, ...]


async def list_alerts(call: Call) -> Answer:
    found = await call.door.services.desk.alerts(call.operator)
    alerts = tuple(
        Alert(
            name=one.name,
            label=one.label,
            level=one.level,
            was=one.was,
            since=one.since,
            value=one.value,
            measured=one.measured,
            unit=one.unit,
            warning=one.warning,
            alert=one.alert,
            text=one.text,
        )
        for one in found
    )
    return Answer(200, Alerts(alerts=alerts))


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v1/alerts",
        name="listAlerts",
        summary="What is too much, too slow or failing",
        text="All that has thresholds, whether it is well or not; the same from every process of an installation.",
        tag="Health",
        right="read",
        run=list_alerts,
        answers={200: Success("How all stands.", Alerts)},
    ),
)
