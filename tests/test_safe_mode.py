"""A test installation writes to nobody but those it may, whatever channel, template or plugin."""

from __future__ import annotations

import asyncio
import email.policy
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiosmtpd.smtp import SMTP, Envelope
from command_line import runner, sample_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu import Attempt, Content, Delivered, Event, IncomingEvent, Message, Operator, Queue, TemplateRef
from petitbleu.audit import ITSELF
from petitbleu.config import SAMPLE
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.safemode import SafeMode, Withheld
from petitbleu.serving.app import Server, running
from petitbleu.store import open_store
from petitbleu.store.payload import moment
from pigeon_rig import Rig, Script

MC = Operator("mc", frozenset({"push"}))
KINDS = {"email": "email", "sms": "mobilePhone", "pigeon": "mobilePhone"}
ALLOW = ["--set", "safe_mode.enabled=true", "--set", "safe_mode.allow=['*@Seed.example', 'ann@shop.example.com']"]


@dataclass
class Relay:
    """Keeps what it is given."""

    mails: list[tuple[str, EmailMessage]] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        given = envelope.content
        assert isinstance(given, bytes)
        content = email.message_from_bytes(given, policy=email.policy.default)
        assert isinstance(content, EmailMessage)
        self.mails.append((envelope.rcpt_tos[0], content))
        return "550 5.1.1 no such user" if envelope.rcpt_tos == ["bad@seed.example"] else "250 kept"


@asynccontextmanager
async def serving(url: str, *sets: str) -> AsyncIterator[tuple[Server, Relay, list[str]]]:
    relay, loop = Relay(), asyncio.get_running_loop()
    async with await loop.create_server(lambda: SMTP(relay, loop=loop), "127.0.0.1", 0) as smtp:
        here = [f"database={url}", f"plugins.email.providers.main.port={smtp.sockets[0].getsockname()[1]}", *sets]
        async with running(SAMPLE, ["http.port=0", *here]) as server:
            drafts = server.instance.drafts
            await server.instance.templates.publish(drafts.load("password_reset", "email"), ITSELF)
            await server.instance.templates.publish(drafts.load("password_reset", "sms"), ITSELF)
            yield server, relay, here


async def send(server: Server, **attributes: str) -> tuple[str, str]:
    data: Any = {"user": {"login": "z"}, "link": "https://e.example/", "minutes": "30"}
    event = IncomingEvent(Queue.REALTIME, {"type": "password_reset", **attributes}, {"ctx": data})
    (number,) = await server.instance.intake([event], MC)
    for _ in range(500):
        (row,) = await server.instance.store.read("SELECT status, reason FROM events WHERE id = ?", [number])
        if row["status"] != "pending":
            return row["status"], row["reason"]
        await asyncio.sleep(0.02)
    raise AssertionError("it never ended")


SAFE = (
    "safe_mode.enabled=true",
    "safe_mode.allow=['*@seed.example']",
    "safe_mode.catch_all.email=catch@seed.example",
    "safe_mode.prefix='[TEST] '",
)


