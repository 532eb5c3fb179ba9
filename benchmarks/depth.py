"""Whether a long queue slows down what is due: draining beside very many waiting events, and beside few."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta

from .arithmetic import median
from .bench import Bench
from .report import Figure, number
from .throughput import Part, one_drain, stored

FEW = 1000


async def depth(bench: Bench) -> list[Figure]:
    many = bench.settings.backlog
    rates, ratios = [], []
    async with AsyncExitStack() as stack:
        shallow = await stack.enter_async_context(_beside(bench, FEW))
        deep = await stack.enter_async_context(_beside(bench, many))
        for _ in range(bench.settings.runs):
            before = await _rate(bench, shallow)
            rate = await _rate(bench, deep)
            beside_few = (before + await _rate(bench, shallow)) / 2
            bench.say(
                f"draining beside {many:,} waiting {number(rate)}/s, beside {FEW:,} {number(beside_few)}/s, "
                f"ratio {rate / beside_few:.3f}"
            )
            rates.append(rate)
            ratios.append(rate / beside_few)
    return [Figure(f"drain_beside_{many}", median(rates), "events/s", f"beside {FEW}", median(ratios), 0.8)]


def _beside(bench: Bench, waiting: int) -> AbstractAsyncContextManager[str]:
    """Events to drain, and half of `waiting` due tomorrow, half in the batch queue and due now."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    half = waiting // 2
    return stored(bench, Part(bench.settings.drain_events), Part(half, batch=True), Part(half, scheduled=tomorrow))


async def _rate(bench: Bench, filled: str) -> float:
    # the last tenth is left, so that in both cases real time is what is drained
    rate, _ = await one_drain(bench, filled, bench.settings.drain_events * 9 // 10, "depth")
    return rate
