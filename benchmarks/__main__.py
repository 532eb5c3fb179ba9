"""`python -m benchmarks [NAME…]`: measure the named figures, or all of them."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import uvloop

from . import (
    author,
    channels,
    claims,
    console,
    depth,
    hanging,
    intake,
    latency,
    memory,
    post_office,
    receipts,
    search,
    throughput,
    year,
)
from .bench import Bench, stage
from .processes import Failed, busy_seconds, cpu_seconds
from .report import Figure, table, with_company, write
from .settings import OUT, Settings, from_environment

Measure = Callable[[Bench], Awaitable[list[Figure]]]

MEASURES: Mapping[str, Measure] = {
    "raw": throughput.raw,
    "end_to_end": throughput.end_to_end,
    "post_office": post_office.post_office,
    "intake": intake.intake,
    "push_events": intake.push_events,
    "rest_intake": intake.rest_intake,
    "console": console.console,
    "drain": throughput.drain,
    "latency": latency.latency,
    "sqlite": throughput.sqlite,
    "claims": claims.claims,
    "depth": depth.depth,
    "receipts": receipts.receipts,
    "sms": channels.sms,
    "apns": channels.apns,
    "fcm": channels.fcm,
    "hanging": hanging.hanging,
    "search": search.search,
    "year": year.year,
    "memory": memory.memory,
    "relaxed": throughput.relaxed,
    "author": author.author,
}
"""By name, in the order in which all of them are measured."""


async def measure(names: Sequence[str], settings: Settings) -> None:
    figures: list[Figure] = []
    if (task := asyncio.current_task()) is not None:
        # everything that was started is stopped, as on Ctrl-C
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with stage(settings) as bench:
        print(f"PostgreSQL: {bench.postgres.origin}; sink: {bench.sink.name}; {os.cpu_count()} processors", flush=True)
        for name in names:
            print(name, flush=True)
            began, before = time.monotonic(), _others()
            found = await MEASURES[name](bench)
            taken = (_others() - before) / (time.monotonic() - began) / (os.cpu_count() or 1)
            figures += with_company(found, taken)
            write(figures, OUT / "bench.json")
    print(f"\n{table(figures)}\n\nwritten to {OUT / 'bench.json'}")


def _others() -> float:
    """Seconds of processor time that neither this program nor anything it started has used."""
    return busy_seconds() - cpu_seconds(os.getpid())


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description="How fast Petitbleu is; see benchmarks/README.md.")
    parser.add_argument("names", nargs="*", choices=[[], *MEASURES], metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--profile", action="store_true", help="let py-spy watch a process of the server")
    args = parser.parse_args()
    try:
        uvloop.run(measure(args.names or list(MEASURES), from_environment(os.environ, args.profile)))
    except (Failed, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
