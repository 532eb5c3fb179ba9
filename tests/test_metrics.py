"""What a scrape says of a server, and that the documentation names every metric."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiosmtpd.smtp import SMTP, Envelope
from petitbleu import Event, IncomingEvent, Operator, Queue, Unavailable
from petitbleu.audit import ITSELF
from petitbleu.config import SAMPLE
from petitbleu.metrics import MOST_CHILDREN, Metrics
from petitbleu.queue.queue import WorkQueue
from petitbleu.serving.app import Server, running
from petitbleu.serving.listening import listen
from petitbleu.store import open_store
from petitbleu.store.payload import moment
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent
ENVELOPE = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:{schema}">
  <soapenv:Body><urn:PushEvent><urn:sessiontoken>mc/demo</urn:sessiontoken>
    <urn:domEvent><{schema} type="password_reset" {attributes}><ctx><user login="{login}"/><link>https://e.example/</link></ctx>
    </{schema}></urn:domEvent></urn:PushEvent></soapenv:Body></soapenv:Envelope>"""


class Relay:
    """Takes mail, except for those whose local part is the answer they get."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        local = address.partition("@")[0]
        if local.isdigit():
            return f"{local} no, not <{address.upper()}>"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        return "250 2.0.0 kept"


class Page:
    """A scraped page: `page["name", {labels}]`; labels not given may have any value, and what is found is summed."""

    def __init__(self, text: str, parse: Callable[[str], Any] = text_string_to_metric_families) -> None:
        self.families = {family.name: family for family in parse(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        found: list[float] = [
            one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()
        ]
        assert found, f"no {name} with {labels}"
        return sum(found)


@dataclass(slots=True)
class World:
    server: Server
    client: aiohttp.ClientSession

    async def push(self, schema: str = "rtEvent", login: str = "m", **attributes: str) -> str:
        written = " ".join(f'{name}="{value}"' for name, value in attributes.items())
        body = ENVELOPE.format(schema=schema, login=login, attributes=written)
        url = f"{self.server.url}/nl/jsp/soaprouter.jsp"
        async with self.client.post(url, data=body.encode(), headers={"Content-Type": "text/xml"}) as response:
            return await response.text()

    async def text(self, accept: str = "text/plain") -> str:
        async with self.client.get(f"{self.server.url}/metrics", headers={"Accept": accept}) as response:
            assert response.status == 200
            assert response.content_type == accept
            return await response.text()

    async def until(self, holds: Callable[[Page], bool]) -> Page:
        """The first page of which it holds. Pages are as good as new for a while, so this may take a second."""
        for _ in range(100):
            page = Page(await self.text())
            if holds(page):
                return page
            await asyncio.sleep(0.1)
        raise AssertionError("it never held")


@pytest.fixture
def sets() -> list[str]:
    return []


@pytest.fixture
async def world(sqlite_url: str, sets: list[str]) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        smtp = await loop.create_server(lambda: SMTP(Relay(), loop=loop), "127.0.0.1", 0)
        await stack.enter_async_context(smtp)
        port = smtp.sockets[0].getsockname()[1]
        here = [f"database={sqlite_url}", "http.port=0", f"plugins.email.providers.main.port={port}"]
        server = await stack.enter_async_context(running(SAMPLE, [*here, "limits.pending=1234", *sets]))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        drafts = server.instance.drafts
        await server.instance.templates.publish(drafts.load("password_reset", "email"), ITSELF)
        yield World(server, client)


async def test_a_scrape_counts_what_happened(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "petitbleu")
    for name in ("zoe", "ada", "550", "451"):
        assert "plId" in await world.push(email=f"{name}@example.com")
    assert "plId" in await world.push("batchEvent", email="later@example.com", scheduled="2999-01-01T00:00:00Z")
    assert "plId" in await world.push("batchEvent", email="zoe@example.com")
    assert "faultcode" in await world.push(email="nobody")

    def done(page: Page) -> bool:
        return "petitbleu_steps" in page.families and page("petitbleu_steps_total") == 5

    page = await world.until(lambda page: done(page) and page("petitbleu_queue_events") == 2)
    assert page("petitbleu_events_accepted_total", queue="realtime", type="password_reset") == 4
    assert page("petitbleu_events_accepted_total", queue="batch", type="password_reset") == 2
    assert page("petitbleu_events_refused_total", reason="invalid") == 1
    assert page("petitbleu_intake_seconds_count", result="accepted") == 6
    assert page("petitbleu_intake_seconds_count", result="invalid") == 1
    assert page("petitbleu_steps_total", queue="realtime", status="sent") == 2
    assert page("petitbleu_steps_total", queue="batch", status="sent") == 1
    assert page("petitbleu_steps_total", queue="realtime", status="failed") == 1
    assert page("petitbleu_steps_total", queue="realtime", status="pending") == 1
    mail = {"channel": "email", "provider": "main"}
    assert page("petitbleu_attempts_total", **mail, outcome="delivered", scope="") == 3
    assert page("petitbleu_attempts_total", **mail, outcome="failed", scope="address") == 1
    assert page("petitbleu_attempts_total", **mail, outcome="deferred") == 1
    assert page("petitbleu_delivery_seconds_count", channel="email") == 5
    assert page("petitbleu_sent_after_seconds_count") == 3
    assert 0 < page("petitbleu_sent_after_seconds_sum") < 30
    assert page("petitbleu_batch_size_sum", kind="store") == 6
    assert page("petitbleu_batch_size_sum", kind="record") == 5
    assert page("petitbleu_batch_size_sum", kind="take") == 5
    # the mail refused for now and the one that is scheduled
    assert page("petitbleu_queue_events", queue="realtime", state="waiting") == 1
    assert page("petitbleu_queue_events", queue="batch", state="waiting") == 1
    assert page("petitbleu_queue_events", state="ready") == 0
    assert page("petitbleu_queue_oldest_due_seconds") == 0
    assert page("petitbleu_events_under_way") == 0
    assert page("petitbleu_limit", limit="limits.pending") == 1234
    assert page("petitbleu_limit", limit="delivery.concurrency") == 50
    assert page("petitbleu_database_up") == 1
    assert page("petitbleu_check_ok", plugin="email") in (0, 1)
    assert page("petitbleu_leases_rescued_total") == 0
    assert page("petitbleu_log_lines_dropped_total") >= 0
    assert page("petitbleu_build_info") == 1
    assert page("process_resident_memory_bytes") > 0
    # what providers say does not bring addresses into the log
    assert "no, not <***>" in caplog.text + str([vars(record) for record in caplog.records])
    assert "example.com" not in str([vars(record) for record in caplog.records]).lower()


async def test_the_age_of_what_waits_is_told(world: World) -> None:
    """A worker that claims nothing any more, here since it has no room."""
    server = world.server.instance
    ready = Event(0, "password_reset", Queue.BATCH, "email", {}, datetime.now(UTC), {"email": "a@example.com"})
    server.worker._places._limits = replace(server.worker._places._limits, concurrency=0, reserved=0)
    await server.queue.put([ready, ready])
    await server.store.shift_clock(90)
    page = await world.until(lambda page: page("petitbleu_queue_events") == 2)
    assert page("petitbleu_queue_events", queue="batch", state="ready") == 2
    assert 90 <= page("petitbleu_queue_oldest_due_seconds", queue="batch", state="ready") < 120
    assert page("petitbleu_queue_oldest_due_seconds", queue="realtime", state="ready") == 0


async def test_the_backlog_is_read_from_either_database(database_url: str) -> None:
    async with open_store(database_url) as store:
        queue = WorkQueue(store, 1, 30.0)
        now = moment(store.now())
        event = Event(0, "password_reset", Queue.REALTIME, "email", {}, now, {"email": "a@example.com"})
        later = replace(event, queue=Queue.BATCH, scheduled=now + timedelta(minutes=2))
        await queue.put([event, event, event, later])
        (claimed,) = await queue.claim(Queue.REALTIME, 1)
        await store.shift_clock(60)
        async with queue.apart() as connection:
            found = {(one.queue, one.state): one for one in await queue.depth.backlog(connection)}
    assert {state for _, state in found} == {"waiting", "ready", "leased", "paused"}
    events = {key: one.events for key, one in found.items() if one.events}
    assert events == {("realtime", "ready"): 2, ("realtime", "leased"): 1, ("batch", "waiting"): 1}
    for key, one in found.items():
        low = 60 if key in (("realtime", "ready"), ("realtime", "leased")) else 0
        assert low <= one.oldest_due < low + 30
    assert claimed.event.type == "password_reset"


async def test_scrapes_close_together_read_the_database_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, asked = world.server.instance.queue, 0
    read = queue.depth.backlog

    async def backlog(on: Any = None) -> Any:
        nonlocal asked
        asked += 1
        return await read(on)

    monkeypatch.setattr(queue.depth, "backlog", backlog)
    await asyncio.gather(*(world.text() for _ in range(20)))
    assert asked == 1


async def test_a_scrape_is_answered_without_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def backlog(on: Any = None) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(world.server.instance.queue.depth, "backlog", backlog)
    page = Page(await world.text())
    assert page("petitbleu_database_up") == 0
    assert page.families["petitbleu_queue_events"].samples == []
    assert page("petitbleu_leases_rescued_total") == 0


async def test_processes_behind_one_port_tell_their_own_series_apart(sqlite_url: str) -> None:
    sets = [f"database={sqlite_url}", "plugins.email.providers.main.port=1"]
    async with (
        running(SAMPLE, sets, sockets=listen("127.0.0.1", 0), label=True) as server,
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/metrics") as response,
    ):
        page = Page(await response.text())
        process = server.instance.queue.incarnation
    assert page("petitbleu_leases_rescued_total", process=process) == 0
    assert page("process_resident_memory_bytes", process=process) > 0
    assert page("petitbleu_queue_events") == 0
    assert all("process" not in one.labels for one in page.families["petitbleu_queue_events"].samples)


@pytest.mark.parametrize("sets", [["templates.limits.characters=20000"]])
async def test_templates_that_want_too_much_and_hooks_that_fail_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*asked: str) -> None:
        raise RuntimeError("stuck")

    await world.push(email="zoe@example.com", login="m" * 30_000)
    page = await world.until(lambda page: bool(page.families["petitbleu_steps"].samples))
    assert page("petitbleu_steps_total", status="failed") == 1
    assert page("petitbleu_render_limits_total") == 1
    assert page.families["petitbleu_hook_failures"].samples == []
    monkeypatch.setattr(world.server.instance.templates, "resolve", resolve)
    await world.push(email="zoe@example.com")
    page = await world.until(lambda page: bool(page.families["petitbleu_hook_failures"].samples))
    assert page("petitbleu_hook_failures_total", plugin="core", hook="petitbleu_resolve_template") == 1
    assert page("petitbleu_render_limits_total") == 1


LIMITS = [
    "http.body_limit=3000",
    "limits.attribute=300",
    "limits.data=800",
    "limits.pending=2",
    "delivery.retry.email.tries=1",
]


@pytest.mark.parametrize("sets", [LIMITS])
async def test_each_limit_tells_how_often_it_held(world: World) -> None:
    assert "faultcode" in await world.push(email="zoe@example.com", login="m" * 3000)
    assert "faultcode" in await world.push(email="zoe@example.com", note="n" * 301)
    assert "faultcode" in await world.push(email="zoe@example.com", login="m" * 900)
    await world.push(email="451@example.com")
    for _ in range(2):
        await world.push(email="later@example.com", scheduled="2999-01-01T00:00:00Z")
    while "The queue is full" not in await world.push(email="zoe@example.com"):
        await world.push(email="later@example.com", scheduled="2999-01-01T00:00:00Z")
    page = await world.until(lambda page: any(one.labels.get("status") == "expired" for one in page.samples))
    for limit in ("http.body_limit", "limits.attribute", "limits.data", "limits.pending", "delivery.retry.tries"):
        assert page("petitbleu_limits_reached_total", limit=limit) >= 1, limit
    assert page("petitbleu_limits_reached_total", limit="limits.data") == 1
    assert page("petitbleu_http_requests_total", path="/nl/jsp/soaprouter.jsp", status="200") >= 2
    assert page("petitbleu_http_requests_total", path="/nl/jsp/soaprouter.jsp", status="500") >= 4
    assert page("petitbleu_http_requests_under_way") == 1


async def test_openmetrics_is_spoken_to_those_who_ask(world: World) -> None:
    text = await world.text("application/openmetrics-text")
    page = Page(text, openmetrics.text_string_to_metric_families)
    assert page("petitbleu_database_up") == 1
    assert "_created" not in text


async def test_the_page_for_operators_names_every_metric_with_its_labels(world: World) -> None:
    await world.push(email="zoe@example.com")
    await world.push(email="nobody")
    world.server.instance.calls.conduct.failures["email", "petitbleu_deliver"] += 1
    page = await world.until(
        lambda page: "petitbleu_steps" in page.families and bool(page.families["petitbleu_steps"].samples)
    )
    text = (ROOT / "docs" / "operators.md").read_text("utf-8").split("\n## Metrics\n")[1].split("\n## ")[0]
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(petitbleu_\w+)` \| (\w+) \|([^|]*)\|", text, re.M)
    }
    exposed = {
        (name + "_total" if family.type == "counter" else name): (
            family.type,
            {label for one in family.samples for label in one.labels} - {"le"},
        )
        for name, family in page.families.items()
        if name.startswith("petitbleu_")
    }
    assert documented.keys() == exposed.keys()
    for name, (kind, labels) in exposed.items():
        assert documented[name][0] == kind
        # a metric without a sample so far shows no labels
        assert labels in (documented[name][1], set()), name
    assert sum(bool(labels) for _, labels in exposed.values()) > 10


async def test_every_kind_of_refusal_is_counted() -> None:
    metrics = Metrics()
    operator = Operator("mc", frozenset({"push"}))

    async def full(events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> list[int]:
        raise Unavailable("full")

    async def broken(events: Sequence[IncomingEvent], operator: Operator, key: str = "") -> list[int]:
        raise RuntimeError

    accepts: list[tuple[Callable[..., Awaitable[list[int]]], type[Exception]]] = [
        (full, Unavailable),
        (broken, RuntimeError),
    ]
    for accept, error in accepts:
        with pytest.raises(error):
            await metrics.measured(accept)([IncomingEvent(Queue.BATCH, {}, {})] * 3, operator)
    for reason in ("unavailable", "error"):
        assert metrics.registry.get_sample_value("petitbleu_events_refused_total", {"reason": reason}) == 3
        assert metrics.registry.get_sample_value("petitbleu_intake_seconds_count", {"result": reason}) == 1


def test_no_flood_of_labels_grows_a_metric_for_ever() -> None:
    metrics = Metrics()
    for number in range(MOST_CHILDREN + 30):
        metrics.batch(str(number), 1)
    assert metrics.registry.get_sample_value("petitbleu_batch_size_count", {"kind": "other"}) == 30
    assert metrics.registry.get_sample_value("petitbleu_batch_size_count", {"kind": "1"}) == 1


async def test_repeated_events_are_counted(sqlite_url: str) -> None:
    metrics = Metrics()
    async with open_store(sqlite_url) as store:
        queue = WorkQueue(store, 1, 30.0, {"password_reset": 60.0}, metrics)
        event = Event(0, "password_reset", Queue.BATCH, "email", {}, datetime.now(UTC), {"email": "a@example.com"})
        known = replace(event, origin="shop", external_id="R-1")
        assert len({*await queue.put([known]), *await queue.put([known]), *await queue.put([event])}) == 2
    assert metrics.registry.get_sample_value("petitbleu_events_repeated_total") == 1


def test_two_instances_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.rescued(2)
    assert one.registry.get_sample_value("petitbleu_leases_rescued_total") == 2
    assert other.registry.get_sample_value("petitbleu_leases_rescued_total") == 0
