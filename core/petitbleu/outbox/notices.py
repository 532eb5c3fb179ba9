"""What plugins want to be told of events, as rows that are stored in the transaction that stores what they tell of.

`telling.py` tells them afterwards. Where no plugin wants anything, nothing of this costs an event more than a look at
an empty set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from ..data import from_json, to_json
from ..lifecycle import PENDING
from ..metrics import Metrics
from ..steps import Step, words
from ..store import Store
from ..store.payload import micros, moment, optional_micros, optional_moment
from ..types import Alert, Event, Notice, Subscription

MOST_REASON = 1000
"""Characters of a reason in a notice."""

ALERT = "alert"
"""The kind of notices that are no event's."""

Row = Mapping[str, Any]


def full_name(plugin: str, subscription: str) -> str:
    """How the database calls a subscription."""
    return f"{plugin}/{subscription}"


class Outbox:
    """`brand` tells in whose name an event is sent, as the configuration says; `brands` the same by event type, for
    events whose data is gone."""

    def __init__(
        self,
        store: Store,
        subscriptions: Sequence[tuple[str, Subscription]],
        brand: Callable[[Event], str],
        brands: Mapping[str, str],
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics or Metrics()
        self._subscriptions = {full_name(plugin, one.name): one for plugin, one in subscriptions}
        self._kinds = frozenset(kind for one in self._subscriptions.values() for kind in one.kinds)
        self._brand = brand
        self._brands = brands
        self._matching = lru_cache(maxsize=4096)(self._match)
        self.full: frozenset[str] = frozenset()
        """Subscriptions for which so much waits that they are told nothing more."""
        self.arrived: Callable[[], None] = lambda: None
        """Called after a commit with notices in it."""

    def _match(self, kind: str, event_type: str, channel: str, brand: str) -> tuple[str, ...]:
        return tuple(
            name
            for name, one in self._subscriptions.items()
            if kind in one.kinds
            and (not one.types or event_type in one.types)
            and (not one.channels or channel in one.channels)
            and (not one.brands or brand in one.brands)
        )

    def _wanted(self, kind: str, event_type: str, channel: str, brand: str) -> Sequence[str]:
        names = self._matching(kind, event_type, channel, brand)
        if not self.full or self.full.isdisjoint(names):
            return names
        for name in self.full.intersection(names):
            self._metrics.noticed(name, "dropped", 1)
        self._metrics.limit_reached("limits.outbox")
        return [name for name in names if name not in self.full]

    # ----------------------------------------------------------------------------------------------------------- rows

    def of_event(self, event_id: int, event: Event) -> Row | None:
        """That an event is accepted; None if nobody wants to know."""
        return self.row("accepted", event_id, event, status=PENDING, at=micros(event.created))

    def of_step(self, step: Step) -> Row | None:
        """What became of a claimed event. That one is put back without a try is nothing to tell."""
        if step.due is None:
            kind = step.status
        elif step.moved is not None:
            kind = "recycled"
        elif step.attempt is not None:
            kind = "deferred"
        else:
            return None
        if kind not in self._kinds:
            return None
        more: dict[str, Any] = {}
        if step.attempt is not None:
            more = {"attempt": step.attempt.number, "provider": step.attempt.provider, "code": step.attempt.code}
        return self.row(
            kind,
            step.claimed.id,
            step.claimed.event,
            status=step.status,
            at=step.at,
            channel=step.channel,
            brand=step.brand,
            template=step.template,
            reason=step.reason,
            **more,
        )

    def row(
        self,
        kind: str,
        event_id: int,
        event: Event | Row,
        *,
        status: str,
        at: int,
        channel: str = "",
        brand: str = "",
        **more: Any,
    ) -> Row | None:
        """For `insert_notices`: `event` is one, or its row in `events` where the rest of it is gone."""
        if kind not in self._kinds:
            return None
        if isinstance(event, Event):
            event_type, external_id, origin = event.type, event.external_id, event.origin
            channel, brand = channel or event.channel, brand or self._brand(event)
        else:
            event_type, external_id, origin = event["type"], event["external_id"], event["origin"]
            channel, brand = channel or event["channel"], brand or self._brands.get(event_type, "")
        names = self._wanted(kind, event_type, channel, brand)
        if not names:
            return None
        news = {
            "type": event_type,
            "channel": channel,
            "status": status,
            "external_id": external_id,
            "origin": origin,
            "brand": brand,
            **more,
        }
        for key, most in (("reason", MOST_REASON), ("provider", 128), ("code", 64)):
            if key in news:
                news[key] = words(news[key], most)
        return {"id": event_id, "told": to_json([*names]), "kind": kind, "at": at, "news": to_json(news)}

    def of_alert(self, alert: Alert, at: int) -> Row | None:
        """That something with thresholds came to another level at `at`; None if nobody wants to know."""
        names = [name for name, one in self._subscriptions.items() if ALERT in one.kinds and name not in self.full]
        if not names:
            return None
        told = asdict(alert) | {name: optional_micros(getattr(alert, name)) for name in ("since", "measured")}
        news: dict[str, Any] = {"type": "", "channel": "", "status": "", "alert": told}
        return {"id": 0, "told": to_json([*names]), "kind": ALERT, "at": at, "news": to_json(news)}

    async def write(self, rows: Iterable[Row | None], on: Any) -> bool:
        """Within the transaction `on`; whether there was something to write. Call `arrived` after the commit then."""
        told = [row for row in rows if row is not None]
        if told:
            await self._store.rows("insert_notices", told, on=on)
        return bool(told)


def notice(subscription: str, row: Row) -> Notice:
    """As the plugin gets it that has the subscription, by its own name for it."""
    news, about = from_json(row["news"]), str(row["event"])
    if (told := news.get("alert")) is not None:
        times = {name: optional_moment(told[name]) for name in ("since", "measured")}
        news["alert"] = Alert(**{**told, **times})
        about = told["name"]
    key = f"{about}-{row['kind']}-{row['at']}"
    return Notice(subscription, key, row["kind"], row["event"], moment(row["at"]), row["tries"], **news)


__all__ = ["Outbox", "full_name", "notice"]
