"""What the JSON door is compared with: aiohttp under uvloop that reads the same JSON, and stores the event in the same
way and with the same commits, and nothing else. It knows nobody and checks nothing. A program of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
from datetime import UTC, datetime

import orjson
import uvloop
from aiohttp import web
from petitbleu import Event, Queue, elements
from petitbleu.queue.queue import WorkQueue
from petitbleu.store import open_store


async def serve(port: int, database: str) -> None:
    async with open_store(database) as store:
        queue = WorkQueue(store, 1, 30.0)

        async def handle(request: web.Request) -> web.Response:
            data = elements(orjson.loads(await request.read()))
            now = datetime.now(UTC)
            addresses = {"email": data["email"]}
            (event_id,) = await queue.put([Event(0, "bench", Queue.REALTIME, "email", data, now, addresses)])
            body = orjson.dumps({"id": str(event_id)})
            return web.Response(status=202, body=body, content_type="application/json")

        app = web.Application()
        app.router.add_post("/api/v1/events/bench", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1000).start()
        await stop.wait()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.json_store", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    told = parser.parse_args()
    uvloop.run(serve(told.port, told.database))


if __name__ == "__main__":
    main()
