"""When to warn, whom to tell, and the watchdog."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .values import Amount, Count, Duration, Percent, Section


class Monitoring(Section):
    trouble: Duration = Field(300.0, description="How long /readyz tells of what a plugin did wrong.")
    blocked: Duration = Field(1.0, description="How long a plugin may keep the process from all other work unnoticed.")
    plugin_tasks: Count = Field(1000, description="Living tasks of one plugin beyond which /readyz warns.")
    horizon: Duration = Field(
        300.0, description="How long one transaction may keep PostgreSQL's dead rows before /readyz warns."
    )
    dkim: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="By sender domain: DKIM selectors of your relays, for petitbleu doctor."
    )
    outbox: Duration = Field(900.0, description="How long a notice may wait before /readyz warns.")


class Thresholds(Section):
    """From which value on it is orange, and from which on red; null: never."""

    warning: float | None
    alert: float | None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.warning is not None and self.alert is not None and self.warning > self.alert:
            raise ValueError(f"warning ({self.warning:g}) should not be above alert ({self.alert:g})")
        return self


class QueueThresholds(Thresholds):
    warning: Amount | None = Field(100, description="Real-time events that are due and not sent: for a warning.")
    alert: Amount | None = Field(400, description="For an alert.")


class ErrorThresholds(Thresholds):
    warning: Percent | None = Field(1.0, description="Percent of ended events that were not sent: for a warning.")
    alert: Percent | None = Field(5.0, description="For an alert.")
    errors: Count = Field(3, description="Fewer events that were not sent than this are no rate.")


class QueuingThresholds(Thresholds):
    warning: Duration | None = Field(4.0, description="Time in queue: for a warning.")
    alert: Duration | None = Field(8.0, description="For an alert.")


class SendingThresholds(Thresholds):
    warning: Duration | None = Field(6.0, description="Time to hand a message to its provider: for a warning.")
    alert: Duration | None = Field(12.0, description="For an alert.")


class ProcessingThresholds(Thresholds):
    warning: Duration | None = Field(10.0, description="Both together: for a warning.")
    alert: Duration | None = Field(20.0, description="For an alert.")


class DatabaseThresholds(Thresholds):
    warning: Duration | None = Field(30.0, description="Time without an answer of the database: for a warning.")
    alert: Duration | None = Field(60.0, description="For an alert.")


class WatchdogThresholds(Thresholds):
    warning: Duration | None = Field(180.0, description="Time since a watchdog event got through: for a warning.")
    alert: Duration | None = Field(300.0, description="For an alert.")


class AlertMessage(Section):
    channel: str = Field(min_length=1, description="The channel by which it is sent, past the queue.")
    to: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, description="Addresses of the channel.")
    level: Literal["warning", "alert"] = Field("alert", description="From which level on; and when it is over.")
    fields: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the channel, as in template.yaml: provider, sender and the like."
    )


class AlertSettings(Section):
    every: Duration = Field(15.0, description="How often to look.")
    window: Duration = Field(300.0, le=86400, description="Rates and averages are those of so long until now.")
    raise_after: Duration = Field(60.0, description="How long a threshold must be reached to raise the alert.")
    clear_after: Duration = Field(300.0, description="How long it must be well again to clear it.")
    clear_below: float = Field(0.8, gt=0, le=1, description="Well is what is below this part of the threshold.")
    queue: QueueThresholds = Field(default_factory=QueueThresholds, description="How much waits.")
    error_rate: ErrorThresholds = Field(default_factory=ErrorThresholds, description="How much fails.")
    queuing: QueuingThresholds = Field(default_factory=QueuingThresholds, description="How long events wait.")
    sending: SendingThresholds = Field(default_factory=SendingThresholds, description="How slow providers are.")
    processing: ProcessingThresholds = Field(default_factory=ProcessingThresholds, description="How long all takes.")
    watchdog: WatchdogThresholds = Field(
        default_factory=WatchdogThresholds, description="Whether messages really go out, where there is a watchdog."
    )
    database: DatabaseThresholds = Field(
        default_factory=DatabaseThresholds, description="Whether the database answers, as each process sees it."
    )
    messages: tuple[AlertMessage, ...] = Field((), description="Who is sent a message when an alert changes.")


class WatchdogSettings(Section):
    type: str = Field("", description="The event type that is pushed again and again; none: there is no watchdog.")
    attributes: dict[str, str] = Field(
        default_factory=dict, description="Attributes of the event, as callers give them: email, wishedChannel."
    )
    ctx: dict[str, Any] = Field(default_factory=dict, description="What its template needs.")
    every: Duration = Field(60.0, description="How often.")

    @model_validator(mode="after")
    def _has_a_type(self) -> Self:
        if not self.type and (self.attributes or self.ctx):
            raise ValueError("needs a type; without one there is no watchdog")
        return self
