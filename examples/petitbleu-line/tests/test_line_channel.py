"""The channel in a whole server, against one that behaves like LINE's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from line_server import GONE, TOKEN, ZOE, LineServer, line_server
from petitbleu import EventsRefused
from petitbleu.testing import Server

TEMPLATE = {"body.txt.j2": "Hello {{ rtEvent.ctx.name }}"}
Serving = Callable[..., AbstractAsyncContextManager[tuple[Server, LineServer]]]


@pytest.fixture
def serving(petitbleu_server: Any) -> Serving:
    @asynccontextmanager
    async def serve(
        files: Mapping[str, str] = TEMPLATE, token: str = TOKEN, **settings: Any
    ) -> AsyncIterator[tuple[Server, LineServer]]:
        async with line_server() as line:
            own = {"url": line.url, "accounts": {"shop": {"token": token}}, "answer": 0.3, **settings}
            async with petitbleu_server(plugins={"line": own}, templates={"note/line": files}) as server:
                yield server, line

    return serve


async def push(server: Server, to: str = ZOE, name: str = "Zoé") -> int:
    return await server.push("note", {"name": name}, lineUserId=to)


async def test_an_event_with_a_user_id_becomes_a_message(serving: Serving) -> None:
    async with serving() as (server, line):
        record = await server.settled(await push(server))
        assert (record.channel, record.status) == ("line", "sent")
        (request,) = line.taken.values()
        assert request["to"] == ZOE
        assert request["messages"] == [{"type": "text", "text": "Hello Zoé"}]
        assert request["notificationDisabled"] is False
        assert record.tries[0].reference == request["sent"][0]["id"]


async def test_what_is_no_user_id_is_refused_at_the_door(serving: Serving) -> None:
    async with serving() as (server, _):
        with pytest.raises(EventsRefused, match="event 1: lineUserId: is not a LINE user ID"):
            await push(server, "zoe")


FULL = {
    "template.yaml": """
