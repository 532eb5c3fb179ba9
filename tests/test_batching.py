"""Writes that many callers share."""

from __future__ import annotations

import asyncio

from petitbleu.batching import Batcher


class Writes:
    """What was written together, each write held back until it may end."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []
        self.may_end = asyncio.Semaphore(0)

    async def __call__(self, items: list[str]) -> list[int]:
        self.made.append(items)
        await self.may_end.acquire()
        return [len(item) for item in items]


async def all_of(batcher: Batcher[str, int], writes: Writes, items: list[str]) -> list[int]:
    adding = [batcher.begin(item) for item in items]
    for _ in items:
        writes.may_end.release()
    return await asyncio.gather(*adding)


async def test_what_comes_together_is_written_together() -> None:
    writes = Writes()
    batcher = Batcher(writes, most=2)
    assert await all_of(batcher, writes, ["a", "bb", "ccc"]) == [1, 2, 3]
    assert writes.made == [["a", "bb"], ["ccc"]]


async def test_a_write_ends_where_the_next_item_is_too_heavy() -> None:
    writes = Writes()
    batcher = Batcher(writes, most=5, weigh=len)
    assert await all_of(batcher, writes, ["aa", "bbb", "c", "ddddd", "e"]) == [2, 3, 1, 5, 1]
    assert writes.made == [["aa", "bbb"], ["c"], ["ddddd"], ["e"]]


async def test_what_is_heavier_than_a_write_is_written_alone() -> None:
    writes = Writes()
    batcher = Batcher(writes, most=3, weigh=len)
    assert await all_of(batcher, writes, ["a", "bbbbbb", "cc"]) == [1, 6, 2]
    assert writes.made == [["a"], ["bbbbbb"], ["cc"]]


async def test_items_that_weigh_nothing_end_no_write() -> None:
    writes = Writes()
    batcher = Batcher(writes, most=1, weigh=len)
    assert await all_of(batcher, writes, ["", "", "a", "", "b"]) == [0, 0, 1, 0, 1]
    assert writes.made == [["", "", "a", ""], ["b"]]


async def test_who_comes_while_one_is_written_goes_into_the_next() -> None:
    writes = Writes()
    batcher = Batcher(writes, most=10)
    first = batcher.begin("a")
    await asyncio.sleep(0)
    later = [batcher.begin("b"), batcher.begin("c")]
    writes.may_end.release()
    assert await first == 1
    writes.may_end.release()
    assert await asyncio.gather(*later) == [1, 1]
    assert writes.made == [["a"], ["b", "c"]]


async def test_what_a_cancelled_caller_gave_is_written_all_the_same() -> None:
    """An answer of a provider that was given to be stored is not lost with whoever waits for it."""
    writes = Writes()
    batcher = Batcher(writes, most=10)
    first, second, third = (asyncio.create_task(batcher.add(item)) for item in ("a", "bb", "ccc"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    writes.may_end.release()
    assert [await first, await third] == [1, 3]
    assert second.cancelled()
    assert writes.made == [["a", "bb", "ccc"]]
