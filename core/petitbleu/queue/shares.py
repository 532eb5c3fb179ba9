"""Who gets the free places of a worker: weighted shares between brands, and between the event types of each.

A place goes to whoever has the least of them for its weight. So a flood of one type waits for its own share while the
others pass it, and where nobody else has work it takes all there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple


class Flow(NamedTuple):
    """What waits its turn together: the events of one type for one channel."""

    channel: str
    type: str


@dataclass(frozen=True, slots=True)
class Shares:
    """`brands` says for which brand the events of a type speak; weights are 1 where none is given."""

    brands: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    brand_weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    type_weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def places(self, room: int, waiting: Iterable[Flow], taken: Mapping[Flow, int], most: int) -> dict[Flow, int]:
        """How many of `room` free places each of the `waiting` flows may take; none may have more than `most` in all.

        `taken` are the places each flow has already. Flows that get nothing are left out.
        """
        flows = [flow for flow in dict.fromkeys(waiting) if taken.get(flow, 0) < most]
        if len(flows) == 1:
            (only,) = flows
            return {only: min(room, most - taken.get(only, 0))} if room > 0 else {}
        by_brand: Counter[str] = Counter()
        for flow, places in taken.items():
            by_brand[self._brand(flow)] += places
        given: Counter[Flow] = Counter()
        for _ in range(room):
            if not flows:
                break
            least = min(flows, key=self._measure(by_brand, given, taken))
            given[least] += 1
            by_brand[self._brand(least)] += 1
            if given[least] + taken.get(least, 0) >= most:
                flows.remove(least)
        return dict(given)

    def _measure(
        self, by_brand: Mapping[str, int], given: Mapping[Flow, int], taken: Mapping[Flow, int]
    ) -> Callable[[Flow], tuple[float, float]]:
        def measure(flow: Flow) -> tuple[float, float]:
            brand = self._brand(flow)
            own = given[flow] + taken.get(flow, 0)
            return (
                (by_brand[brand] + 1) / self.brand_weights.get(brand, 1.0),
                (own + 1) / self.type_weights.get(flow.type, 1.0),
            )

        return measure

    def _brand(self, flow: Flow) -> str:
        return self.brands.get(flow.type, "")


__all__ = ["Flow", "Shares"]