async def test_customers_get_nothing_and_testers_see_for_whom_it_was(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(sqlite_url, *SAFE) as (server, relay, _):
        assert (await send(server, email="zoe@example.com"))[0] == "sent"
        assert (await send(server, email="Tester@Seed.example"))[0] == "sent"
        status, reason = await send(server, mobilePhone="+33612345678", wishedChannel="sms")
        assert (status, "and sms has no catch_all" in reason, "+336" in reason) == ("ignored", True, False)
        caught, allowed = relay.mails
        assert (caught[0], caught[1]["To"]) == ("catch@seed.example", "catch@seed.example")
        assert caught[1]["X-Original-To"] == "zoe@example.com"
        assert caught[1]["Subject"].startswith("[TEST] ")
        assert (allowed[0], allowed[1]["X-Original-To"]) == ("Tester@Seed.example", None)
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{server.url}/readyz") as response:
                page = await response.json()
            async with client.get(f"{server.url}/metrics") as response:
                assert "petitbleu_safe_mode 1.0" in await response.text()
        assert [one["text"] for one in page["checks"] if one["name"] == "safe mode"] == [
            "SAFE MODE: only addresses that fit safe_mode.allow are written to; messages to others go to a catch-all "
            "address by email, and nowhere by other channels"
        ]
        assert page["status"] in ("warning", "failing")
    banners = [one.getMessage() for one in caplog.records if "SAFE MODE" in one.getMessage()]
    assert banners
    assert all("@" not in one for one in banners)


async def test_what_the_catch_all_answers_suppresses_no_customer(sqlite_url: str) -> None:
    async with serving(sqlite_url, *SAFE, "safe_mode.catch_all.email=bad@seed.example") as (server, _, _):
        assert (await send(server, email="zoe@example.com"))[0] == "failed"
        assert await server.instance.store.read("SELECT * FROM suppressions", []) == []


async def test_into_the_sink_goes_everything(sqlite_url: str) -> None:
    async with serving(sqlite_url, "safe_mode.enabled=true", "safe_mode.sink=true") as (server, relay, _):
        for attributes in ({"email": "zoe@example.com"}, {"mobilePhone": "+33612345678", "wishedChannel": "sms"}):
            status, reason = await send(server, **attributes)
            assert (status, reason[:30]) == ("sent", "safe mode: nothing was sent by")
        assert relay.mails == []


def test_proofs_are_held_back_too_and_commands_say_so(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    proof = run("templates", "proof", "password_reset/email", "--to", "zoe@example.com", *ALLOW)
    assert proof.code == 1
    assert "withheld: safe mode: the recipient is not in safe_mode.allow" in proof.out
    assert "safe_mode.enabled: this installation writes to those of safe_mode.allow only" in run("check", *ALLOW).err
    forgotten = run("check", "--set", "safe_mode.sink=true")
    assert "safe_mode: is not enabled, so its other settings" in forgotten.err


async def test_no_plugin_is_given_another_address(sqlite_url: str) -> None:
    """A channel of somebody else's, whose plugin looks at the event rather than the message."""
    script = Script()
    async with open_store(sqlite_url) as store:
        rig = Rig(store, script)
        calls = rig.worker._delivery._calls
        calls.safe_mode = SafeMode(("+331*",), {"pigeon": "+33700000000"}, False, "", KINDS)
        async with rig.at_work():
            both = {"mobilePhone": "+33612345678", "email": "zoe@example.com"}
            await rig.until(await rig.push(addresses=both), "sent")
            await rig.until(await rig.push(addresses={"mobilePhone": "+33100000000"}), "sent")
    assert [(one.address, one.event.addresses, one.instead_of) for one in script.messages] == [
        ("+33700000000", {"mobilePhone": "+33700000000"}, "+33612345678"),
        ("+33100000000", {"mobilePhone": "+33100000000"}, ""),
    ]


ADDRESSES = st.from_regex(r"[a-zA-Z.]{1,8}@[a-z]{1,4}\.(example|test)", fullmatch=True)


@settings(deadline=None)
@given(ADDRESSES, st.lists(ADDRESSES, max_size=3), st.booleans())
def test_nothing_goes_to_an_address_that_is_not_allowed(to: str, allow: Sequence[str], caught: bool) -> None:
    safe = SafeMode(tuple(allow), {"email": "catch@all.example"} if caught else {}, False, "[T] ", KINDS)
    event = Event(1, "t", Queue.REALTIME, "email", {}, moment(0), {"email": to, "mobilePhone": "+1"})
    message = Message(event, "email", to, "", TemplateRef("t", "email", 1), Content({}, {"subject": "s"}), "k")
    allowed = to.lower() in [one.lower() for one in allow]
    if not allowed and not caught:
        with pytest.raises(Withheld):
            safe.made_safe(message)
        return
    made = safe.made_safe(message)
    assert made.address == (to if allowed else "catch@all.example")
    assert made.event.addresses == {"email": made.address}
    assert made.instead_of == ("" if allowed else to)
    assert made.content.fields["subject"] == "[T] s"


async def test_without_it_messages_are_as_they_were() -> None:
    loaded = load([], [])
    script = Script()

    async def taken(message: Message, attempt: Attempt) -> Delivered:
        return Delivered("p", message.address)

    script.deliver = taken
    loaded.add_core(script)
    calls = Calls(loaded, 1.0)
    calls.channels()
    event = Event(1, "t", Queue.REALTIME, "pigeon", {}, moment(0), {"mobilePhone": "+1"})
    message = Message(event, "pigeon", "+1", "", TemplateRef("t", "pigeon", 1), Content({}, {}), "k")
    await calls.deliver(message, Attempt(1, _free), 1.0)
    assert script.messages == [message]


async def _free(provider: str) -> None:
    pass


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("safe_mode.catch_all.email=catch", "safe_mode.catch_all.email: is not an email address"),
        ("safe_mode.catch_all.fax='+33612345678'", "no plugin here serves the channel 'fax'"),
        ("safe_mode.allow=['*']", "'*' is everybody"),
    ],
)
def test_settings_that_would_not_hold_are_refused(
    setting: str, said: str, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = runner(sample_copy(tmp_path), sqlite_url, capsys)("check", "--set", setting)
    assert ended.code == 1
    assert said in ended.err
    assert json.dumps(ended.out) == '""'
