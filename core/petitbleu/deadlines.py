"""A limit on how long somebody waits, whatever it is they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """As under `asyncio.timeout`, but what is given up is cancelled and not waited for.

    A statement to a database that has gone silent cannot end at once: telling the database so takes an answer, too.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except BaseException:
        _leave(task)
        raise
    if done:
        return task.result()
    _leave(task)
    raise TimeoutError


def _leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    task.add_done_callback(_heard)


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody else will ask


__all__ = ["within"]
