"""The stand-ins that the demo starts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import petitbleu_push as plugin
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from petitbleu import Caught, Delivered, Failed, Scope
from petitbleu_push.settings import PushSettings
from push_rig import DEVICE, SHOP, TOKEN, Google, make, opened, pem, send, verdict

pytest_plugins = ("push_servers",)

APNS = {
    "team": "TEAM123456",
    "key_id": "KEY1234567",
    "key": pem(ec.generate_private_key(ec.SECP256R1())),
    "topic": "com.example.shop",
}


def merged(settings: Any, instead: Any) -> Any:
    """As `--set` puts one value in place of another."""
    if not isinstance(settings, dict) or not isinstance(instead, dict):
        return instead
    return {**settings, **{name: merged(settings.get(name), value) for name, value in instead.items()}}


async def test_notifications_are_told_as_they_are_shown(google: Google) -> None:
    settings = {"apps": {"shop": {"uuid": SHOP, "apns": APNS, "fcm": google.settings()}}}
    (catcher,) = plugin.petitbleu_catchers(settings=PushSettings.model_validate(settings))
    found: list[Caught] = []
    async with catcher.start(found.append) as instead:
        given = merged(settings, instead)
        async with opened(given["apps"], fetch=given["fetch"]) as to:
            outcomes = [
                await send(to, make(1, "ios", TOKEN, subtitle="Order 7", link="shop://7")),
                await send(to, make(2, "android", DEVICE, image="https://img.example.com/1.png")),
                await send(to, make(3, "ios", DEVICE)),
            ]
            many = await asyncio.gather(*(send(to, make(n, "ios", TOKEN, body="x" * 3000)) for n in range(4, 60)))
    assert all(isinstance(one, Delivered) for one in [*outcomes, *many])
    assert [one.reference for one in found[:3]] == [getattr(one, "reference", "") for one in outcomes]
    assert [one.channel for one in found[:3]] == ["ios", "android", "ios"]
    assert [one.to for one in found[:3]] == [TOKEN, DEVICE, DEVICE]
    assert {one.problems for one in found} == {()}
    assert found[0].lines[3:] == ("Shipped", "Order 7", "Your parcel is on its way", "[link: shop://7]")
    assert found[1].lines[3:] == ("Shipped", "Your parcel is on its way", "[image: https://img.example.com/1.png]")
    assert "by Google" in found[2].lines[0]
    assert google.seen == []
    assert len(found) == 59


async def test_what_is_wrong_is_named(google: Google) -> None:
    settings = {"apps": {"shop": {"uuid": SHOP, "fcm": google.settings()}}}
    (catcher,) = plugin.petitbleu_catchers(settings=PushSettings.model_validate(settings))
    found: list[Caught] = []
    async with catcher.start(found.append) as instead, opened(merged(settings, instead)["apps"]) as to:
        await send(to, make(1, "android", DEVICE, title="Hello {{ name }}"))
        await send(to, make(1, "android", DEVICE, silent=True, title="", body="", data={"a": "b"}))
    assert [one.problems for one in found] == [("shows template code",), ("shows nothing",)]


@pytest.mark.parametrize(("channel", "token"), [("ios", TOKEN[:-4] + "0000"), ("android", DEVICE + "0000")])
async def test_some_devices_are_gone(google: Google, channel: str, token: str) -> None:
    settings = {"apps": {"shop": {"uuid": SHOP, "apns": APNS, "fcm": google.settings()}}}
    (catcher,) = plugin.petitbleu_catchers(settings=PushSettings.model_validate(settings))
    found: list[Caught] = []
    async with catcher.start(found.append) as instead, opened(merged(settings, instead)["apps"]) as to:
        outcome = await send(to, make(1, channel, token))
    assert verdict(outcome)[:2] == (Failed, Scope.ADDRESS)
    assert found == []


async def test_nonsense_ends_a_connection() -> None:
    settings = {"apps": {"shop": {"uuid": SHOP, "apns": APNS}}}
    (catcher,) = plugin.petitbleu_catchers(settings=PushSettings.model_validate(settings))
    async with catcher.start(lambda _: None) as instead:
        port = int(instead["apps"]["shop"]["apns"]["url"].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 3)
        await reader.read()
        writer.close()
        assert json.dumps(dict(instead["fetch"])) == '{"hosts": ["127.0.0.1"]}'
