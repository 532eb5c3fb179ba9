"""A whole server on PostgreSQL, from the door to node's HTTP/2 server in Apple's place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from petitbleu import Comparison, EventFilter, EventQuery, EventsRefused, IncomingEvent, Operator, Queue
from petitbleu.audit import ITSELF
from petitbleu.serving.app import Server, running
from push_rig import DEVICE, SHOP, TOKEN, Apple, Google

pytest_plugins = ("push_servers",)

OPERATOR = Operator("test", frozenset({"push", "read"}))
FINAL = ("sent", "ignored", "failed", "expired", "not_covered")
TEMPLATE = """\
title: "Order {{ rtEvent.ctx.number }} is on its way"
body: "See you soon"
data: {order: "{{ rtEvent.ctx.number }}"}
"""
SEEDS = f"""\
seeds:
  - name: zoe
    address: {TOKEN}
    ctx: {{number: 7}}
"""
TOKENS = [f"{number:064x}" for number in range(1, 100)]


@dataclass
class Site:
    server: Server

    async def push(self, channel: str, token: str, number: int, **app: str) -> int:
        attributes = {"type": "shipped", "wishedChannel": channel, "registrationToken": token}
        children: Any = {"ctx": {"number": str(number)}, "mobileApp": {"@uuid": SHOP, **app}}
        (event_id,) = await self.server.instance.intake([IncomingEvent(Queue.REALTIME, attributes, children)], OPERATOR)
        return event_id

    async def ended(self, event_id: int) -> tuple[str, str]:
        """Its final status and the reason."""
        wanted = EventQuery(Comparison("id", "=", (str(event_id),)))
        async with asyncio.timeout(20):
            while True:
                (found,) = await self.server.instance.services.find_events(wanted, OPERATOR)
                if found.status in FINAL:
                    return found.status, found.reason
                await asyncio.sleep(0.02)

    async def attempts(self, event_id: int) -> list[dict[str, Any]]:
        return await self.server.instance.status.attempts(event_id)


@asynccontextmanager
async def site(folder: Path, url: str, app: dict[str, Any]) -> AsyncIterator[Site]:
    for channel in ("ios", "android"):
        draft = folder / "templates" / "shipped" / channel
        draft.mkdir(parents=True)
        (draft / "template.yaml").write_text(TEMPLATE)
        (draft / "seeds.yaml").write_text(SEEDS)
    config = {
        "instance": {"name": "push-test", "brand": "shop"},
        "database": url,
        "http": {"port": 0},
        "plugins": [{"push": {"apps": {"shop": {"uuid": SHOP, **app}}}}],
        "event_types": {"shipped": {}},
        "brands": {"shop": {}},
        "delivery": {
            "lease": "5s",
            "poll": "0.1s",
            "retry": {name: {"first": 0.1, "cap": 0.5, "tries": 4} for name in ("ios", "android")},
            "feedback": {"pause": "0.3s", "pause_cap": "0.5s"},
        },
    }
    (folder / "petitbleu.yaml").write_text(json.dumps(config))
    async with running(folder, []) as server:
        for channel in ("ios", "android"):
            await server.instance.templates.publish(server.instance.drafts.load("shipped", channel), ITSELF)
        yield Site(server)


async def test_many_events_arrive_once_each(apple: Apple, google: Google, postgres_url: str, tmp_path: Path) -> None:
    async with site(tmp_path, postgres_url, {"apns": apple.settings(), "fcm": google.settings()}) as here:
        wishes = [("41", token) for token in TOKENS[:30]] + [("42", DEVICE + token) for token in TOKENS[:30]]
        ids = [await here.push(channel, token, n) for n, (channel, token) in enumerate(wishes)]
        assert {(await here.ended(event_id))[0] for event_id in ids} == {"sent"}
        first, last = await here.attempts(ids[0]), await here.attempts(ids[-1])
        found = await here.server.instance.services.desk.events.search(
            EventFilter(device=DEVICE + TOKENS[29]), OPERATOR, 9
        )
    assert [one.id for one in found.items] == [ids[-1]]
    shown = [json.loads(one["body"])["order"] for one in apple.seen]
    shown += [one["message"]["data"]["order"] for one in google.seen]
    assert sorted(map(int, shown)) == list(range(60))
    assert (first[0]["provider"], last[0]["provider"]) == ("apns/shop", "fcm/shop")
    assert first[0]["reference"] in {one["headers"]["apns-id"] for one in apple.seen}


async def test_only_a_dead_device_is_suppressed(apple: Apple, postgres_url: str, tmp_path: Path) -> None:
    """Dead, stale, of another environment, of another app: then each is written to again."""
    since = datetime.now(UTC) - timedelta(hours=1)
    gone = {"status": 410, "reason": "Unregistered", "timestamp": int(since.timestamp() * 1000)}
    dead, stale, other, foreign = TOKENS[:4]
    later = {"@registered": (since + timedelta(minutes=1)).isoformat()}
    async with site(tmp_path, postgres_url, {"apns": apple.settings()}) as here:
        ends = []
        for token, step, app in (
            (dead, gone, {}),
            (stale, gone, later),
            (other, {"status": 400, "reason": "BadDeviceToken"}, {}),
            (foreign, {"status": 400, "reason": "DeviceTokenNotForTopic"}, {}),
        ):
            await apple.script(step)
            ends.append(await here.ended(await here.push("ios", token, 1, **app)))
        again = [await here.ended(await here.push("ios", token, 2)) for token in (dead, stale, other, foreign)]
    assert [status for status, _ in ends] == ["failed", "sent", "failed", "failed"]
    assert [status for status, _ in again] == ["ignored", "sent", "sent", "sent"]


async def test_expired_credentials_cost_no_attempt(apple: Apple, postgres_url: str, tmp_path: Path) -> None:
    async with site(tmp_path, postgres_url, {"apns": apple.settings()}) as here:
        await here.ended(await here.push("ios", TOKEN, 1))
        await asyncio.sleep(1.1)  # or the new token would say the same second
        await apple.tell(expire=True)
        ids = [await here.push("ios", token, n) for n, token in enumerate(TOKENS[:10])]
        assert {(await here.ended(event_id))[0] for event_id in ids} == {"sent"}
        assert {len(await here.attempts(event_id)) for event_id in ids} == {1}


async def test_what_callers_can_mend_is_refused_at_the_door(apple: Apple, postgres_url: str, tmp_path: Path) -> None:
    async with site(tmp_path, postgres_url, {"apns": apple.settings()}) as here:
        with pytest.raises(EventsRefused, match="no app has the uuid 'nope'"):
            await here.push("ios", TOKEN, 1, **{"@uuid": "nope"})
        with pytest.raises(EventsRefused, match="64 to 200 hexadecimal digits"):
            await here.push("ios", "x" * 64, 1)
        with pytest.raises(EventsRefused, match="has no fcm"):
            await here.push("android", DEVICE, 1)
        with pytest.raises(EventsRefused, match="registrationToken: is missing"):
            await here.push("ios", "", 1)
