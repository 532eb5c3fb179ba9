"""What a server does beside its requests and its events, for as long as it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Literal

from ..errors import TemplateError
from ..instance import Instance
from ..queue.wakeup import Wakeup

logger = logging.getLogger("petitbleu.server")

Role = Literal["all", "intake", "worker"]
"""`intake` takes requests and never claims; `worker` delivers and answers the health pages only."""


def chores(instance: Instance, role: Role) -> list[Coroutine[Any, Any, None]]:
    """Each goes on until it is cancelled. Those that one process does for all take turns by the database."""
    found = [
        _follow_templates(instance),
        _compare_clocks(instance),
        instance.purge.watch(),
        instance.waiting.watch(),
        instance.rollup.watch(),
        instance.alerting.watch(),
    ]
    if role != "worker" and instance.watchdog is not None:
        found.append(instance.watchdog.watch(instance.gate))
    if role != "intake":
        found.append(instance.telling.run())
        found.append(instance.receipts.run(instance.config.delivery.poll, instance.decisions.decide))
    if instance.wakeup is not None:
        found.append(_wake(instance, instance.wakeup, role))
    return found


def begin(chores: Iterable[Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
    """In the background; of one that fails the log tells at once, and not only when the server stops."""
    background = [asyncio.create_task(one, name=getattr(one, "__qualname__", "")) for one in chores]
    for task in background:
        task.add_done_callback(_ended)
    return background


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s has ended and is missing until a restart", task.get_name(), exc_info=error)


async def _wake(instance: Instance, wakeup: Wakeup, role: Role) -> None:
    """Tell others of work that this process leaves them, and hear of theirs."""
    instance.queue.announce = wakeup.announce
    await wakeup.run(instance.queue.look_again if role != "intake" else None)


async def _follow_templates(instance: Instance) -> None:
    """Notice within a second what another process publishes."""
    while True:
        await asyncio.sleep(1.0)
        try:
            await instance.templates.refresh()
            await warm(instance)
        except Exception as error:
            logger.warning("publications cannot be read: %s", error)


async def warm(instance: Instance) -> None:
    try:
        await instance.templates.warm()
    except TemplateError as error:
        logger.warning("a published template cannot be used: %s", error)


async def _compare_clocks(instance: Instance) -> None:
    while True:
        await asyncio.sleep(60.0)
        try:
            await instance.store.compare_clocks()
        except Exception as error:
            logger.warning("the database's clock cannot be read: %s", error)
