"""What everything is compared with: aiosmtplib under uvloop hands one ready-made message to the sink, over and over.

A program of its own: one process, its connections kept open, nothing composed, nothing stored. Prints messages per
second.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

import aiosmtplib
import uvloop

CONNECTIONS = 20
WARM_UP = 0.5


async def measure(port: int, message: bytes, seconds: float) -> float:
    count = 0
    end = float("inf")

    async def send(number: int) -> None:
        nonlocal count
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False) as client:
            while time.monotonic() < end:
                await client.sendmail("bench@example.com", [f"customer{number}@example.com"], message)
                count += 1

    tasks = [asyncio.create_task(send(number)) for number in range(CONNECTIONS)]
    await asyncio.sleep(WARM_UP)
    before, began = count, time.monotonic()
    await asyncio.sleep(seconds)
    rate = (count - before) / (time.monotonic() - began)
    end = 0.0
    await asyncio.gather(*tasks)
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.raw", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--message", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    print(uvloop.run(measure(args.port, args.message.read_bytes(), args.seconds)))


if __name__ == "__main__":
    main()
