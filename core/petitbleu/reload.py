"""Reloads as all servers on a database hear of them, and what came of it: a request in the table `installation`, the
answers in the audit. So they reach every machine, and whoever asks needs no way to the servers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable

from .audit import ITSELF, Change, record, recorded
from .operating import Actor, Reloaded
from .store import Store

logger = logging.getLogger("petitbleu.server")

LOOK = 1.0
"""Seconds between looks whether anybody asks for it."""
_ACTION = "reload"
_MOST_REASON = 2000


async def ask(store: Store, actor: Actor) -> str:
    """Ask all servers to reload; gives by what their answers are known."""
    request = secrets.token_hex(8)
    async with store.transaction() as transaction:
        await store.rows("ask_reload", request, on=transaction)
        await record(store, [Change(f"{_ACTION}.request", "servers", {"request": request})], actor, transaction)
    return request


async def follow(store: Callable[[], Store], requests: asyncio.Queue[str]) -> None:
    """Put into `requests` whatever is asked for from now on, until cancelled; `store` gives the one in use."""
    known: str | None = None
    while True:
        try:
            rows = await store().read("SELECT value FROM installation WHERE name = ?", [_ACTION])
            found = rows[0]["value"] if rows else ""
            if known is not None and found != known:
                requests.put_nowait(found)
            known = found
        except Exception as error:
            logger.warning("whether to reload cannot be read: %s", error)
        await asyncio.sleep(LOOK)


async def heard(store: Store, request: str) -> None:
    """Write down that this server looks at it, so that who asked waits for the answer."""
    if request:
        await _write(store, Change(f"{_ACTION}.heard", _server(), {"request": request}))


async def answer(store: Store, request: str, reason: str) -> None:
    """Write down that this server has taken the configuration over, or, with a `reason`, has not."""
    if reason:
        logger.error("not reloaded: %s", reason, extra={"request": request})
    else:
        logger.info("reloaded", extra={"request": request})
    await _write(store, Change(_ACTION, _server(), {"request": request, "reason": reason[:_MOST_REASON]}))


async def answers(store: Store, request: str) -> list[Reloaded]:
    """Of every server that has heard of it."""
    found: dict[str, Reloaded] = {}
    for one in await recorded(store, action=_ACTION, limit=1000):  # the latest first
        if one.action != f"{_ACTION}.request" and one.detail.get("request") == request:
            reason = one.detail.get("reason")
            found.setdefault(one.object, Reloaded(one.object, None if reason is None else not reason, reason or ""))
    return sorted(found.values(), key=lambda one: one.server)


def _server() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


async def _write(store: Store, change: Change) -> None:
    try:
        async with store.transaction() as transaction:
            await record(store, [change], ITSELF, transaction)
    except Exception as error:
        logger.warning("%s is not in the audit: %s", change.action, error)
