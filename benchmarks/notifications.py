"""What the push plugin adds to a client that only sends."""

from __future__ import annotations

import json

from .arithmetic import median
from .bench import Bench
from .processes import output_of, python
from .report import Figure, number

TARGET = 0.4


async def notifications(bench: Bench) -> list[Figure]:
    """APNs and FCM: bare and through the plugin, in turns."""
    words = ["--seconds", str(bench.settings.raw_seconds), "--runs", str(bench.settings.runs)]
    found = json.loads(await output_of(python("benchmarks.pushing", *words)))
    figures = []
    for service, pairs in found.items():
        for bare, plugin in pairs:
            bench.say(f"{service}: {number(plugin)}/s, bare {number(bare)}/s, ratio {plugin / bare:.2f}")
        value, ratio = median([plugin for _, plugin in pairs]), median([plugin / bare for bare, plugin in pairs])
        figures.append(Figure(service, value, "notifications/s", "bare client", ratio, TARGET))
    return figures
