"""`petitbleu webhooks list`, `test`, `replay` and `enable`."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from petitbleu import (
    Actor,
    Command,
    GuardedClient,
    OpenServices,
    Operator,
    Services,
    SubscriptionState,
    Told,
    by_argument,
)

from .messages import PING, written
from .sender import post, receiver
from .settings import WebhookSettings

PLUGIN = "webhooks/"
"""What the core puts before a subscription's name: this plugin's own."""

GROUP = "webhooks"

Run = Callable[[WebhookSettings, OpenServices, argparse.Namespace], Awaitable[int]]


def commands(settings: WebhookSettings, services: OpenServices) -> Sequence[Command]:
    def command(name: str, text: str, run: Run, arguments: Callable[[argparse.ArgumentParser], None]) -> Command:
        async def checked(args: argparse.Namespace) -> int:
            subscription = getattr(args, "subscription", None)
            if subscription is not None and subscription not in settings.subscriptions:
                known = ", ".join(settings.subscriptions) or "none"
                print(f"no subscription {subscription}; plugins.webhooks.subscriptions has {known}", file=sys.stderr)
                return 1
            return await run(settings, services, args)

        return Command(name, text, checked, arguments, GROUP)

    return [
        command("list", "subscriptions, with what waits and how their receivers are doing", list_, _json),
        command("test", "send a message of the type webhook.test, and show the answer", test, _subscription),
        command("replay", "send once more what was sent or given up", replay, _replay),
        command("enable", "begin again with a receiver that answered 410 or is left alone for failing", enable, _by),
    ]


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _subscription(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subscription", help="its name in plugins.webhooks.subscriptions")


def _by(parser: argparse.ArgumentParser) -> None:
    _subscription(parser)
    by_argument(parser)


def _replay(parser: argparse.ArgumentParser) -> None:
    _by(parser)
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="ids of events")
    parser.add_argument("--since", type=datetime.fromisoformat, metavar="TIME", help="what happened from then on")
    parser.add_argument("--until", type=datetime.fromisoformat, metavar="TIME", help="what happened before then")
    parser.add_argument("--given-up", action="store_true", help="only what was never taken")
    parser.add_argument("--dry-run", action="store_true", help="say how many messages that is, send none")


def _actor(args: argparse.Namespace) -> Actor:
    return Actor(Operator(args.by, frozenset({"admin"})), "cli")


async def list_(settings: WebhookSettings, services: OpenServices, args: argparse.Namespace) -> int:
    async with services(args) as opened:
        states = [one for one in await opened.outbox.states() if one.name.startswith(PLUGIN)]
    if args.json:
        print(json.dumps([_plain(one) for one in states], indent=2, ensure_ascii=False, default=str))
        return 0
    for line in _table(states):
        print(line)
    return 0


def _plain(state: SubscriptionState) -> dict[str, Any]:
    found = asdict(state) | {"name": state.name.removeprefix(PLUGIN)}
    return {
        key: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for key, value in found.items()
    }


def _table(states: Sequence[SubscriptionState]) -> list[str]:
    rows = [("SUBSCRIPTION", "WAITING", "OLDEST", "LAST SENT", "GIVEN UP", "FAILURES", "STATE")]
    for one in states:
        name, oldest, told = one.name.removeprefix(PLUGIN), _time(one.oldest), _time(one.told)
        rows.append((name, str(one.waiting), oldest, told, str(one.given_up), str(one.failures), _state(one)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _state(one: SubscriptionState) -> str:
    if not one.configured:
        return "not configured"
    if one.ended is not None:
        return f"ended at {_time(one.ended)}: {one.text}"
    if one.paused_until is not None:
        return f"left alone until {_time(one.paused_until)}: {one.text}"
    return f"failing: {one.text}" if one.failures else "ok"


async def test(settings: WebhookSettings, services: OpenServices, args: argparse.Namespace) -> int:
    """Exit code 1 unless the receiver takes it."""
    async with services(args) as opened, GuardedClient(settings.fetch) as client:
        now = opened.now()
        body = written(PING, now, {"subscription": args.subscription, "instance": opened.instance})
        to = receiver(settings.subscriptions[args.subscription])
        got = await post(client, to, f"test-{uuid.uuid4().hex}", body, now, settings.reply_length)
    print(f"{args.subscription}: {'took it' if isinstance(got, Told) else 'did not take it'}: {got.text}")
    return 0 if isinstance(got, Told) else 1


async def replay(settings: WebhookSettings, services: OpenServices, args: argparse.Namespace) -> int:
    if not (args.ids or args.since or args.until or args.given_up):
        print("which messages? Name events, or give --since, --until or --given-up", file=sys.stderr)
        return 2
    async with services(args) as opened:
        found = await opened.outbox.replay(
            PLUGIN + args.subscription,
            _actor(args),
            events=args.ids or None,
            since=_aware(args.since, opened),
            until=_aware(args.until, opened),
            given_up=args.given_up,
            rehearsal=args.dry_run,
        )
    print(f"{found} messages {'would be' if args.dry_run else 'are'} sent again")
    return 0


def _aware(value: datetime | None, services: Services) -> datetime | None:
    return value if value is None or value.tzinfo is not None else value.replace(tzinfo=services.time_zone)


async def enable(settings: WebhookSettings, services: OpenServices, args: argparse.Namespace) -> int:
    async with services(args) as opened:
        enabled = await opened.outbox.enable(PLUGIN + args.subscription, _actor(args))
    print(f"{args.subscription} " + ("is sent to again" if enabled else "was not ended, and does not fail"))
    return 0
