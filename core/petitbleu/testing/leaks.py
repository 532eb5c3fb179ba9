"""What is left over: tasks and connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_OPEN = Path("/proc/self/fd")


def _sockets() -> int:
    """How many this process has open; 0 where the machine does not tell."""
    return sum(name.startswith("socket:") for name in _links()) if _OPEN.is_dir() else 0


def _links() -> Iterator[str]:
    for entry in os.listdir(_OPEN):
        # the one by which the folder is read is gone by now
        with suppress(OSError):
            yield os.readlink(_OPEN / entry)


@asynccontextmanager
async def nothing_left(within: float = 5.0) -> AsyncIterator[None]:
    """What was begun inside has ended soon after; raises `AssertionError` and says what has not."""
    tasks, sockets = asyncio.all_tasks(), _sockets()
    yield
    clock = asyncio.get_running_loop().time
    end = clock() + within
    while True:
        left = asyncio.all_tasks() - tasks
        more = _sockets() - sockets
        if not left and more <= 0:
            return
        if clock() > end:
            told = [f"the task {task.get_coro()} is not done" for task in left]
            told += [f"{more} connections are still open"] if more > 0 else []
            raise AssertionError("after the server has stopped, " + "; ".join(told))
        await asyncio.sleep(0.01)
