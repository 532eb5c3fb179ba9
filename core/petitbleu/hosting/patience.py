"""Waiting for what a plugin does: for as long as it may take, and not for ever if it does not heed being cancelled.

A coroutine that was begun is resumed here step by step, in the task of whoever waits. So it can be left: one that goes
on though its time is over is closed at its place, and the task goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from functools import partial
from types import NoneType, coroutine
from typing import Any

GIVE_UP = "give up"
"""The message of a cancellation after which a plugin's call is waited for no more, whatever it does."""
_AT_ONCE = (NoneType, asyncio.Future)
"""What ends as soon as it is cancelled. A task may have other ideas."""


class OutOfTime(Exception):
    """`ignored`: it went on though it was cancelled, and was left where it stood."""

    def __init__(self, ignored: bool) -> None:
        self.ignored = ignored
        super().__init__()


async def patiently(running: Coroutine[Any, Any, Any], waiting: Any, seconds: float, grace: float) -> Any:
    """What `running` returns, which was begun already and waits for `waiting`.

    After `seconds` it is cancelled, and left if that does not end it within `grace` seconds more; so it is when this
    task is cancelled with the message `GIVE_UP`. Raises `OutOfTime`, and whatever `running` does.
    """
    left: list[bool] = []
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await _resumed(running, waiting, limit, grace, left)
    except TimeoutError as error:
        if limit.expired():
            raise OutOfTime(bool(left)) from error
        raise


@coroutine
def _resumed(
    running: Coroutine[Any, Any, Any], waiting: Any, limit: asyncio.Timeout, grace: float, left: list[bool]
) -> Generator[Any, Any, Any]:
    loop = asyncio.get_running_loop()
    task: Any = asyncio.current_task(loop)
    last: asyncio.TimerHandle | None = None
    try:
        while True:
            direct = type(waiting) in _AT_ONCE
            try:
                sent = (yield waiting) if direct else (yield from _beside(waiting, loop))
            except GeneratorExit:
                running.close()
                raise
            except asyncio.CancelledError as error:
                if error.args == (GIVE_UP,):
                    left.append(True)
                    if last is not None:
                        # ours; the time-out knows of its own only
                        task.uncancel()
                    _leave(running)
                    raise
                if not direct and not waiting.done() and waiting.cancel():
                    # it hears of its cancellation when what it waits for has ended by that
                    if last is None and limit.expired():
                        last = loop.call_later(grace, task.cancel, GIVE_UP)
                    continue
                go, value = running.throw, error
            except BaseException as error:
                go, value = running.throw, error  # type: ignore[assignment]
            else:
                go, value = running.send, sent  # type: ignore[assignment]
            try:
                waiting = go(value)
            except StopIteration as stop:
                return stop.value
            except GeneratorExit as error:
                raise RuntimeError("GeneratorExit") from error
            if last is None and limit.expired():
                last = loop.call_later(grace, task.cancel, GIVE_UP)
    finally:
        if last is not None:
            last.cancel()


def _beside(waiting: Any, loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, Any]:
    """Until `waiting` is done, by way of a future of our own, which can be cancelled without it."""
    waiting._asyncio_future_blocking = False  # as a task does with what a coroutine yields
    own: asyncio.Future[None] = loop.create_future()
    waiting.add_done_callback(partial(_done, own))
    yield from own


def _done(own: asyncio.Future[None], waiting: asyncio.Future[Any]) -> None:
    if not own.done():
        own.set_result(None)


def _leave(running: Coroutine[Any, Any, Any]) -> None:
    # it had its chance: what it says now, or that it goes on, is of no interest
    with suppress(BaseException):
        running.close()


__all__ = ["GIVE_UP", "OutOfTime", "patiently"]
