"""Publish events to the queue that `petitbleu_amqp` reads: one JSON object a line on standard input.

    python publish.py amqp://guest:guest@127.0.0.1/ petitbleu.events < events.jsonl

What matters, whatever the language: a durable queue and persistent messages, a `message_id` that stays the same when a
message is published again, `mandatory`, and waiting for the broker's confirmation before an event counts as reported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable

import aiormq


async def publish(url: str, queue: str, events: Iterable[bytes]) -> int:
    """How many were confirmed. Raises what the broker says against it: publish again what was not confirmed."""
    connection = await aiormq.connect(url)
    try:
        channel = await connection.channel(publisher_confirms=True)
        count = 0
        for event in events:
            about = json.loads(event)
            properties = aiormq.spec.Basic.Properties(
                content_type="application/json",
                delivery_mode=2,
                message_id=about.get("externalId"),
                app_id=about.get("origin", "publish.py"),
            )
            await channel.basic_publish(event, routing_key=queue, properties=properties, mandatory=True)
            count += 1
        return count
    finally:
        await connection.close()


if __name__ == "__main__":
    lines = (line for line in sys.stdin.buffer if line.strip())
    print(asyncio.run(publish(sys.argv[1], sys.argv[2], lines)), "confirmed")
