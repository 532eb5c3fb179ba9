"""Against npm's smpp as SMSC: what goes out, what comes back, and what goes wrong in between."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from petitbleu import Deferred, Delivered, Failed, ReceiptState, Scope, Unknown

pytest_plugins = ("sms_parts",)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LONG = "Grüße aus Köln, dies ist eine lange Nachricht mit € und {Klammern}. " * 5
WIDE = "Привет, это длинное сообщение 👋 для проверки. " * 4


async def test_a_message_goes_out_as_it_was_written(npm_smsc: Any, messenger: Any, send: Any, core: Any) -> None:
    async with npm_smsc(password="s3cret") as (smsc, port):
        async with messenger(port, system_id="petit", password="s3cret") as state:
            outcome = await send(state, text="Ça coûte 5 €\n", sender="Shop", expiration=NOW + timedelta(hours=26))
            assert outcome == Delivered("main", "taken as 1000001", "ESME_ROK", "1000001", ("1000001",))
            (seen,) = await smsc.wait_for(lambda one: "submit" in one)
            assert seen["submit"] == "33612345678"
            assert seen["destination"] == [1, 1]
            assert seen["source"] == [5, 0, "Shop"]
            # the circumflex is not in the GSM alphabet
            assert (seen["text"], seen["data_coding"]) == ("Ça coûte 5 €", 8)
            assert seen["registered_delivery"] == 1
            # relative, so the SMSC counts from its own time
            until = datetime.fromisoformat(seen["validity_period"]) - datetime.now(UTC)
            assert abs(until - timedelta(hours=26)) < timedelta(minutes=1)
            (bound,) = smsc.of("bind")
            assert bound == {"bind": "transceiver", "system_id": "petit", "known": True, "interface_version": 0x34}
        (unbound,) = await smsc.wait_for(lambda one: "unbind" in one)
        assert unbound["outstanding"] == 0
    assert core.handed_off == ["main"]
    assert core.admitted == [("main", "+33", 10)]


@pytest.mark.parametrize("text", [LONG, WIDE], ids=["GSM", "UCS-2"])
@pytest.mark.parametrize("concatenation", ["udh", "udh16", "sar", "payload"])
async def test_long_texts_in_parts(npm_smsc: Any, messenger: Any, send: Any, concatenation: str, text: str) -> None:
    async with npm_smsc() as (smsc, port), messenger(port, concatenation=concatenation) as state:
        outcome = await send(state, text=text)
        assert isinstance(outcome, Delivered)
        seen = await smsc.wait_for(lambda one: "submit" in one, 1 if concatenation == "payload" else 3)
        assert "".join(one["text"] for one in seen) == text.strip()
        assert len(outcome.awaits) == len(seen)
        if concatenation == "payload":
            assert [one["payload"] for one in seen] == [True]
        else:
            assert len(seen) == 3
            if concatenation == "sar":
                assert [one["sar"][1:] for one in seen] == [[3, 1], [3, 2], [3, 3]]
                assert len({one["sar"][0] for one in seen}) == 1
            else:
                head = {"udh": "0003", "udh16": "0804"}[concatenation]
                numbers = [one["udh"][0] for one in seen]
                assert [(one[:4], one[-4:]) for one in numbers] == [(head, f"030{number}") for number in (1, 2, 3)]
                assert len({one[4:-4] for one in numbers}) == 1


@pytest.mark.parametrize("form", ["text", "tlv"])
@pytest.mark.parametrize(("ids", "swap"), [("decimal", False), ("decimal", True), ("hex", False), ("hex", True)])
async def test_receipts_find_their_message(
    npm_smsc: Any, messenger: Any, send: Any, core: Any, form: str, ids: str, swap: bool
) -> None:
    states = {"33600000001": "UNDELIV", "33600000002": "EXPIRED", "33600000003": "ENROUTE", "33600000004": "REJECTD"}
    receipts = {"form": form, "states": states, "twice": form == "text", "early": ids == "hex"}
    async with npm_smsc(ids=ids, swap=swap, receipts=receipts) as (smsc, port), messenger(port) as state:
        awaited = {}
        for number in range(5):
            outcome = await send(state, number=number, address=f"+3360000000{number}")
            awaited[outcome.awaits[0]] = number
        count = 10 if form == "text" else 5
        found = await core.until_receipts(count)
        acknowledged = await smsc.wait_for(lambda one: "acknowledged" in one, count)
    assert {one["status"] for one in acknowledged} == {0}
    told = {}
    for receipt in found:
        (number,) = {awaited[name] for name in receipt.names if name in awaited}
        told[number] = receipt.state, receipt.scope
    assert told == {
        0: (ReceiptState.RECEIVED, Scope.MESSAGE),
        1: (ReceiptState.BOUNCED, Scope.ADDRESS),
        2: (ReceiptState.BOUNCED, Scope.ADDRESS),
        3: (ReceiptState.UNDERWAY, Scope.MESSAGE),
        4: (ReceiptState.BOUNCED, Scope.MESSAGE),
    }
    if form == "text":
        assert {(one.code, one.at) for one in found} == {("00B", datetime(2026, 11, 25, 12, 1, 30, tzinfo=UTC))}


async def test_receipts_come_on_another_bind(npm_smsc: Any, messenger: Any, send: Any, core: Any) -> None:
    async with npm_smsc(receipts={}) as (smsc, port), messenger(port, binds={"transmitter": 2, "receiver": 1}) as state:
        outcomes = [await send(state, number=number) for number in range(4)]
        found = await core.until_receipts(4)
        await smsc.wait_for(lambda one: "bind" in one, 3)
    assert sorted(one["bind"] for one in smsc.of("bind")) == ["receiver", "transmitter", "transmitter"]
    assert {name for one in found for name in one.names} >= {one.awaits[0] for one in outcomes}


async def test_a_receipt_is_acknowledged_only_once_it_is_stored(
    npm_smsc: Any, messenger: Any, send: Any, core: Any
) -> None:
    core.broken = True
    async with npm_smsc(receipts={}) as (smsc, port), messenger(port) as state:
        await send(state)
        (told,) = await smsc.wait_for(lambda one: "acknowledged" in one)
        # ESME_RX_T_APPN: the SMSC comes again
        assert told["status"] == 0x64
        core.broken = False
        await send(state)
        await smsc.wait_for(lambda one: one.get("status") == 0)
    assert len(core.receipts) == 1


async def test_a_lost_response_is_unknown_and_waits_for_its_receipt(
    npm_smsc: Any, messenger: Any, send: Any, core: Any
) -> None:
    receipts = {"form": "tlv", "reference": True}
    timeouts = {"response": 0.1, "unbind": 0.2}
    async with (
        npm_smsc(mute=["33600000001"], receipts=receipts) as (_, port),
        messenger(port, timeouts=timeouts) as state,
    ):
        outcome = await send(state, address="+33600000001")
        assert isinstance(outcome, Unknown)
        assert outcome.text == "submit_sm: no answer to submit_sm in 0.1 s"
        (receipt,) = await core.until_receipts(1)
        assert set(outcome.awaits) & set(receipt.names)
        # nothing of the number can be read in the name
        assert "600000001" not in "".join(receipt.names)


async def test_the_window_is_kept(npm_smsc: Any, messenger: Any, send: Any) -> None:
    binds = {"transceiver": 2}
    orders = {"window": 5, "latency": 3, "mute": ["33600000007"]}
    async with (
        npm_smsc(**orders) as (smsc, port),
        messenger(port, window=5, binds=binds, timeouts={"response": 0.5, "wait": 20}) as state,
    ):
        numbers = [f"+336000000{number:02}" for number in range(97)]
        outcomes = await asyncio.gather(*(send(state, address=one, text=LONG) for one in numbers))
        await smsc.wait_for(lambda one: "submit" in one, 97 * 3)
    assert sum(isinstance(one, Unknown) for one in outcomes) == 1
    assert sum(isinstance(one, Delivered) for one in outcomes) == 96
    assert len(smsc.of("submit")) == 97 * 3
    assert [one for one in smsc.of("submit") if one["over"]] == []
    assert max(one["outstanding"] for one in smsc.of("submit")) == 5


async def test_throttling_slows_down_and_costs_nothing(npm_smsc: Any, messenger: Any, send: Any) -> None:
    throttle = {"first": 0.05, "cap": 0.2, "patience": 5}
    async with npm_smsc(throttle=20) as (smsc, port), messenger(port, window=10, throttle=throttle) as state:
        began = time.monotonic()
        outcomes = await asyncio.gather(*(send(state, number=number, text=LONG) for number in range(10)))
        assert time.monotonic() - began > 0.1
        await smsc.wait_for(lambda one: "submit" in one, 50)
    assert all(isinstance(one, Delivered) for one in outcomes)
    # no part twice, but for the refused ones
    assert len(smsc.of("submit")) == 10 * 3 + 20


async def test_a_message_that_is_throttled_for_long_is_put_back(npm_smsc: Any, messenger: Any, send: Any) -> None:
    throttle = {"first": 0.05, "cap": 0.1, "patience": 0.2}
    async with npm_smsc(throttle=10_000) as (_, port), messenger(port, throttle=throttle) as state:
        outcome = await send(state)
    assert isinstance(outcome, Deferred)
    assert (outcome.scope, outcome.code) == (Scope.PROVIDER, "ESME_RTHROTTLED")


@pytest.mark.parametrize(
    ("status", "kind", "scope", "name"),
    [
        (0x0B, Failed, Scope.ADDRESS, "ESME_RINVDSTADR"),
        (0x0A, Failed, Scope.MESSAGE, "ESME_RINVSRCADR"),
        (0x08, Deferred, Scope.PROVIDER, "ESME_RSYSERR"),
        (0x45, Deferred, Scope.MESSAGE, "ESME_RSUBMITFAIL"),
        (0x401, Failed, Scope.ADDRESS, "0x00000401"),
        (0x402, Deferred, Scope.MESSAGE, "0x00000402"),
    ],
)
async def test_refusals(
    npm_smsc: Any, messenger: Any, send: Any, status: int, kind: type[Deferred | Failed], scope: Scope, name: str
) -> None:
    statuses = {"0x401": {"outcome": "failed", "scope": "address"}}
    async with npm_smsc(refuse={"33612345678": status}) as (smsc, port), messenger(port, statuses=statuses) as state:
        outcome = await send(state, text=LONG)
        assert isinstance(outcome, kind)
        assert (outcome.scope, outcome.code) == (scope, name)
        # the other parts were not offered
        assert len(await smsc.wait_for(lambda one: "submit" in one)) == 1


async def test_a_cut_connection_with_a_full_window(npm_smsc: Any, messenger: Any, send: Any, core: Any) -> None:
    async with npm_smsc(cut=30, latency=20) as (smsc, port), messenger(port, window=20) as state:
        outcomes = await asyncio.gather(*(send(state, number=number) for number in range(60)))
        lost = sum(isinstance(one, Unknown) for one in outcomes)
        delivered = sum(isinstance(one, Delivered) for one in outcomes)
        # nothing is sent twice; what had been sent is unknown, all else went by the next session
        assert delivered + lost == 60
        assert 1 <= lost <= 20
        assert len(await smsc.wait_for(lambda one: "bind" in one, 2)) == 2
        assert len(smsc.of("submit")) <= 60


async def test_tls_verifies_the_host(npm_smsc: Any, messenger: Any, send: Any, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(cert)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    async with npm_smsc(tls={"key": str(key), "cert": str(cert)}) as (_, port):
        tls = {"security": "tls", "ca_file": tmp_path / "ca.pem"}
        async with messenger(port, host="localhost", **tls) as state:
            assert isinstance(await send(state), Delivered)
        for wrong in ({"host": "127.0.0.1"}, {"host": "localhost", "ca_file": tmp_path / "other.pem"}):
            async with messenger(port, wait=False, **{**tls, **wrong}) as state:
                outcome = await send(state)
                assert isinstance(outcome, Deferred)
                assert "certificate verify failed" in outcome.text
                assert outcome.scope is Scope.PROVIDER


async def test_a_refused_bind_is_told(npm_smsc: Any, messenger: Any, send: Any, core: Any) -> None:
    async with npm_smsc(password="right") as (_, port), messenger(port, wait=False, password="wrong") as state:
        outcome = await send(state)
        assert isinstance(outcome, Deferred)
        assert outcome.text == f"main (127.0.0.1:{port}): bind_transceiver: ESME_RINVPASWD"
        (check,) = state.checks()
        assert (check.ok, check.text) == (False, outcome.text)
    assert core.handed_off == []


async def test_a_silent_link_is_tried(npm_smsc: Any, messenger: Any) -> None:
    async with npm_smsc() as (smsc, port), messenger(port, timeouts={"enquire_link": 0.05}) as state:
        await smsc.wait_for(lambda one: "enquire_link" in one, 2)
        assert state.smscs["main"].connector.bound == 1
