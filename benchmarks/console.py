"""What the console takes from intake: events acknowledged while somebody looks at it, and while nobody does."""

from __future__ import annotations

from .arithmetic import median
from .bench import Bench
from .browser import browser, console_stage
from .envelopes import pushes
from .intake import acknowledged
from .report import Figure, number

EVERY = 2.0
"""Seconds between two looks. The page itself looks every 5 s."""
LOOKS = ("now/live", "now/throughput", "now/latency", "events?find=order-77", "events?status=failed")


async def console(bench: Bench) -> list[Figure]:
    rates, ratios = [], []
    async with console_stage(bench) as own:
        for _ in range(own.settings.runs):
            async with own.database() as database, own.server(database, 1, "intake") as server:
                before, _ = await acknowledged(own, server.port, pushes(server.token))
                async with browser(server.port) as visitor, visitor.looking(EVERY, *LOOKS):
                    rate, _ = await acknowledged(own, server.port, pushes(server.token))
                after, _ = await acknowledged(own, server.port, pushes(server.token))
            alone = (before + after) / 2
            own.say(
                f"intake beside somebody at the console ({visitor.pages} pages) {number(rate)}/s, "
                f"alone {number(alone)}/s, ratio {rate / alone:.3f}"
            )
            rates.append(rate)
            ratios.append(rate / alone)
    return [Figure("intake_beside_console", median(rates), "events/s", "nobody at it", median(ratios), 0.95)]
