"""A server that dies, as by kill -9, after it has stored what a queue had and before it has said so to the broker.

python dying_server.py FOLDER DATABASE PLUGIN-SETTINGS-AS-JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from petitbleu import Event, hookimpl
from petitbleu.testing import RecordingChannel, serving

TYPES = {"note": {"idempotency": "1d"}}
TEMPLATES = {"note/record": {"body.txt.j2": "Hello {{ rtEvent.ctx.name }}"}}


class Killer:
    @hookimpl
    async def petitbleu_event_accepted(self, event: Event) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: str, database: str, settings: str) -> None:
    modules = {"killer": Killer(), "recorder": RecordingChannel()}
    plugins = {"amqp": json.loads(settings)}
    async with serving(
        Path(folder),
        plugins=plugins,
        modules=modules,
        event_types=TYPES,
        templates=TEMPLATES,
        database=database,
    ):
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
