"""People are sent a message when an alert changes: handed straight to a channel, past the queue that may stand still.

Nothing of it is stored as an event, and no retry, failover or suppression comes in between; safe mode does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import HandOffRefused, NotNow
from ..hosting.calling import HookFailed
from ..hosting.calls import Calls
from ..safemode import TITLES, Withheld
from ..types import Alert, Attempt, Channel, Content, Deferred, Delivered, Event, Message, Queue, TemplateRef, Unknown
from .thresholds import LEVELS

logger = logging.getLogger("petitbleu.alerts")

ALERT = "alert"
"""Stands for the event type of such messages."""
TRIAL = "This is a test: nothing is wrong."
BODY = "body"
"""The field that has the text where a channel has no part for it."""


@dataclass(frozen=True, slots=True)
class Recipients:
    """Who is told, by which channel, from which level on (a number of `LEVELS`); `fields` as in `template.yaml`."""

    channel: str
    to: Sequence[str]
    level: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """How sending one message ended; `again` is whether another try could end otherwise."""

    channel: str
    to: str
    ok: bool
    text: str
    again: bool = False


def content(channel: Channel, title: str, text: str, fields: Mapping[str, Any]) -> Content:
    """What a channel sends: the title where it has one, the text in its first plain part. Raises pydantic's
    `ValidationError` for fields that are none of the channel's."""
    known = channel.fields.model_fields
    given = {**fields, **{name: title for name in TITLES if name in known}}
    plain = next((part.name for part in channel.parts if part.escape == "none"), None)
    if plain is None and BODY in known:
        given[BODY] = text
    return Content({} if plain is None else {plain: text}, channel.fields.model_validate(given).model_dump())


class Notifier:
    """`branded` fills what the brand has for fields left open; `deadline` is for one message, in seconds, unless the
    channel's plugin has one of its own; `name` is the instance's."""

    def __init__(
        self,
        recipients: Sequence[Recipients],
        calls: Calls,
        channels: Mapping[str, Channel],
        branded: Callable[[Content], Content],
        now: Callable[[], datetime],
        deadline: float,
        name: str,
    ) -> None:
        self._recipients = recipients
        self._calls = calls
        self._channels = channels
        self._branded = branded
        self._now = now
        self._deadline = deadline
        self.deadline = max((calls.delivery_deadline(one.channel, deadline) for one in recipients), default=deadline)
        """After so long everybody was told, or could not be."""
        self._name = name

    async def tell(self, alert: Alert, told: int) -> bool:
        """Send what there is to be sent of it, to those who last heard of the level `told`. False: nobody could be
        reached, and it is worth another try."""
        worst = max(told, LEVELS.index(alert.level))
        sent = await self._send(alert, [one for one in self._recipients if worst >= one.level])
        for one in sent:
            said = {"alert": alert.name, "channel": one.channel}
            if one.ok:
                logger.info("a message about %s was sent", alert.label, extra=said)
            else:
                text = one.text.replace(one.to, "***")
                logger.warning("a message about %s was not sent: %s", alert.label, text, extra=said)
        return not sent or not all(one.again for one in sent)

    async def rehearse(self) -> Sequence[Sent]:
        """Send everybody a message about an alert that there is not."""
        trial = Alert("test", "test", "alert", "ok", self._now(), 0.0, self._now(), "seconds", None, None, TRIAL)
        return await self._send(trial, self._recipients)

    async def _send(self, alert: Alert, recipients: Sequence[Recipients]) -> Sequence[Sent]:
        return await asyncio.gather(*(self._deliver(alert, one, to) for one in recipients for to in one.to))

    async def _deliver(self, alert: Alert, one: Recipients, to: str) -> Sent:
        channel, at = self._channels[one.channel], self._now()
        title, text = self._words(alert)
        key = f"alert-{alert.name}-{0 if alert.since is None else int(alert.since.timestamp() * 1000)}@{self._name}"
        event = Event(0, ALERT, Queue.REALTIME, one.channel, {}, at, {channel.address: to})
        made = self._branded(content(channel, title, text, one.fields))
        message = Message(event, one.channel, to, "", TemplateRef(ALERT, one.channel, 0), made, key)
        try:
            outcome = await self._calls.deliver(message, Attempt(1, _go), self._deadline)
        except Withheld as withheld:
            return Sent(one.channel, to, False, str(withheld))
        except (HookFailed, HandOffRefused, NotNow) as error:
            return Sent(one.channel, to, False, str(error), again=True)
        # what is refused for good is not tried again
        ok = isinstance(outcome, Delivered | Unknown)
        return Sent(one.channel, to, ok, outcome.text, again=isinstance(outcome, Deferred))

    def _words(self, alert: Alert) -> tuple[str, str]:
        title = f"[{self._name}] {alert.label}: {alert.level}"
        unit = {"events": "", "percent": " %", "seconds": " s"}[alert.unit]
        known = [(name, limit) for name, limit in (("warning", alert.warning), ("alert", alert.alert)) if limit]
        limits = ", ".join(f"{name} from {limit:g}{unit}" for name, limit in known)
        since = "" if alert.since is None else f", since {alert.since:%Y-%m-%d %H:%M:%S} UTC"
        return title, f"{title}, was {alert.was}{since}\n{alert.text}{f' ({limits})' if limits else ''}\n"


async def _go(provider: str) -> None:
    """Nothing stands in the way of a message that is no event's."""


__all__ = ["Notifier", "Recipients", "Sent", "content"]
