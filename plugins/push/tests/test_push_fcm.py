"""FCM against a server that takes assertions, messages and offence as Google's does."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from petitbleu import Deferred, Delivered, Failed, Scope
from petitbleu_push.google import AccessToken, NoToken
from push_rig import (
    DEVICE,
    SHOP,
    TOKEN,
    Apple,
    Google,
    Handed,
    always,
    android,
    error,
    make,
    opened,
    send,
    verdict,
)

pytest_plugins = ("push_servers",)


def note(number: int = 1, **fields: Any) -> Any:
    return make(number, "android", DEVICE, **fields)


async def test_a_notification_arrives_as_it_was_written(google: Google) -> None:
    handed = Handed()
    message = note(
        link="shop://orders/7",
        image="https://img.example.com/7.png",
        data={"order": "7"},
        badge=2,
        sound="default",
        category="OPEN_ORDER",
        notification_channel="orders",
        ttl=600,
    )
    async with android(google) as to:
        outcome = await send(to, message, handed)
    assert outcome == Delivered("fcm/shop", "200", "200", "projects/shop-1/messages/0:1%31bd1c96")
    assert handed.admitted == [("fcm/shop", "", 50)]
    assert handed.handed_off == ["fcm/shop"]
    (seen,) = google.seen
    tag = seen["message"]["android"]["notification"].pop("tag")
    assert len(tag) == 32
    assert seen == {
        "message": {
            "token": DEVICE,
            "notification": {
                "title": "Shipped",
                "body": "Your parcel is on its way",
                "image": "https://img.example.com/7.png",
            },
            "data": {"order": "7", "link": "shop://orders/7"},
            "android": {
                "priority": "HIGH",
                "ttl": "600s",
                "notification": {
                    "sound": "default",
                    "click_action": "OPEN_ORDER",
                    "channel_id": "orders",
                    "notification_count": 2,
                },
            },
        }
    }


async def test_a_repeat_replaces_the_first(google: Google) -> None:
    async with android(google) as to:
        for number in (1, 1, 2):
            await send(to, note(number))
        await send(to, note(3, collapse="order-7"))
    tags = [one["message"]["android"]["notification"]["tag"] for one in google.seen]
    assert tags[0] == tags[1] != tags[2]
    assert tags[3] == google.seen[3]["message"]["android"]["collapse_key"] == "order-7"
    assert "collapse_key" not in google.seen[0]["message"]["android"]


async def test_an_installation_is_told_from_a_token(google: Google) -> None:
    async with android(google) as to:
        for channel, address in (
            ("android", "fGx7-Zk_9aBcDeFgHiJkLm"),
            ("ios", "cGx7-Zk_9aBcDeFgHiJkLm"),
            ("ios", DEVICE),
        ):
            assert isinstance(await send(to, make(1, channel, address)), Delivered)
    assert [one["message"].get("fid") for one in google.seen] == [
        "fGx7-Zk_9aBcDeFgHiJkLm",
        "cGx7-Zk_9aBcDeFgHiJkLm",
        None,
    ]
    assert [one["message"].get("token") for one in google.seen] == [None, None, DEVICE]


async def test_silent_messages_show_nothing(google: Google) -> None:
    async with android(google) as to:
        assert isinstance(await send(to, note(silent=True, data={"sync": "1"}, priority="normal")), Delivered)
    (seen,) = google.seen
    assert "notification" not in seen["message"]
    assert seen["message"]["data"] == {"sync": "1"}
    assert set(seen["message"]["android"]) == {"priority", "ttl"}


async def test_nothing_is_kept_beyond_the_events_expiration(google: Google) -> None:
    async with android(google) as to:
        await send(to, make(1, "android", DEVICE, expires=100, ttl=4000))
        await send(to, make(1, "android", DEVICE, expires=10**8))
    seconds = [int(one["message"]["android"]["ttl"].removesuffix("s")) for one in google.seen]
    assert 98 <= seconds[0] <= 100
    assert seconds[1] == 2_419_200


async def test_an_ios_device_that_is_registered_with_fcm(google: Google, apple: Apple) -> None:
    """What APNs would get is passed on; a token of APNs' own form goes to Apple all the same."""
    apps = {"shop": {"uuid": SHOP, "fcm": google.settings(), "apns": apple.settings()}}
    async with opened(apps) as to:
        outcome = await send(to, make(1, "ios", DEVICE, badge=3, link="shop://7"))
        assert isinstance(outcome, Delivered)
        assert outcome.provider == "fcm/shop"
        outcome = await send(to, make(1, "ios", TOKEN))
        assert isinstance(outcome, Delivered)
        assert outcome.provider == "apns/shop"
    (seen,) = google.seen
    (direct,) = apple.seen
    passed = seen["message"]["apns"]
    assert passed["payload"] == {
        "aps": {"badge": 3, "alert": {"title": "Shipped", "body": "Your parcel is on its way"}},
        "link": "shop://7",
    }
    for name in ("apns-id", "apns-collapse-id", "apns-priority", "apns-push-type"):
        assert passed["headers"][name] == direct["headers"][name]
    assert "apns-topic" not in passed["headers"]


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("answer", "kind", "scope", "code"),
    [
        (error(404, "NOT_FOUND", "UNREGISTERED"), Failed, Scope.ADDRESS, "404 UNREGISTERED"),
        (error(404, "NOT_FOUND"), Deferred, Scope.PROVIDER, "404 NOT_FOUND"),
        (error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), Failed, Scope.MESSAGE, "400 INVALID_ARGUMENT"),
        (error(400, "INVALID_ARGUMENT"), Failed, Scope.MESSAGE, "400 INVALID_ARGUMENT"),
        (error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), Failed, Scope.MESSAGE, "403 SENDER_ID_MISMATCH"),
        (error(403, "PERMISSION_DENIED"), Deferred, Scope.PROVIDER, "403 PERMISSION_DENIED"),
        (
            error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
            Deferred,
            Scope.PROVIDER,
            "401 THIRD_PARTY_AUTH_ERROR",
        ),
        (error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), Deferred, Scope.PROVIDER, "429 QUOTA_EXCEEDED"),
        (error(500, "INTERNAL", "INTERNAL"), Deferred, Scope.PROVIDER, "500 INTERNAL"),
        (error(503, "UNAVAILABLE", "UNAVAILABLE"), Deferred, Scope.PROVIDER, "503 UNAVAILABLE"),
        (web.Response(status=502, text="<html>Bad gateway</html>"), Deferred, Scope.PROVIDER, "502"),
        (web.Response(status=404, text="<html>Not found</html>"), Deferred, Scope.PROVIDER, "404"),
        (web.Response(status=404, text="[]"), Deferred, Scope.PROVIDER, "404"),
        (web.json_response({"error": {"details": ["x", {"errorCode": 7}]}}, status=400), Failed, Scope.MESSAGE, "400"),
        (web.Response(status=302, headers={"Location": "/elsewhere"}), Deferred, Scope.PROVIDER, "302"),
        (web.Response(status=418), Failed, Scope.MESSAGE, "418"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_refusals(google: Google, answer: web.Response, kind: type, scope: Scope, code: str) -> None:
    google.script.append(always(answer))
    async with android(google) as to:
        outcome = await send(to, note())
    assert verdict(outcome) == (kind, scope, code)
    assert len(google.seen) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        (timedelta(hours=1), 3600),
        (timedelta(hours=-1), 0),
        ("9999999999", 86_400),
        ("soon", None),
        ("-3", None),
    ],
)
async def test_retry_after_is_heeded(google: Google, value: str | timedelta, seconds: float | None) -> None:
    if isinstance(value, timedelta):
        value = format_datetime(datetime.now(UTC) + value, usegmt=True)
    google.script.append(always(error(503, "UNAVAILABLE", headers={"Retry-After": value})))
    async with android(google) as to:
        outcome = await send(to, note())
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after == (None if seconds is None else pytest.approx(seconds, abs=60))


