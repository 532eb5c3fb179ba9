"""A channel's plugin alone: composing, choosing, handing over and reading the answer, with nothing stored and no queue.

A program of its own, as `bare.py` is, and measured in the same way: every message is another one.
`python -m benchmarks.through_plugin KIND --seconds SECONDS`, the plugin's settings on standard input, as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

import uvloop
from petitbleu import Attempt, Content, Delivered, Event, Message, Queue, Receipt, Services, TemplateRef

from .bare import Send, measure
from .envelopes import APP

DEVICE = "0" * 64
_NOTE = {"title": "Petit Bleu", "sound": "default"}
KINDS: Mapping[str, tuple[str, str, str]] = {
    "sms": ("sms", "sms", "+33612345678"),
    "apns": ("push", "ios", DEVICE),
    "fcm": ("push", "android", DEVICE),
}
"""By kind: the plugin, its channel, and whom messages go to."""


async def _free(provider: str) -> None:
    """A hand-off that writes nothing down."""


async def _heard(receipts: Sequence[Receipt]) -> None:
    """Receipts that nobody keeps."""


def _message(kind: str, number: int, now: datetime) -> Message:
    _, channel, address = KINDS[kind]
    text = f"Bonjour, votre commande {number:09} de 74.90 EUR est en route."
    event = Event(number, "bench", Queue.REALTIME, channel, {"mobileApp": {"@uuid": APP}}, now)
    if kind == "sms":
        content = Content({"text": text}, {})
    else:
        content = Content({}, {**_NOTE, "body": text, "link": f"shop://orders/{number}"})
    return Message(event, channel, address, "shop", TemplateRef("bench", channel, 1), content, f"{number}@bench")


@asynccontextmanager
async def client(kind: str, given: Mapping[str, Any]) -> AsyncIterator[Send]:
    plugin: Any = import_module(f"petitbleu_{KINDS[kind][0]}")
    settings = plugin.petitbleu_settings_type().model_validate(given)
    now = datetime.now(UTC)
    services = SimpleNamespace(now=lambda: now, record_receipts=_heard, delivers=True)
    numbers = itertools.count(1)
    async with plugin.petitbleu_lifespan(settings, cast(Services, services)) as state:

        async def send() -> None:
            outcome = await plugin.petitbleu_deliver(_message(kind, next(numbers), now), Attempt(1, _free), state)
            assert isinstance(outcome, Delivered), outcome

        yield send


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.through_plugin", description=__doc__)
    parser.add_argument("kind", choices=[*KINDS])
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    given = json.load(sys.stdin)
    print(uvloop.run(measure(client(args.kind, given), args.seconds)))


if __name__ == "__main__":
    main()
