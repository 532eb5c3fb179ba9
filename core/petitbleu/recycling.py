"""Recycling: when an event does not get through by one channel, which other one it goes by. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .types import Event, Recycle

FAILURES = ("failed", "expired", "unknown", "bounced", "no_receipt")


@dataclass(frozen=True, slots=True)
class RecyclingRule:
    """When an event with every line of `when` ends by one of the failures `on`, it goes on by the channel `to`.

    `after` is for how many seconds a receipt is waited for before it counts as `no_receipt`.
    """

    when: Mapping[str, str]
    on: frozenset[str]
    to: str
    after: float | None = None

    def holds(self, event: Event, channel: str, failure: str) -> bool:
        values = {
            "channel": channel,
            "type": event.type,
            "queue": event.queue.value,
            "origin": event.origin,
            "language": event.language,
            "country": event.country,
        }
        return failure in self.on and all(values[name] == value for name, value in self.when.items())


@dataclass(frozen=True, slots=True)
class Recycling:
    """The rules of the configuration, in their order. `addresses` tells which address each channel needs."""

    rules: tuple[RecyclingRule, ...]
    addresses: Mapping[str, str]

    def answer(self, event: Event, channel: str, failure: str) -> Recycle | None:
        """What the first rule that holds says, if the event can be sent that way."""
        for rule in self.rules:
            if rule.to != channel and rule.holds(event, channel, failure):
                return Recycle(rule.to, _WORDS[failure].format(channel)) if self.reachable(event, rule.to) else None
        return None

    def wait(self, event: Event, channel: str) -> float | None:
        """For how many seconds a receipt is waited for before a rule wants to know."""
        waits = [
            rule.after
            for rule in self.rules
            if rule.after is not None
            and rule.to != channel
            and rule.holds(event, channel, "no_receipt")
            and self.reachable(event, rule.to)
        ]
        return waits[0] if waits else None

    def reachable(self, event: Event, channel: str) -> bool:
        return channel in self.addresses and bool(event.addresses.get(self.addresses[channel]))


_WORDS = {
    "failed": "{} did not take it",
    "expired": "{} did not take it in time",
    "unknown": "nobody knows whether {} has it",
    "bounced": "by {} it did not arrive",
    "no_receipt": "no receipt came for it by {}",
}


def links(chain: str) -> Sequence[str]:
    return chain.split()


def longer(chain: str, channel: str, target: str) -> str | None:
    """The chain with `target` at its end; `None` if the event has been there: it goes nowhere twice."""
    been: Collection[str] = links(chain) or [channel]
    return None if target in been else " ".join([*been, target])


__all__ = ["FAILURES", "Recycling", "RecyclingRule", "links", "longer"]
