"""The stand-in for an SMSC that the demo starts."""

from __future__ import annotations

import asyncio
from typing import Any

import petitbleu_sms as plugin
import pytest
from petitbleu import Caught, Delivered, ReceiptState
from petitbleu_sms.catcher import catching
from petitbleu_sms.settings import SmsSettings

pytest_plugins = ("sms_parts",)

LONG = "Grüße aus Köln, dies ist eine lange Nachricht mit € und {Klammern}. " * 5
WIDE = "Привет, это длинное сообщение 👋 для проверки. " * 4


@pytest.mark.parametrize("concatenation", ["udh", "udh16", "sar", "payload"])
async def test_messages_are_told_whole_and_receipts_come(
    messenger: Any, send: Any, core: Any, concatenation: str
) -> None:
    found: list[Caught] = []
    async with (
        catching(found.append, port=0, receipt=0.01) as port,
        messenger(port, concatenation=concatenation) as state,
    ):
        outcomes = [await send(state, text=text, sender="Shop") for text in ("Hallo", LONG, WIDE)]
        assert all(isinstance(one, Delivered) for one in outcomes)
        receipts = await core.until_receipts(sum(len(one.awaits) for one in outcomes))
    assert [one.reference for one in found] == [one.reference for one in outcomes]
    assert ["\n".join(one.lines[4:]) for one in found] == ["Hallo", LONG.strip(), WIDE.strip()]
    assert found[0].lines[:3] == ("From:    Shop", "To:      +33612345678", "SMS:     1 part, GSM alphabet")
    assert [one.problems for one in found] == [(), (), ()]
    assert {name for one in outcomes for name in one.awaits} <= {name for one in receipts for name in one.names}
    assert {one.state for one in receipts} == {ReceiptState.RECEIVED}


async def test_what_is_wrong_with_a_message_is_named(messenger: Any, send: Any) -> None:
    found: list[Caught] = []
    async with catching(found.append, port=0) as port, messenger(port) as state:
        await send(state, text="Hello {{ name }}")
    assert found[0].problems == ("has no sender", "shows template code")


async def test_the_settings_lead_to_it_and_nowhere_else() -> None:
    gateway = {"url": "https://gate.example.com/"}
    connectors = {"main": {"host": "smsc.example.com", "security": "tls"}, "other": {"host": "smsc.example.net"}}
    settings = SmsSettings.model_validate({"connectors": connectors, "gateways": {"gate": gateway}})
    (catcher,) = plugin.petitbleu_catchers(settings=settings)
    async with catcher.start(lambda _: None) as instead:
        port = instead["connectors"]["main"]["port"]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    smsc = {"host": "127.0.0.1", "port": port, "security": "plain"}
    assert instead == {
        "connectors": {"main": smsc, "other": smsc},
        "gateways": {"gate": {"url": "http://127.0.0.1:9/"}},
    }


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", bytes(4), b"\0\0\0\x12" + b"\0\0\0\4" + bytes(10)])
async def test_nonsense_ends_a_connection(octets: bytes) -> None:
    async with catching(lambda _: None, port=0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets)
        assert await reader.read() == b""
        writer.close()