alt: Order {{ rtEvent.ctx.name }}
silent: true
image: {url: "https://img.example.com/{{ rtEvent.ctx.name }}.png"}
sticker: {package: "446", sticker: "1988"}
""",
    "body.txt.j2": "one\n---\ntwo\n \t---\n\n",
    "flex.json.j2": '{"type": "bubble", "body": {"type": "box", "contents": [{{ rtEvent.ctx.name | tojson }}]}}',
}


async def test_a_template_may_have_several_messages(serving: Serving) -> None:
    async with serving(FULL) as (server, line):
        record = await server.settled(await push(server, name="30201"))
        assert record.status == "sent", record.reason
        (request,) = line.taken.values()
        assert request["notificationDisabled"] is True
        assert request["messages"] == [
            {"type": "text", "text": "one"},
            {"type": "text", "text": "two"},
            {
                "type": "flex",
                "altText": "Order 30201",
                "contents": {"type": "bubble", "body": {"type": "box", "contents": ["30201"]}},
            },
            {
                "type": "image",
                "originalContentUrl": "https://img.example.com/30201.png",
                "previewImageUrl": "https://img.example.com/30201.png",
            },
            {"type": "sticker", "packageId": "446", "stickerId": "1988"},
        ]


@pytest.mark.parametrize("fault", ["reset", "500", "html", "hang", "redirect", "lose the answer"])
async def test_a_message_whose_fate_is_not_known_is_tried_again_and_arrives_once(serving: Serving, fault: str) -> None:
    async with serving() as (server, line):
        line.faults.append(fault)
        event = await push(server)
        record = await server.settled(event)
        assert (record.tries[0].outcome, record.tries[0].scope) == ("deferred", "provider")
        await server.travel_to_next_try(event)
        record = await server.settled(event)
        assert record.status == "sent"
        assert len(line.taken) == 1
        if fault == "lose the answer":
            # told apart from a second message by the retry key alone
            assert record.tries[1].code == "409"
            assert record.tries[1].reference == next(iter(line.taken.values()))["sent"][0]["id"]


async def test_a_worker_that_dies_with_the_message_handed_over_makes_no_second_one(serving: Serving) -> None:
    async with serving() as (server, line):
        server.crash_at("after_reply")
        event = await push(server)
        await server.rescued()
        record = await server.settled(event)
        assert (record.status, len(line.taken), line.requests) == ("sent", 1, 2)


async def test_a_user_the_account_cannot_write_to_is_suppressed(serving: Serving) -> None:
    async with serving() as (server, line):
        record = await server.settled(await push(server, GONE))
        assert (record.status, record.tries[0].scope, record.tries[0].code) == ("failed", "address", "400")
        again = await server.settled(await push(server, GONE))
        assert (again.status, line.requests) == ("ignored", 1)


async def test_what_is_used_up_or_too_fast_costs_an_event_nothing(serving: Serving) -> None:
    async with serving() as (server, line):
        line.left = 0
        event = await push(server)
        record = await server.settled(event)
        assert (record.tries[0].scope, record.tries[0].code) == ("provider", "429")
        assert record.next_try is not None
        assert (record.next_try - server.now()).total_seconds() > 1000
        checks = await server.instance.calls.health()
        assert [(check.name, check.ok, check.warning) for check in checks["line"]] == [("shop", True, True)]
        line.left = 1
        line.faults.append("rate")
        for _ in range(2):
            await server.travel_to_next_try(event)
            record = await server.settled(event)
        assert record.status == "sent"
        checks = await server.instance.calls.health()
        assert [(check.name, check.warning) for check in checks["line"]] == [("shop", False)]


async def test_a_token_that_does_not_hold_is_no_fault_of_the_event(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(token="another-token") as (server, _):
        record = await server.settled(await push(server))
        assert (record.status, record.tries[0].scope, record.tries[0].code) == ("pending", "provider", "401")
        assert "another-token" not in caplog.text + " ".join(one.text for one in record.tries)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"body.txt.j2": "x\n---\n" * 6}, "it makes 6 messages; LINE takes 5 at once"),
        ({"body.txt.j2": "😀" * 2501}, "a text has 5002 characters as LINE counts; the limit is 5000"),
        ({"body.txt.j2": "  "}, "there is nothing to send"),
        ({"flex.json.j2": '{"type": "bubble"}'}, "flex.json.j2 needs an alt"),
        ({"flex.json.j2": '{"type": "box"}', "template.yaml": "alt: a"}, 'whose "type" is "bubble" or "carousel"'),
        ({"flex.json.j2": '{"type": {{ rtEvent.ctx.name }}}', "template.yaml": "alt: a"}, "flex.json.j2 is no JSON"),
        (
            {"flex.json.j2": '{"type": "bubble", "x": "{{ "x" * 30000 }}"}', "template.yaml": "alt: a"},
            "flex.json.j2 has 30027 bytes; the limit of a bubble is 30000",
        ),
        ({"body.txt.j2": "x", "template.yaml": "image: {url: 'http://x.example.com/'}"}, "should be an https address"),
    ],
)
async def test_what_line_would_refuse_never_leaves(serving: Serving, files: dict[str, str], reason: str) -> None:
    async with serving(files) as (server, line):
        record = await server.settled(await push(server))
        assert record.status == "failed"
        assert reason in record.reason
        assert line.requests == 0


async def test_each_brand_speaks_by_its_own_account(petitbleu_server: Any) -> None:
    async with line_server() as line:
        line.tokens = {"first", "second"}
        accounts = {"a": {"token": "first", "brands": ["shop"]}, "b": {"token": "second", "brands": ["club"]}}
        types = {"note": {"brand": "club"}, "other": {"brand": "lost"}}
        files = dict.fromkeys(("note/line", "other/line"), TEMPLATE)
        settings: dict[str, Any] = {"brands": {"shop": {}, "club": {}, "lost": {}}}
        async with petitbleu_server(
            plugins={"line": {"url": line.url, "accounts": accounts}},
            event_types=types,
            templates=files,
            settings=settings,
        ) as server:
            record = await server.settled(await push(server))
            assert (record.status, record.tries[0].provider) == ("sent", "b")
            lost = await server.settled(await server.push("other", {"name": "x"}, lineUserId=ZOE))
            assert lost.tries[0].text == "plugins.line.accounts: none speaks for the brand 'lost'"
            assert lost.tries[0].scope == "us"
