"""A whole server on PostgreSQL with an SMSC that nobody here wrote: from the event to what its receipt makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from petitbleu import IncomingEvent, Operator, Queue
from petitbleu.audit import ITSELF
from petitbleu.cli import main
from petitbleu.serving.app import Server, running

pytest_plugins = ("sms_parts",)

CONFIG = """
instance: {name: test, cell: 1}
database: sqlite://unused.db
http: {host: 127.0.0.1, port: 0}
plugins:
  - sms:
      connectors:
        main:
          host: 127.0.0.1
          port: PORT
          timeouts: {response: 0.3, unbind: 0.5}
          reconnect: {first: 0.05}
      senders: {"*": {"*": Shop}}
event_types:
  note: {label: Note}
delivery:
  poll: 0.2s
  feedback: {pause: 0.2s, pause_cap: 1s}
  retry: {sms: {first: 0.2s, cap: 1s, tries: 3}}
"""
OPERATOR = Operator("test", frozenset({"push"}))
LONG = "This is a long text, which goes out in several parts. " * 5


def instance(folder: Path, port: int) -> Path:
    template = folder / "templates/note/sms"
    template.mkdir(parents=True)
    (folder / "petitbleu.yaml").write_text(CONFIG.replace("PORT", str(port)))
    (template / "template.yaml").write_text("language: en\n")
    (template / "body.txt.j2").write_text("{{ rtEvent.ctx.text }}\n")
    (template / "seeds.yaml").write_text('seeds: [{name: one, address: "+33600000000", ctx: {text: Hello}}]\n')
    return folder


async def push(server: Server, *events: tuple[str, str]) -> list[int]:
    """(number, text) pairs."""
    return await server.instance.intake(
        [
            IncomingEvent(
                Queue.REALTIME,
                {"type": "note", "wishedChannel": "1", "mobilePhone": number, "country": "FR"},
                {"ctx": {"text": text}},
            )
            for number, text in events
        ],
        OPERATOR,
    )


async def until(server: Server, ids: list[int], fits: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for _ in range(400):
        rows = await server.instance.store.read("SELECT id, status, feedback, reason FROM events ORDER BY id", [])
        found = [dict(row) for row in rows if row["id"] in ids]
        if len(found) == len(ids) and fits(found):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"it did not come to that in 20 s: {found}")


async def test_from_event_to_receipt(npm_smsc: Any, postgres_url: str, tmp_path: Path) -> None:
    lost, nobody, late = "33600000001", "33600000002", "33600000003"
    receipts = {"states": {nobody: "UNDELIV"}, "form": "tlv", "reference": True, "delay": 50}
    orders = {"mute": [lost], "refuse": {"33600000004": 0x0B}, "receipts": receipts, "throttle": 3, "window": 10}
    async with npm_smsc(**orders) as (smsc, port):
        folder = instance(tmp_path, port)
        async with running(folder, [f"database={postgres_url}"]) as server:
            await server.instance.templates.publish(server.instance.drafts.load("note", "sms"), ITSELF)
            # as dialled in France, and in international form
            numbers = ["06 00 00 00 05", f"+{lost}", f"+{nobody}", f"+{late}", "+33600000004"]
            ids = await push(server, *((number, "Hello") for number in numbers), ("+33600000006", LONG))
            found = await until(
                server,
                ids,
                lambda rows: (
                    [bool(row["feedback"]) for row in rows] == [True, True, True, True, False, True]
                    and rows[4]["status"] == "failed"
                    and "underway" not in [row["feedback"] for row in rows]
                ),
            )
        assert [(row["status"], row["feedback"]) for row in found] == [
            ("sent", "received"),
            # its response was lost: the receipt says that it arrived
            ("sent", "received"),
            ("sent", "bounced"),
            ("sent", "received"),
            ("failed", ""),
            ("sent", "received"),
        ]
        assert "ESME_RINVDSTADR" in found[4]["reason"]
        await smsc.wait_for(lambda one: "unbind" in one)
    seen = [one["submit"] for one in smsc.of("submit")]
    # once each, but for three that were throttled, and two parts of one of them
    assert len(seen) == 6 + 1 + 3
    assert seen.count(lost) == 1
    assert [one for one in smsc.of("submit") if one["over"]] == []
    assert {one["source"][2] for one in smsc.of("submit")} == {"Shop"}


async def test_a_flood_with_a_cut_connection(npm_smsc: Any, postgres_url: str, tmp_path: Path) -> None:
    """Nothing is lost, and nothing goes out twice but what the core was told is unknown: here, nothing at all."""
    count = 200
    async with npm_smsc(cut=100, latency=5, window=10, receipts={"form": "text"}) as (smsc, port):
        folder = instance(tmp_path, port)
        async with running(folder, [f"database={postgres_url}"]) as server:
            await server.instance.templates.publish(server.instance.drafts.load("note", "sms"), ITSELF)
            ids = await push(server, *((f"+336000{number:05}", "Hello") for number in range(count)))
            found = await until(
                server, ids, lambda rows: all(row["feedback"] or row["reason"].startswith("unknown") for row in rows)
            )
    received = [row for row in found if row["feedback"] == "received"]
    seen = [one["submit"] for one in smsc.of("submit")]
    assert len(set(seen)) == len(seen), "a message was sent twice"
    assert count - 10 <= len(received) <= len(seen) <= count
    assert [one for one in smsc.of("submit") if one["over"]] == []


async def test_the_commands(
    npm_smsc: Any, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], unused_tcp_port: int
) -> None:
    async def run(*words: str) -> tuple[int, str, str]:
        settings = ["--config", str(tmp_path), "--set", f"database={sqlite_url}"]
        # commands run loops of their own
        code = await asyncio.to_thread(main, [*words, *settings])
        return code, *capsys.readouterr()

    async with npm_smsc() as (smsc, port):
        instance(tmp_path, port)
        code, out, _ = await run("templates", "preview", "note")
        assert (code, out) == (0, "to: +33600000000\nparts: 1 (GSM alphabet, 5 septets)\n\n--- text ---\nHello\n")
        code, out, _ = await run("templates", "preview", "note", "--json")
        assert json.loads(out)["notes"] == ["parts: 1 (GSM alphabet, 5 septets)"]
        code, out, _ = await run("templates", "proof", "note", "--to", "+33600000009")
        assert (code, out) == (0, "one: +33600000009: delivered: taken as 1000001\n")
        assert [one["submit"] for one in await smsc.wait_for(lambda one: "submit" in one)] == ["33600000009"]
        code, out, _ = await run("doctor", "providers")
        assert code == 0
        assert f"sms/main: 127.0.0.1:{port}: bound as transceiver\n" in out
        here = ("--set", f"plugins.sms.connectors.main.port={unused_tcp_port}")
        code, out, _ = await run("doctor", "providers", "--json", *here)
        assert (code, json.loads(out)[0]["level"]) == (1, "problem")