async def test_what_google_says_is_kept_without_tokens(google: Google) -> None:
    text = f"The registration token {DEVICE} is not a valid\r\nFCM registration token"
    google.script.append(always(error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", text)))
    async with android(google) as to:
        outcome = await send(to, note())
    assert outcome.text == "400 INVALID_ARGUMENT The registration token … is not a valid FCM registration token"


# ---------------------------------------------------------------------------------------------------- access tokens


async def test_one_token_serves_all(google: Google) -> None:
    async with android(google) as to:
        outcomes = await asyncio.gather(*(send(to, note(number)) for number in range(40)))
        await send(to, note(41))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert google.asked == 1


async def test_a_token_is_replaced_ahead_of_its_end_and_nobody_waits(google: Google) -> None:
    google.lifetime = 200  # less than what is "ahead"
    async with android(google) as to:
        for number in range(5):
            assert isinstance(await send(to, note(number)), Delivered)
            await asyncio.sleep(0.05)
    assert google.asked > 1


async def test_an_expired_token_costs_no_attempt(google: Google) -> None:
    handed = Handed()
    async with android(google) as to:
        await send(to, note(0))
        google.valid.clear()
        outcomes = await asyncio.gather(*(send(to, note(number), handed) for number in range(10)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert google.asked == 2
    assert len(handed.handed_off) == 10


async def test_a_service_that_takes_no_token_is_not_asked_for_ever(google: Google) -> None:
    google.script.extend(always(error(401, "UNAUTHENTICATED")) for _ in range(10))
    async with android(google) as to:
        outcome = await send(to, note())
    assert verdict(outcome) == (Deferred, Scope.PROVIDER, "401 UNAUTHENTICATED")
    assert len(google.seen) == 2


async def test_a_revoked_account(google: Google) -> None:
    """Its reason is told, nothing goes out, and Google is not asked for each message anew."""
    google.grants.append(web.json_response({"error": "invalid_grant", "error_description": "secret"}, status=400))
    handed = Handed()
    async with android(google) as to:
        outcomes = [await send(to, note(number), handed) for number in range(3)]
        (check,) = to.checks()
    assert {verdict(one) for one in outcomes} == {(Deferred, Scope.PROVIDER, "")}
    assert "RefreshError; check the service account" in outcomes[0].text
    assert "secret" not in outcomes[0].text
    assert google.asked == 1
    assert google.seen == []
    assert handed.handed_off == []
    assert not check.ok


async def test_after_a_failure_google_is_asked_again_a_little_later(google: Google) -> None:
    seconds = [100.0]
    google.grants.append(web.json_response({"error": "invalid_grant"}, status=400))
    token = AccessToken(json.loads(google.settings()["service_account"]), 5, lambda: seconds[0])
    with pytest.raises(NoToken):
        await token.value()
    seconds[0] += 4
    with pytest.raises(NoToken):
        await token.value()
    seconds[0] += 2
    assert await token.value() == "ya29.2"
    await token.close()


# ------------------------------------------------------------------------------------------------------- no answer


@pytest.mark.parametrize("answer", ["<html>log in to the wireless network</html>", '{"access_token": "x"}', "[]"])
async def test_whatever_stands_in_for_googles_answer_is_a_failure_like_others(google: Google, answer: str) -> None:
    google.grants.extend(web.Response(text=answer, content_type="text/html") for _ in range(2))
    async with android(google) as to:
        for _ in range(2):
            outcome = await send(to, note())
            assert isinstance(outcome, Deferred)
            assert outcome.scope is Scope.PROVIDER
            assert outcome.text.startswith("Google gives no access token: ")
    # the second message waits until it is asked again
    assert (google.asked, google.seen) == (1, [])


async def test_an_endless_answer_is_cut(google: Google) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=400)
        await response.prepare(request)
        while not google.gate.is_set():
            await response.write(b"x" * 10_000)
        return response

    google.script.append(endless)
    async with android(google) as to:
        assert verdict(await send(to, note())) == (Failed, Scope.MESSAGE, "400")


async def test_a_message_that_google_took_is_not_sent_again_because_the_answer_breaks_off(google: Google) -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"name": ')
        assert request.transport is not None
        request.transport.close()
        return response

    google.script.append(breaks)
    async with android(google) as to:
        assert await send(to, note()) == Delivered("fcm/shop", "200", "200", "")
    assert len(google.seen) == 1
