"""Which of a channel's providers a message is given to: pure functions over what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Condition:
    """How a provider is doing, as this process sees it. `seconds` is how long its messages take of late."""

    paused: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failover:
    """What the settings say of a channel's providers. Without `weights` they are used in the order of `providers`;
    those the settings do not name come last, as they are given."""

    providers: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    slow: float | None = None
    """Seconds past which a provider is passed over while another one is quicker."""
    bounced: bool = False
    """Whether the next one is tried when a receipt says that a message will not arrive."""
    no_receipt: float | None = None
    """Seconds without a receipt after which the next one is tried."""

    def ordered(self, candidates: Sequence[str], random: Callable[[], float]) -> list[str]:
        if self.weights:
            return _drawn([(one, self.weights.get(one, 0.0)) for one in candidates], random)
        rank = {name: place for place, name in enumerate(self.providers)}
        return sorted(candidates, key=lambda name: rank.get(name, len(rank)))

    def pick(
        self,
        candidates: Sequence[str],
        avoid: Collection[str],
        condition: Callable[[str], Condition],
        random: Callable[[], float],
    ) -> str:
        """The best of `candidates`, which are not empty: not one to avoid, then not a paused one, then not a slow one,
        as far as there are others."""
        best = self.ordered(candidates, random)
        conditions = {name: condition(name) for name in best}
        best = [name for name in best if name not in avoid] or best
        best = [name for name in best if not conditions[name].paused] or best
        if self.slow is not None:
            best = [name for name in best if conditions[name].seconds <= self.slow] or best
        return best[0]

    def after(self, tried: Collection[str]) -> str | None:
        """The next of the providers the settings name for a message that went to those `tried` in vain."""
        return next((name for name in self.providers if name not in tried), None)


def remaining(candidates: Sequence[str], avoid: Collection[str]) -> bool:
    return any(name not in avoid for name in candidates)


def _drawn(weighted: list[tuple[str, float]], random: Callable[[], float]) -> list[str]:
    """In an order drawn by weight. What has none comes last, as it stands."""
    drawn, rest = [], list(weighted)
    while (total := sum(weight for _, weight in rest)) > 0:
        point = random() * total
        for one in rest:
            if one[1] > 0:
                chosen = one
                point -= one[1]
                if point < 0:
                    break
        rest.remove(chosen)
        drawn.append(chosen[0])
    return drawn + [name for name, _ in rest]
