"""What the console takes from intake: events acknowledged while somebody looks at it, and while nobody does."""

from __future__ import annotations

from itertools import pairwise

from .arithmetic import median
from .bench import Bench
from .browser import Visitor, browser, console_stage
from .envelopes import pushes
from .intake import acknowledged
from .report import Figure, number
from .server import Server

EVERY = 2.0
"""Seconds between two looks. The page itself looks every 5 s."""
LOOKS = ("now/live", "now/throughput", "now/latency", "events?find=order-77", "events?status=failed")


TURNS = 4
"""How often somebody looks in a run, and then nobody: how fast intake is moves more from one minute to the next than
the console could explain, and less from one turn to the next."""


async def console(bench: Bench) -> list[Figure]:
    rates, ratios = [], []
    async with console_stage(bench) as own:
        for _ in range(own.settings.runs):
            async with (
                own.database() as database,
                own.server(database, 1, "intake") as server,
                browser(server.port) as visitor,
            ):
                with_it, without = await _in_turn(own, server, visitor)
            alone = [(before + after) / 2 for before, after in pairwise(without)]
            found = [one / around for one, around in zip(with_it, alone, strict=True)]
            own.say(
                f"intake beside somebody at the console ({visitor.pages} pages) {number(median(with_it))}/s, "
                f"alone {number(median(without))}/s, ratios {' '.join(f'{one:.3f}' for one in found)}"
            )
            rates += with_it
            ratios += found
    return [Figure("intake_beside_console", median(rates), "events/s", "nobody at it", median(ratios), 0.95)]


async def _in_turn(bench: Bench, server: Server, visitor: Visitor) -> tuple[list[float], list[float]]:
    """Events per second while somebody looks, and before, between and after."""

    async def rate() -> float:
        seconds = bench.settings.seconds / TURNS
        return (await acknowledged(bench, server.port, pushes(server.token), seconds))[0]

    with_it, without = [], [await rate()]
    for _ in range(TURNS):
        async with visitor.looking(EVERY, *LOOKS):
            with_it.append(await rate())
        without.append(await rate())
    return with_it, without
