"""APNs against node's HTTP/2 server, which checks what Apple checks and misbehaves on command."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from petitbleu import Deferred, Delivered, Failed, Scope, Unknown
from push_rig import QUICK, TOKEN, TOPIC, Apple, Clock, Handed, StartApple, ios, make, send, verdict
from talking import talking

pytest_plugins = ("push_servers",)


async def test_a_notification_arrives_as_it_was_written(apple: Apple) -> None:
    handed = Handed()
    message = make(
        subtitle="Order 7",
        link="shop://orders/7",
        image="https://img.example.com/7.png",
        data={"order": "7"},
        badge=2,
        sound="default",
        category="ORDER",
        thread="orders",
        interruption="active",
    )
    async with ios(apple) as to:
        outcome = await send(to, message, handed)
    (seen,) = apple.seen
    headers = seen["headers"]
    assert outcome == Delivered("apns/shop", "200", "200", headers["apns-id"])
    assert handed.admitted == [("apns/shop", "", 1000)]
    assert handed.handed_off == ["apns/shop"]
    assert json.loads(seen["body"]) == {
        "aps": {
            "alert": {"title": "Shipped", "subtitle": "Order 7", "body": "Your parcel is on its way"},
            "badge": 2,
            "sound": "default",
            "category": "ORDER",
            "thread-id": "orders",
            "interruption-level": "active",
            "mutable-content": 1,
        },
        "image": "https://img.example.com/7.png",
        "link": "shop://orders/7",
        "order": "7",
    }
    assert headers[":path"] == f"/3/device/{TOKEN}"
    assert headers["apns-topic"] == TOPIC
    assert headers["apns-push-type"] == "alert"
    assert headers["apns-priority"] == "10"
    assert uuid.UUID(headers["apns-id"])
    assert len(headers["apns-collapse-id"]) == 32
    assert message.event.expiration is not None
    assert abs(int(headers["apns-expiration"]) - message.event.expiration.timestamp()) <= 1


async def test_each_try_has_the_same_id_and_each_message_its_own(apple: Apple) -> None:
    async with ios(apple) as to:
        for number in (1, 1, 2):
            await send(to, make(number))
    ids = [(one["headers"]["apns-id"], one["headers"]["apns-collapse-id"]) for one in apple.seen]
    assert ids[0] == ids[1]
    assert ids[0][0] != ids[2][0]
    assert ids[0][1] != ids[2][1]


@pytest.mark.parametrize(
    ("fields", "expires", "header", "value"),
    [
        ({"silent": True, "title": "", "body": "", "data": {"a": "b"}}, 60, "apns-push-type", "background"),
        ({"silent": True}, 60, "apns-priority", "5"),
        ({"priority": "normal"}, 60, "apns-priority", "5"),
        ({"topic": f"{TOPIC}.voip"}, 60, "apns-topic", f"{TOPIC}.voip"),
        ({"collapse": "order-7"}, 60, "apns-collapse-id", "order-7"),
        ({"ttl": 0}, 60, "apns-expiration", "0"),
        ({}, None, "apns-expiration", None),
    ],
)
async def test_headers_follow_the_template(
    apple: Apple, fields: dict[str, Any], expires: float | None, header: str, value: str | None
) -> None:
    async with ios(apple) as to:
        assert isinstance(await send(to, make(expires=expires, **fields)), Delivered)
    assert apple.seen[0]["headers"].get(header) == value


async def test_many_go_over_one_connection(apple: Apple) -> None:
    async with ios(apple, connections=1) as to:
        outcomes = await asyncio.gather(*(send(to, make(number)) for number in range(300)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert len({one["headers"]["apns-id"] for one in apple.seen}) == 300
    assert apple.sessions == 1


async def test_tls_is_verified_and_http2_agreed_on(start_apple: StartApple, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with start_apple(authority.issue_cert("localhost")) as apple:
        trusted: dict[str, Any] = {"url": f"https://localhost:{apple.port}", "ca_file": tmp_path / "ca.pem"}
        async with ios(apple, **trusted) as to:
            assert isinstance(await send(to), Delivered)
        for changes in ({"url": trusted["url"]}, {**trusted, "url": f"https://127.0.0.1:{apple.port}"}):
            async with ios(apple, **changes) as to:
                outcome = await send(to)
            assert isinstance(outcome, Deferred)
            assert outcome.scope is Scope.PROVIDER
            assert "ertificate" in outcome.text.lower() or "CERTIFICATE" in outcome.text
    assert len(apple.seen) == 1


# ---------------------------------------------------------------------------------------------------------- refusals


def at(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


NOW = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("registered", "kind", "scope"),
    [
        (None, Failed, Scope.ADDRESS),
        (NOW - timedelta(seconds=1), Failed, Scope.ADDRESS),
        (NOW, Failed, Scope.ADDRESS),
        (NOW + timedelta(seconds=1), Deferred, Scope.MESSAGE),
    ],
)
async def test_a_dead_token_is_told_from_a_stale_answer(
    apple: Apple, registered: datetime | None, kind: type, scope: Scope
) -> None:
    await apple.script({"status": 410, "reason": "Unregistered", "timestamp": at(NOW)})
    app = {"@registered": registered.isoformat()} if registered else {}
    async with ios(apple) as to:
        outcome = await send(to, make(app=app))
    assert verdict(outcome) == (kind, scope, "410 Unregistered")
    assert "2026-11-25T10:00:00Z" in outcome.text


@pytest.mark.parametrize(
    ("status", "reason", "kind", "scope"),
    [
        (400, "BadDeviceToken", Failed, Scope.MESSAGE),
        (400, "DeviceTokenNotForTopic", Failed, Scope.MESSAGE),
        (400, "BadCollapseId", Failed, Scope.US),
        (400, "TopicDisallowed", Deferred, Scope.PROVIDER),
        (400, "IdleTimeout", Deferred, Scope.PROVIDER),
        (403, "InvalidProviderToken", Deferred, Scope.PROVIDER),
        (403, "BadEnvironmentKeyIdInToken", Deferred, Scope.PROVIDER),
        (404, "BadPath", Failed, Scope.US),
        (405, "MethodNotAllowed", Failed, Scope.US),
        (410, "ExpiredToken", Failed, Scope.MESSAGE),
        (410, None, Failed, Scope.MESSAGE),
        (413, "PayloadTooLarge", Failed, Scope.MESSAGE),
        (429, "TooManyRequests", Deferred, Scope.MESSAGE),
        (429, "TooManyProviderTokenUpdates", Deferred, Scope.PROVIDER),
        (500, "InternalServerError", Deferred, Scope.PROVIDER),
        (500, None, Deferred, Scope.PROVIDER),
        (503, "Shutdown", Deferred, Scope.PROVIDER),
        (418, "SomethingNew", Failed, Scope.MESSAGE),
        (302, None, Deferred, Scope.PROVIDER),
    ],
)
async def test_refusals(apple: Apple, status: int, reason: str | None, kind: type, scope: Scope) -> None:
    await apple.script({"status": status, "reason": reason})
    async with ios(apple) as to:
        outcome = await send(to)
        assert isinstance(await send(to), Delivered)
    assert verdict(outcome) == (kind, scope, f"{status} {reason or ''}".rstrip())
    assert TOKEN not in outcome.text


async def test_retry_after_is_heeded(apple: Apple) -> None:
    await apple.script({"status": 503, "reason": "ServiceUnavailable", "headers": {"retry-after": "17"}})
    async with ios(apple) as to:
        outcome = await send(to)
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after == 17


# ----------------------------------------------------------------------------------------------------------- tokens


async def test_an_expired_provider_token_is_replaced_within_the_attempt(apple: Apple) -> None:
    """For many at once: one new token serves all of them."""
    handed = Handed()
    clock = Clock()
    async with ios(apple, clock) as to:
        await send(to)
        clock.ahead = timedelta(seconds=5)  # or the new token would be the old one, signed anew
        await apple.tell(expire=True)
        outcomes = await asyncio.gather(*(send(to, make(number), handed) for number in range(20)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert len(handed.handed_off) == 20
    assert len({one["headers"]["authorization"] for one in apple.seen}) == 2


async def test_a_clock_that_is_wrong_makes_no_flood_of_tokens(apple: Apple) -> None:
    clock = Clock()
    clock.ahead = timedelta(hours=-2)
    async with ios(apple, clock) as to:
        outcomes = [await send(to, make(number)) for number in range(5)]
    assert {(type(one), getattr(one, "code", "")) for one in outcomes} == {(Deferred, "403 ExpiredProviderToken")}
    assert all(isinstance(one, Deferred) and one.scope is Scope.PROVIDER for one in outcomes)
    assert len({one["headers"]["authorization"] for one in apple.seen}) == 2


# ------------------------------------------------------------------------------------------------------ no answer


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"hang": True}, "no answer within 0.3 s"),
        ({"reset": 2}, "INTERNAL_ERROR"),
        ({"reset": 8}, "CANCEL"),
        ({"cut": True}, "connection"),
        ({"big": 100_000}, "more than"),
        ({"goaway": {"code": 0}, "then": {"cut": True}}, "connection"),
    ],
    ids=["hang", "reset", "cancel", "cut", "big", "goaway and cut"],
)
async def test_without_an_answer_it_is_unknown(apple: Apple, step: dict[str, Any], words: str) -> None:
    await apple.script(step)
    async with ios(apple, timeouts={**QUICK, "answer": 0.3}) as to:
        outcome = await send(to)
        again = await send(to)
    assert isinstance(outcome, Unknown)
    assert words in outcome.text
    assert isinstance(again, Delivered)
    assert apple.seen[0]["headers"]["apns-id"] == apple.seen[1]["headers"]["apns-id"]


async def test_a_refused_stream_is_asked_again_at_once(apple: Apple) -> None:
    handed = Handed()
    await apple.script({"reset": 7}, {"reset": 7})
    async with ios(apple) as to:
        assert isinstance(await send(to, handed=handed), Delivered)
    assert len(apple.seen) == 3
    assert handed.handed_off == ["apns/shop"]


async def test_a_server_that_refuses_every_stream_is_not_asked_for_ever(apple: Apple) -> None:
    await apple.script(*[{"reset": 7}] * 10)
    async with ios(apple) as to:
        outcome = await send(to)
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.PROVIDER
    assert "REFUSED_STREAM" in outcome.text
    assert len(apple.seen) == 4


async def test_goaway_loses_nothing(apple: Apple) -> None:
    """Twenty are held back, ten of them beyond what GOAWAY says was read: those go to a new connection, the others get
    their answer on the old one."""
    async with ios(apple, connections=1) as to:
        await send(to, make(0))
        await apple.script(*[{"hold": True}] * 20)
        sending = [asyncio.create_task(send(to, make(number))) for number in range(1, 21)]
        await apple.until(lambda: len(apple.seen) == 21)
        last = sorted(one["stream"] for one in apple.seen[1:])[9]
        await apple.tell(goaway={"last": last})
        await apple.until(lambda: len(apple.seen) == 31)
        await apple.tell(release=True)
        outcomes = await asyncio.gather(*sending)
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert apple.sessions == 2


async def test_goaway_with_all_streams_read_is_a_farewell(apple: Apple) -> None:
    """As Apple and proxies say it before they stop: the highest number first, then silence for a while."""
    async with ios(apple, connections=1) as to:
        await apple.script({"hold": True})
        first = asyncio.create_task(send(to, make(1)))
        await apple.until(lambda: len(apple.seen) == 1)
        await apple.tell(goaway={"last": 2**31 - 1})
        await asyncio.sleep(0.1)  # until it is here
        assert isinstance(await send(to, make(2)), Delivered)
        await apple.tell(release=True)
        assert isinstance(await first, Delivered)
    assert apple.sessions == 2


async def test_a_cut_while_many_are_under_way(apple: Apple) -> None:
    async with ios(apple) as to:
        await apple.script(*[{"hold": True}] * 50)
        sending = [asyncio.create_task(send(to, make(number))) for number in range(50)]
        await apple.until(lambda: len(apple.seen) == 50)
        await apple.tell(destroy=True)
        outcomes = await asyncio.gather(*sending)
        assert {type(outcome) for outcome in outcomes} == {Unknown}
        assert isinstance(await send(to), Delivered)


async def test_a_closed_connection_is_replaced_without_a_trace(apple: Apple) -> None:
    async with ios(apple) as to:
        await send(to)
        await apple.tell(destroy=True)
        await apple.until(lambda: apple.open == 0)
        assert isinstance(await send(to), Delivered)
    assert apple.sessions == 2


async def test_a_connection_that_died_silently_is_found_by_a_ping(apple: Apple) -> None:
    """A middle box swallows everything: the ping goes unanswered before any message is risked."""
    swallow = asyncio.Event()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not swallow.is_set():
                writer.write(data)
        writer.close()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", apple.port)
        try:
            await asyncio.gather(pipe(reader, back), pipe(there, writer), return_exceptions=True)
        finally:
            back.close()
            await back.wait_closed()

    async with talking(between) as port:
        url = f"http://127.0.0.1:{port}"
        async with ios(apple, url=url, ping=0.05, timeouts={**QUICK, "connect": 0.2}) as to:
            assert isinstance(await send(to), Delivered)
            await asyncio.sleep(0.3)  # pings are answered
            assert apple.sessions == 1
            swallow.set()
            await asyncio.sleep(0.4)
            swallow.clear()
            assert isinstance(await send(to), Delivered)
            assert apple.sessions == 2


async def test_nobody_there(apple: Apple) -> None:
    async with ios(apple, url="http://127.0.0.1:9") as to:
        outcomes = await asyncio.gather(*(send(to, make(number)) for number in range(5)))
        (check,) = to.checks()
    assert all(isinstance(one, Deferred) and one.scope is Scope.PROVIDER for one in outcomes)
    assert not check.ok
    assert "no connection" in check.text


async def test_a_server_that_says_nothing_is_given_up(apple: Apple) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(silent) as port:
        async with ios(apple, url=f"http://127.0.0.1:{port}", timeouts={**QUICK, "connect": 0.2}) as to:
            outcome = await send(to)
        assert isinstance(outcome, Deferred)
        assert "no connection within 0.2 s" in outcome.text


# --------------------------------------------------------------------------------------------------------- SETTINGS


async def test_no_more_streams_than_the_server_allows(start_apple: StartApple) -> None:
    async with start_apple(maxConcurrentStreams=3) as apple, ios(apple, connections=2) as to:
        await apple.script(*[{"delay": 20}] * 30)
        handed = Handed()
        outcomes = await asyncio.gather(*(send(to, make(number), handed) for number in range(30)))
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
        await send(to, make(99), handed)
    assert len(apple.seen) == 31  # node answers what is beyond its limit with REFUSED_STREAM
    assert apple.sessions == 2
    assert handed.admitted[-1] == ("apns/shop", "", 6)


async def test_a_server_may_change_its_mind_about_streams(start_apple: StartApple) -> None:
    """As Apple does: one stream at a time, then many, then one again."""
    async with start_apple(maxConcurrentStreams=1) as apple, ios(apple, connections=1) as to:
        await apple.script({"hold": True})
        sending = [asyncio.create_task(send(to, make(number))) for number in range(10)]
        await apple.until(lambda: len(apple.seen) == 1)
        await apple.tell(settings={"maxConcurrentStreams": 100})
        await apple.until(lambda: len(apple.seen) == 10)
        await apple.tell(settings={"maxConcurrentStreams": 1})
        await apple.tell(release=True)
        assert all(isinstance(outcome, Delivered) for outcome in await asyncio.gather(*sending))
        outcomes = await asyncio.gather(*(send(to, make(number)) for number in range(10, 20)))
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert len(apple.seen) == 20


async def test_waiting_for_a_place_ends(start_apple: StartApple) -> None:
    timeouts = {**QUICK, "wait": 0.1}
    async with start_apple(maxConcurrentStreams=1) as apple, ios(apple, connections=1, timeouts=timeouts) as to:
        await apple.script({"hold": True})
        first = asyncio.create_task(send(to, make(1)))
        await apple.until(lambda: len(apple.seen) == 1)
        late = await send(to, make(2))
        await apple.tell(release=True)
        assert isinstance(await first, Delivered)
        assert isinstance(late, Deferred)
        assert late.text == "all 1 places were busy for 0.1 s"
        assert isinstance(await send(to, make(3)), Delivered)


async def test_small_windows_are_kept_to(start_apple: StartApple) -> None:
    """Bodies of 3 kB through windows of 100 bytes."""
    async with start_apple(initialWindowSize=100) as apple, ios(apple) as to:
        outcomes = await asyncio.gather(*(send(to, make(number, body="x" * 3000)) for number in range(20)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert all(json.loads(one["body"])["aps"]["alert"]["body"] == "x" * 3000 for one in apple.seen)


async def test_a_window_for_the_whole_connection_that_is_used_up(apple: Apple) -> None:
    """More than the 65,535 bytes a connection begins with."""
    async with ios(apple, connections=1) as to:
        outcomes = await asyncio.gather(*(send(to, make(number, body="x" * 3500)) for number in range(60)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)


# ----------------------------------------------------------------------------------------------------- the contract


async def test_a_delivery_that_is_cancelled_gives_its_place_back(start_apple: StartApple) -> None:
    async with start_apple(maxConcurrentStreams=1) as apple, ios(apple, connections=1) as to:
        await apple.script({"hang": True})
        sending = asyncio.create_task(send(to))
        await apple.until(lambda: len(apple.seen) == 1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert isinstance(await send(to), Delivered)
    assert apple.sessions == 1
