"""What the steps of one delivery cost when nothing is sent or stored: `python -m benchmarks.stages [EVENTS]`.

Every event has other data than all others, since whatever is remembered of the last one would flatter. Each step is
timed over all events in a loop of its own; then all of them event by event, as a worker goes, and in groups that go
through one step after the other. Prints microseconds of processor time for an event, the best of `ROUNDS`.
"""

from __future__ import annotations

import argparse
import gc
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop
from petitbleu import Delivered, Event, Message, Queue, incoming_event, parse_xml
from petitbleu.delivery.delivery import Delivery, Work
from petitbleu.instance import Instance, open_instance
from petitbleu.logs import set_up
from petitbleu.reports.tally import Tally
from petitbleu.serving.serving import GC_THRESHOLD
from petitbleu.steps import Claimed, Step, step_row
from petitbleu.store.payload import decode, encode
from petitbleu_email.compose import Composer
from petitbleu_soap_ingest.envelope import read_envelope

from .envelopes import pushes
from .server import make_instance, prepare

ROUNDS = 4
GROUPS = (1, 2, 5, 20, 100)
_ANSWER = Delivered("sink", "250 2.0.0 Ok", "250 2.0.0", "")


@dataclass(frozen=True, slots=True)
class Stages:
    """The steps, each over some events. Nothing in them waits, so each is run to its end at once."""

    instance: Instance
    delivery: Delivery
    composer: Composer
    tally: Tally

    def read(self, texts: Sequence[tuple[int, str]]) -> list[Event]:
        return [decode(number, text) for number, text in texts]

    def work(self, events: Sequence[Event]) -> list[Work]:
        now = self.instance.store.now()
        return [Work(Claimed(one.id, "lease", one, 0, 0, 0, 0, "", now, None), one.channel) for one in events]

    def messages(self, works: Sequence[Work]) -> list[Message]:
        return [_run(self.delivery._message(work, work.claimed.event)) for work in works]

    def mails(self, messages: Sequence[Message]) -> list[object]:
        return [self.composer.compose(message) for message in messages]

    def steps(self, works: Sequence[Work]) -> list[Step]:
        return [self.delivery._ends.outcome(work, _ANSWER) for work in works]

    def rows(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        return [step_row(step, self.tally) for step in steps]

    def observers(self, events: Sequence[Event]) -> None:
        for event in events:
            _run(self.instance.calls.outcome_recorded(event, "sent", _ANSWER, _ANSWER.text))

    def all(self, texts: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
        events = self.read(texts)
        works = self.work(events)
        self.mails(self.messages(works))
        rows = self.rows(self.steps(works))
        self.observers(events)
        return rows


def _run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a step waits for something")


def _best(events: int, run: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        run()
        took.append(time.process_time() - began)
    return min(took) / events * 1e6


def _incoming(request: bytes) -> Any:
    element = read_envelope(parse_xml(request.partition(b"\r\n\r\n")[2], "utf-8")).element
    return incoming_event(element[1][0], Queue.REALTIME)


def _print(name: str, micros: float) -> None:
    print(f"{name:34}{micros:7.1f}", flush=True)


async def measure(events: int) -> None:
    with tempfile.TemporaryDirectory(prefix="petitbleu-stages-") as folder:
        directory = make_instance(Path(folder) / "instance", f"sqlite://{folder}/stages.db", 25)
        await prepare(directory)
        async with open_instance(directory, [], plugins_running=True) as instance:
            gc.set_threshold(*GC_THRESHOLD)
            await instance.templates.warm()
            settings = instance.config.plugin_settings["email"]
            composer = Composer(settings.max_size, settings.cached_files)  # type: ignore[attr-defined]
            delivery = copy(instance.worker._delivery)
            delivery._suppressions = None  # which asks the database
            stages = Stages(instance, delivery, composer, instance.tally)
            requests = [pushes("x" * 43).of(number) for number in range(1, events + 1)]
            _print("XML to an event", _best(events, lambda: [_incoming(request) for request in requests]))
            given = [_incoming(request) for request in requests]
            _print("check", _best(events, lambda: [instance.intake.check([one]) for one in given]))
            checked = [replace(instance.intake.check([one])[0], id=number) for number, one in enumerate(given, 1)]
            _print("write as JSON", _best(events, lambda: [encode(event) for event in checked]))
            texts = [(event.id, encode(event)) for event in checked]
            _print("read from JSON", _best(events, lambda: stages.read(texts)))
            works = stages.work(checked)
            _print("enrich, route, resolve, render", _best(events, lambda: stages.messages(works)))
            messages = stages.messages(works)
            _print("write the mail", _best(events, lambda: stages.mails(messages)))
            _print("outcome", _best(events, lambda: stages.rows(stages.steps(works))))
            _print("observers, log line", _best(events, lambda: stages.observers(checked)))
            for size in GROUPS:
                parts = [texts[at : at + size] for at in range(0, events, size)]
                name = "delivery, one by one" if size == 1 else f"delivery, in groups of {size}"
                _print(name, _best(events, lambda parts=parts: [stages.all(part) for part in parts]))  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.stages", description=__doc__)
    parser.add_argument("events", nargs="?", type=int, default=2000)
    with open("/dev/null", "w") as nowhere:
        set_up(nowhere, logging.INFO)
        uvloop.run(measure(parser.parse_args().events))


if __name__ == "__main__":
    main()
