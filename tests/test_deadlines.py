"""Waiting has an end even for what cannot be ended."""

from __future__ import annotations

import asyncio

import pytest
from petitbleu.deadlines import within


async def test_what_comes_in_time_is_handed_on_whatever_it_is() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> int:
        raise LookupError("no such thing")

    assert await within(5.0, answer()) == 7
    with pytest.raises(LookupError, match="no such thing"):
        await within(5.0, fail())


async def test_what_refuses_to_end_is_left_behind() -> None:
    cancelled, let_go = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            await let_go.wait()
            raise OSError("too late for anybody to hear of it") from None

    with pytest.raises(TimeoutError):
        await within(0.01, stubborn())
    await asyncio.wait_for(cancelled.wait(), 5)
    let_go.set()


async def test_who_stops_waiting_takes_the_work_along() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(within(60.0, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(ended.wait(), 5)
