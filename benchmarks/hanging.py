"""What a plugin that hangs leaves of the others' throughput: mails that one worker process sends, beside events of a
channel whose plugin never answers, and alone.

The relay takes its time for each mail, so that what bounds the rate is the worker's places, which are what hanging
events could take away; a processor that is shared with other programs matters little.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from .arithmetic import median
from .bench import Bench
from .envelopes import Wish
from .report import Figure, number
from .server import make_instance, prepare
from .settings import HERE
from .sink import smtp_sink
from .throughput import Part, one_drain, stored

PLUGIN = {"PYTHONPATH": str(HERE / "hanging_plugin")}
DELAY = 0.3
"""Seconds of the relay for a mail."""
ROOMY = ("plugins.email.providers.sink.connections=60", "delivery.feedback.window=60")
"""More than the worker has places."""
BESIDE = 20
"""One event that hangs for so many mails."""
HOOKS = ("deliver", "admitted", "check_message", "outcome_recorded")


async def hanging(bench: Bench) -> list[Figure]:
    return [await _beside(bench, hook) for hook in HOOKS]


async def _beside(bench: Bench, hook: str) -> Figure:
    events = bench.settings.hanging_events
    rates, ratios = [], []
    async with _stage(bench) as own, stored(own, Part(events)) as alone, stored(own, *_mixed(events)) as mixed:
        for _ in range(own.settings.runs):
            before = await _rate(own, alone, events, "")
            # an observer hangs for everybody's events: there need be none of its own
            rate = await _rate(own, alone if hook == "outcome_recorded" else mixed, events, hook)
            without = (before + await _rate(own, alone, events, "")) / 2
            own.say(
                f"beside a plugin that hangs in {hook} {number(rate)}/s, alone {number(without)}/s, "
                f"ratio {rate / without:.3f}"
            )
            rates.append(rate)
            ratios.append(rate / without)
    return Figure(f"beside_hanging_{hook}", median(rates), "events/s", "alone", median(ratios), 0.95)


def _mixed(events: int) -> tuple[Part, ...]:
    """Those that hang are spread among the others, the first of them before all."""
    pieces = 5
    one = (Part(max(1, events // BESIDE // pieces), wish=Wish("hang")), Part(events // pieces))
    return one * pieces


async def _rate(bench: Bench, filled: str, events: int, hook: str) -> float:
    # the worker that is alone has the plugin too, which then hangs for nobody
    setting = f"plugins.hangs.hook={hook or 'deliver'}"
    assignments = (*bench.settings.assignments, *ROOMY, setting)
    own = replace(bench, settings=replace(bench.settings, assignments=assignments))
    rate, _ = await one_drain(own, filled, events * 9 // 10, "hanging", processes=1)
    return rate


@asynccontextmanager
async def _stage(bench: Bench) -> AsyncIterator[Bench]:
    """With the plugin, and a database of its own."""
    async with AsyncExitStack() as stack:
        folder = bench.folder / "hanging"
        folder.mkdir(exist_ok=True)
        base = await stack.enter_async_context(bench.postgres.fresh())
        sink = await stack.enter_async_context(smtp_sink(folder, delay=DELAY))
        templates = HERE / "instance_hanging" / "templates"
        directory = folder / f"instance-{base}"
        plugins = [{"hangs": {"hook": "deliver"}}]
        instance = make_instance(directory, "sqlite://unused.db", sink.port, plugins, templates)
        await prepare(instance, [f"database={bench.postgres.database(base)}"], PLUGIN)
        yield replace(bench, folder=folder, sink=sink, instance=instance, base=base, environment=PLUGIN)
