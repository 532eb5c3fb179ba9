"""Claims events and completes them, delivering nothing, through the queue that the worker uses: a program of its own.

It says `ready`, waits for a line, works until no event is due, and writes every id it claimed to a file. Its last line
is the time (CLOCK_MONOTONIC, seconds) of its last record.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import uvloop
from petitbleu.queue.queue import WorkQueue
from petitbleu.steps import AttemptRecord, Claimed, Step
from petitbleu.store import open_store
from petitbleu.types import Queue

AT_ONCE = 2
"""While the outcomes of one batch are written, the next is claimed, as in a worker."""


def sent(claimed: Claimed, now: int) -> Step:
    """What a worker records about a mail that was accepted."""
    attempt = AttemptRecord(
        number=claimed.attempts + 1,
        channel="email",
        provider="sink",
        template="bench/email/1",
        started=claimed.claimed_at,
        ended=now,
        outcome="delivered",
        code="250",
        text="250 2.0.0 Ok",
        reference=f"<{claimed.id}@bench>",
    )
    return Step(
        claimed,
        "sent",
        "",
        "email",
        template="bench/email/1",
        tries=claimed.tries + 1,
        attempts=claimed.attempts + 1,
        attempt=attempt,
        at=now,
    )


async def work(url: str, batch: int) -> tuple[list[int], float]:
    ids: list[int] = []
    async with open_store(url) as store:
        queue = WorkQueue(store, 1, 30.0)
        await store.rows("now")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

        async def one() -> None:
            while claimed := await queue.claim(Queue.REALTIME, batch):
                ids.extend(event.id for event in claimed)
                now = store.now()
                if not all(await asyncio.gather(*(queue.record(sent(event, now)) for event in claimed))):
                    raise RuntimeError("a lease was lost while it was held")

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        return ids, time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.claimer", description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--ids", type=Path, required=True)
    args = parser.parse_args()
    ids, ended = uvloop.run(work(args.database, args.batch))
    args.ids.write_text("".join(f"{event}\n" for event in ids))
    print(ended, flush=True)


if __name__ == "__main__":
    main()
