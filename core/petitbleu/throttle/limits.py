"""What an administrator allows providers, and how a provider's answers are heeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ANY = "*"
"""Stands for each destination that is not named."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Of all processes together: messages a second, and messages at once. `None`: as many as there are."""

    rate: float | None = None
    concurrency: int | None = None


UNLIMITED = Limit()


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """Of one provider, and of the destinations behind it."""

    whole: Limit = UNLIMITED
    destinations: Mapping[str, Limit] = field(default_factory=dict)

    def of(self, destination: str) -> Limit:
        return self.destinations.get(destination) or self.destinations.get(ANY) or UNLIMITED


@dataclass(frozen=True, slots=True)
class Feedback:
    """`places` is the worker's concurrency; the rest as in `delivery.feedback` of the configuration, in seconds."""

    places: int = 50
    window: int = 10
    pause: float = 5.0
    pause_cap: float = 300.0
    wait: float = 2.0
    back_cap: float = 30.0
    lease: float = 30.0

    @property
    def stake(self) -> int:
        """Places one provider may take from the others: as many for messages it has as for some that wait for it."""
        return max(1, self.places // 20)


__all__ = ["ANY", "UNLIMITED", "Feedback", "Limit", "ProviderLimits"]
