"""A plugin that misbehaves when an event asks for it: `ctx.do` names what it shall do while the event is enriched."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping

from petitbleu import Event, hookimpl


def _overflow() -> None:
    """Runs the interpreter's own stack over, which no exception stops."""
    ctypes.pythonapi.Py_FatalError(b"stack overflow")


DEEDS: Mapping[str, Callable[[], object]] = {
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "overflow": _overflow,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raise": lambda: 1 / 0,
}


@hookimpl
async def petitbleu_enrich_event(event: Event) -> Event | None:
    ctx = event.data.get("ctx")
    word = str(ctx.get("do", "")) if isinstance(ctx, Mapping) else ""
    name, _, seconds = word.partition(" ")
    if name == "block":
        time.sleep(float(seconds))  # noqa: ASYNC251 - that is the fault
    elif name == "hang":
        await asyncio.sleep(float(seconds))
    elif name in DEEDS:
        DEEDS[name]()
    return None
