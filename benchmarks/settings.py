"""How long and how often: read once from the environment, passed on as a value."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUT = HERE / "out"


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds and sizes of the measurements. `assignments` are passed to the server as `--set`."""

    seconds: float = 20.0
    runs: int = 5
    raw_seconds: float = 5.0
    latency_seconds: float = 60.0
    warm_up: float = 4.0
    drain_events: int = 50_000
    claim_events: int = 100_000
    backlog: int = 1_000_000
    memory_events: int = 100_000
    search_events: int = 1_000_000
    receipts: int = 20_000
    channel_events: int = 20_000
    hanging_events: int = 4_000
    open_receipts: int = 100_000
    folder: Path = Path(tempfile.gettempdir())
    assignments: tuple[str, ...] = ()
    profile: bool = False


def from_environment(environment: Mapping[str, str], profile: bool = False) -> Settings:
    """`BENCH_SECONDS` and its siblings; README.md lists them. Raises `ValueError` naming the variable that is wrong."""

    def number(name: str, default: float) -> float:
        text = environment.get(name, "")
        try:
            value = float(text) if text else default
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise ValueError(f"{name}={text} should be a number above 0")
        return value

    default = Settings()
    seconds = number("BENCH_SECONDS", default.seconds)
    return Settings(
        seconds=seconds,
        runs=max(1, int(number("BENCH_RUNS", default.runs))),
        raw_seconds=number("BENCH_RAW_SECONDS", max(2.0, seconds / 4)),
        latency_seconds=number("BENCH_LATENCY_SECONDS", default.latency_seconds),
        warm_up=number("BENCH_WARM_UP", default.warm_up),
        drain_events=int(number("BENCH_DRAIN_EVENTS", default.drain_events)),
        claim_events=int(number("BENCH_CLAIM_EVENTS", default.claim_events)),
        backlog=int(number("BENCH_BACKLOG", default.backlog)),
        search_events=int(number("BENCH_SEARCH_EVENTS", default.search_events)),
        memory_events=int(number("BENCH_MEMORY_EVENTS", default.memory_events)),
        channel_events=int(number("BENCH_CHANNEL_EVENTS", default.channel_events)),
        hanging_events=int(number("BENCH_HANGING_EVENTS", default.hanging_events)),
        receipts=int(number("BENCH_RECEIPTS", default.receipts)),
        open_receipts=int(number("BENCH_OPEN_RECEIPTS", default.open_receipts)),
        folder=Path(environment.get("BENCH_DIR") or default.folder),
        assignments=tuple(shlex.split(environment.get("BENCH_SET", ""))),
        profile=profile,
    )
