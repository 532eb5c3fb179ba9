"""The tasks that plugins make: whose they are, how many live, and their end.

A task factory looks who asks for a task. One of a plugin is counted until it ends; one that exits ends itself, not the
process; and what is still there when the plugin's lifespan is over is cancelled, and named.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..types import Check
from .owners import Owners

logger = logging.getLogger("petitbleu.plugins")

MOST_NAMES = 5
"""Kinds of tasks that are named."""


class Offspring:
    """More than `most` living tasks of one plugin are a warning; a task that is cancelled at the end has `grace`
    seconds."""

    def __init__(self, owners: Owners, most: int, grace: float) -> None:
        self._owners = owners
        self._most = most
        self._grace = grace
        self._alive: dict[str, set[asyncio.Task[Any]]] = {}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While tasks of this loop are looked at."""
        loop = asyncio.get_running_loop()
        before: Callable[..., Any] = loop.get_task_factory() or _task

        def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
            plugin = self._owners.creator(sys._getframe(1))
            if plugin is None:
                return before(loop, work, **options)
            task = before(loop, _Contained(work, plugin), **options)
            alive = self._alive.get(plugin)
            if alive is None:
                alive = self._alive[plugin] = set()
            alive.add(task)
            task.add_done_callback(alive.discard)
            return task

        factory: Any = make
        loop.set_task_factory(factory)
        try:
            yield
        finally:
            if loop.get_task_factory() is factory:
                loop.set_task_factory(None if before is _task else before)

    def living(self) -> Mapping[str, int]:
        """By plugin."""
        return {plugin: len(tasks) for plugin, tasks in self._alive.items()}

    def checks(self) -> dict[str, list[Check]]:
        return {
            plugin: [Check("tasks", True, f"{len(tasks)} tasks live: {_names(tasks)}", warning=True)]
            for plugin, tasks in self._alive.items()
            if len(tasks) > self._most
        }

    async def end(self, plugin: str) -> None:
        """Cancel what is left of a plugin whose lifespan is over, and say so. What it has cancelled itself may end
        first."""
        await asyncio.sleep(0)
        left = {task for task in self._alive.get(plugin, ()) if not _ending(task)}
        for task in left:
            task.cancel()
        if left:
            logger.warning(
                "plugin %s left %d tasks behind: %s", plugin, len(left), _names(left), extra={"plugin": plugin}
            )
        if rest := self._alive.get(plugin):
            _, deaf = await asyncio.wait(list(rest), timeout=self._grace)
            if deaf:
                text = "plugin %s: %d tasks go on though they were cancelled: %s"
                logger.warning(text, plugin, len(deaf), _names(deaf), extra={"plugin": plugin})


def _task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
    return asyncio.Task(work, loop=loop, **options)


def _ending(task: asyncio.Task[Any]) -> bool:
    return task.done() or task.cancelling() > 0


def _names(tasks: set[asyncio.Task[Any]]) -> str:
    """What they run, most of them first."""
    names = Counter(str(getattr(task.get_coro(), "__qualname__", "?"))[:100] for task in tasks)
    first = sorted(names.items(), key=lambda one: (-one[1], one[0]))[:MOST_NAMES]
    return ", ".join(f"{name} ({times})" if times > 1 else name for name, times in first)


class Exited(Exception):
    """A task of a plugin wanted to end the process."""


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that cannot end the process: asyncio lets `SystemExit` and `KeyboardInterrupt` of a task through to
    whoever runs the loop."""

    def __init__(self, work: Any, plugin: str) -> None:
        self._work = work
        self._plugin = plugin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)

    def _exited(self, error: BaseException) -> Exited:
        return Exited(f"a task of plugin {self._plugin}: {type(error).__name__}")

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        try:
            return self._work.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._exited(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._work.throw(*error)
        except (SystemExit, KeyboardInterrupt) as own:
            raise self._exited(own) from own

    def close(self) -> None:
        self._work.close()


__all__ = ["Exited", "Offspring"]
