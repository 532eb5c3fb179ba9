"""The worker and the flow to providers, and to whom nothing is sent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ...suppression import MOST_COUNTED
from .values import Count, Duration, Line, Section, checked


class RetrySettings(Section):
    first: Duration = Field(30.0, description="Wait before the second try; doubles with every further one.")
    cap: Duration = Field(3600.0, description="The longest wait.")
    tries: Count = Field(12, description="Tries in all.")


class LimitOfOne(Section):
    rate: Annotated[float, Field(ge=0.01, le=1_000_000)] | None = Field(
        None, description="Messages a second, of all processes together."
    )
    concurrency: Count | None = Field(None, description="Messages at once, of all processes together.")


Destination = Annotated[
    str, checked(r"\*|[^\s/\x00-\x1f\x7f]{1,255}", "a destination such as example.com, or * for each other one")
]
ProviderName = Annotated[
    str, checked(r"[^\s/\x00-\x1f\x7f]{1,64}/[^\s\x00-\x1f\x7f]{1,64}", "channel/provider, such as email/main")
]


class ProviderSettings(LimitOfOne):
    destinations: dict[Destination, LimitOfOne] = Field(
        default_factory=dict, description="By destination, such as a domain, or * for each other one."
    )


class FeedbackSettings(Section):
    window: Count = Field(10, description="Messages at once with a provider of which nothing is known yet.")
    pause: Duration = Field(5.0, description="How long a failing provider is left alone; doubles with each pause.")
    pause_cap: Duration = Field(300.0, description="The longest such pause.")
    wait: Duration = Field(2.0, description="How long a message waits in its place for a provider that is busy.")
    back_cap: Duration = Field(30.0, description="How long after that it is put back at most.")


ProviderKey = Annotated[str, checked(r"[^\s/\x00-\x1f\x7f]{1,64}(/[^\s/\x00-\x1f\x7f]{1,64})?", "a provider's name")]
Weight = Annotated[float, Field(gt=0, le=1_000_000)]


class FailoverSettings(Section):
    providers: tuple[ProviderKey, ...] | dict[ProviderKey, Weight] = Field(
        description="The channel's providers in the order in which they are tried, or each with its weight."
    )
    slow: Duration | None = Field(None, description="A provider whose messages take longer is passed over.")
    bounced: bool = Field(False, description="Try the next one when a receipt says that a message did not arrive.")
    no_receipt: Duration | None = Field(None, description="Try the next one when no receipt has come for so long.")


HookName = Annotated[str, checked(r"\*|[a-z_]+", "a hook such as deliver, or * for each other one")]


class ReceiptSettings(Section):
    wait: Duration = Field(
        600.0, description="How long a message of which nobody knows whether the provider has it waits for a receipt."
    )
    unmatched: Duration = Field(3600.0, description="How long a receipt may wait for the message it belongs to.")


class DeliverySettings(Section):
    concurrency: Count = Field(50, description="Messages under way at once in one worker.")
    reserved: int = Field(10, ge=0, description="How many of them are kept free for the real-time queue.")
    poll: Duration = Field(1.0, description="How often to look for work when nothing announces any.")
    announce: bool = Field(True, description="Let processes tell each other of work, on PostgreSQL.")
    lease: Duration = Field(30.0, description="How long a claimed event is left to a worker that gives no sign.")
    drain: Duration = Field(20.0, description="How long messages handed to a provider may take when the worker stops.")
    deadline: Duration = Field(120.0, description="How long handing over one message may take.")
    hook_deadline: Duration = Field(10.0, description="How long any other hook of a plugin may take.")
    deadlines: dict[str, dict[HookName, Duration]] = Field(
        default_factory=dict,
        description="By plugin and hook, such as deliver: how long it may take. * is each other hook but deliver.",
    )
    hook_grace: Duration = Field(
        1.0,
        description="How long a plugin's call whose time is over may take to end, once cancelled, until it is left.",
    )
    lifetime: Duration = Field(172800.0, description="How long an event without an expiration is tried.")
    hold_after_restore: bool = Field(
        True, description="Hold what is open in a PostgreSQL database that was restored, copied or failed over."
    )
    retry: dict[str, RetrySettings] = Field(
        default_factory=dict, description="By channel name: tries and waits in place of the plugin's own."
    )
    providers: dict[ProviderName, ProviderSettings] = Field(
        default_factory=dict, description="By channel/provider: what it may be given, and what each destination may."
    )
    failover: dict[str, FailoverSettings] = Field(
        default_factory=dict, description="By channel name: which of its providers comes first, and which after."
    )
    receipts: ReceiptSettings = Field(
        default_factory=ReceiptSettings, description="What providers say of messages after they took them."
    )
    feedback: FeedbackSettings = Field(
        default_factory=FeedbackSettings, description="How what providers answer sets what they are given."
    )

    @model_validator(mode="after")
    def _room_for_batch(self) -> DeliverySettings:
        if self.reserved >= self.concurrency:
            raise ValueError("reserved should be less than concurrency, or the batch queue stands still")
        return self


class ChannelSuppression(Section):
    threshold: Annotated[int, Field(ge=1, le=MOST_COUNTED)] | None = Field(
        None, description="As suppression.threshold, for this channel."
    )
    period: Duration | None = Field(None, description="As suppression.period, for this channel.")
    span: Duration | None = Field(None, description="As suppression.span, for this channel.")
    hard: Duration | None = Field(None, description="As suppression.hard, for this channel.")
    soft: Duration | None = Field(None, description="As suppression.soft, for this channel.")
    complaint: Duration | None = Field(None, description="As suppression.complaint, for this channel.")


class SuppressionSettings(Section):
    threshold: Annotated[int, Field(ge=1, le=MOST_COUNTED)] = Field(
        5, description="So many events whose address had a soft error suppress it."
    )
    period: Duration = Field(2592000.0, description="Within which they must lie.")
    span: Duration = Field(86400.0, description="How far apart the first and the last of them must be at least.")
    hard: Duration | None = Field(None, description="How long an address with a hard error is suppressed; for ever.")
    soft: Duration | None = Field(604800.0, description="How long one with too many soft errors is.")
    complaint: Duration | None = Field(None, description="How long one whose owner complained is; for ever.")
    channels: dict[str, ChannelSuppression] = Field(
        default_factory=dict, description="By channel name: what differs there."
    )


class SafeModeSettings(Section):
    enabled: bool = Field(False, description="Write to nobody but those below; for test installations.")
    allow: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Addresses, or patterns of them such as *@example.com and +3370*, that are written to."
    )
    catch_all: dict[str, str] = Field(
        default_factory=dict, description="By channel name: the address that gets what is for anybody else."
    )
    sink: bool = Field(False, description="Send nothing at all; every message counts as sent.")
    prefix: Line = Field("", description="Put before subjects and titles, such as [TEST] and a space.")

    @model_validator(mode="after")
    def _whole(self) -> SafeModeSettings:
        for pattern in self.allow:
            if not pattern.strip("*?"):
                raise ValueError(f"allow: {pattern!r} is everybody; leave safe mode off, or name somebody")
        return self
