"""One delivery's way through the throttle, what stands in it, and how a provider is doing, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..queue.shares import Flow
from ..types import Queue
from .lane import Lane, Provider
from .limits import ProviderLimits
from .shared import Pause


class Obstacle(NamedTuple):
    """Why a message cannot go: `paused`, `window` (the provider has as many as it takes), `destination` (others must
    get through too), `concurrency` or `rate` (configured); and where."""

    kind: str
    lane: Lane


@dataclass(frozen=True, slots=True)
class State:
    """Of one provider, as this process sees it; `paused` is the provider's own pause, `destinations` those paused."""

    channel: str
    provider: str
    window: int
    in_use: int
    waiting: int
    paused: Pause | None
    destinations: int
    limits: ProviderLimits


@dataclass(slots=True, eq=False)
class Ticket:
    """One delivery's way through the throttle."""

    channel: str
    flow: Flow
    queue: Queue
    provider: Provider | None = None
    spot: Lane | None = None
    probing: Lane | None = None
    began: int = 0
    asked: int = 0
    """When it first asked for a provider."""

    @property
    def name(self) -> str:
        """Of the provider it is in with."""
        return "" if self.provider is None else self.provider.lane.provider
