"""Copies of what was handed over: of types that ask for it, without secrets, for their time, for those who may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from petitbleu import (
    AccessDenied,
    Content,
    Deferred,
    Delivered,
    EventFilter,
    IncomingEvent,
    NotFound,
    Operator,
    Outcome,
    Queue,
    Scope,
    elements,
)
from petitbleu.encryption import counted, encrypt
from petitbleu.forgetting import Forget, person
from petitbleu.instance import Surroundings, open_instance
from petitbleu.masking import Masks, parsed
from petitbleu.operating import Actor
from petitbleu.rendered import Copies, text_of
from petitbleu.store import Store, StoreError, open_store
from petitbleu.store.vault import Vault, new_key
from pigeon_rig import Rig, Script

ANN = Operator("ann", frozenset({"push", "read", "data"}))
HOUR = 3_600_000_000
OLD, NEW = ("2025", new_key()), ("2026", new_key())
SECRET = "k=a'b&c=é"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


def copies(store: Store, *hidden: str) -> Copies:
    return Copies({"note": HOUR}, Masks(tuple(map(parsed, hidden))), store.vault)


async def stored(store: Store) -> list[dict[str, Any]]:
    return await store.read("SELECT * FROM rendered ORDER BY id", [])


def read(store: Store, row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text_of(store.vault, row["event"], bytes(row["body"])))
    return found


async def test_each_attempt_of_a_type_that_asks_for_it_is_kept(store: Store) -> None:
    script = Script()
    script.rendering = lambda: Content({"text": "Bonjour Zoé"}, {"priority": 3}, {"logo.png": b"12345"})
    answers: list[Outcome] = [Deferred("loft", "450 later", Scope.ADDRESS), Delivered("loft", "250 flew")]

    async def deliver(message: Any, attempt: Any) -> Outcome:
        await attempt.hand_off("loft")
        return answers.pop(0)

    rig = Rig(store, script, copies=copies(store))
    async with rig.at_work():
        await rig.until(await rig.push(type="other"), "sent")
        script.deliver = deliver
        one = await rig.push()
        await rig.until(one, "pending", attempts=1)
        await store.shift_clock(600)
        await rig.until(one, "sent")
    first, second = await stored(store)
    assert [(row["event"], row["number"]) for row in (first, second)] == [(one, 1), (one, 2)]
    assert 0 < second["until"] - store.now() <= HOUR
    known = read(store, second)
    assert known["parts"] == {"text": "Bonjour Zoé"}
    assert (known["fields"], known["files"]) == ({"priority": 3}, {"logo.png": 5})
    assert (known["template"], known["address"]) == ("note/pigeon v4", "+33612345678")


async def test_what_masking_hides_is_taken_out(store: Store) -> None:
    spellings = [SECRET, escape(SECRET), quote(SECRET), quote(SECRET, safe=""), json.dumps(SECRET)]
    script = Script()
    script.rendering = lambda: Content({"html": " | ".join(spellings), "text": "no secret"}, {"preheader": SECRET})
    rig = Rig(store, script, copies=copies(store, "link", "**.pin"))
    async with rig.at_work():
        one = await rig.push(data={"ctx": elements({"link": SECRET, "user": {"pin": "no"}})})
        await rig.until(one, "sent")
    assert script.messages[0].content.parts["html"].startswith(SECRET)
    known = read(store, (await stored(store))[0])
    assert known["parts"]["html"] == '*** | *** | *** | *** | "***"'
    assert known["fields"] == {"preheader": "***"}
    # what is in every other word is no secret
    assert known["parts"]["text"] == "no secret"


async def test_what_cannot_be_copied_is_sent_and_recorded(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    script = Script()
    script.rendering = lambda: Content({"text": "half \ud800"}, {})
    rig = Rig(store, script, copies=copies(store))
    async with rig.at_work():
        await rig.until(await rig.push(), "sent")
    assert len(script.messages) == 1
    assert await stored(store) == []
    assert "no copy of its message is kept" in caplog.text


async def test_it_is_encrypted_as_events_are(store: Store) -> None:
    store.vault = Vault([OLD])
    rig = Rig(store, Script(), copies=copies(store))
    async with rig.at_work():
        await rig.until(await rig.push(), "sent")
    (row,) = await stored(store)
    assert bytes(row["body"]).startswith(b"enc:1:2025:")
    assert read(store, row)["parts"] == {"text": "hello"}
    with pytest.raises(StoreError, match="not as the key"):
        text_of(store.vault, row["event"] + 1, bytes(row["body"]))
    store.vault = Vault([NEW, OLD])
    assert await counted(store) == {"2025": 2}
    assert await encrypt(store, 1.0) == 2
    store.vault = Vault([NEW])
    assert await counted(store) == {"2026": 2}
    (row,) = await stored(store)
    assert read(store, row)["parts"] == {"text": "hello"}


async def test_a_person_is_forgotten_in_it(store: Store) -> None:
    store.vault = Vault([NEW])
    script = Script()
    script.rendering = lambda: Content({"text": "from zoe@example.com"}, {})
    rig = Rig(store, script, copies=copies(store))
    async with rig.at_work():
        one = await rig.push(addresses={"mobilePhone": "+33612345678", "email": "zoe@example.com"})
        other = await rig.push(addresses={"mobilePhone": "+33611111111"})
        for number in (one, other):
            await rig.until(number, "sent")
    assert len(await stored(store)) == 2
    done = await Forget(store).forget(person("zoe@example.com"), Actor(ANN, "cli"))
    assert (done.left, done.removed["rendered"]) == ([], 2)
    assert await stored(store) == []


# ------------------------------------------------------------------------------------------------------- for operators


async def test_operators_with_the_right_look_at_it_for_its_time(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "petitbleu.yaml").write_text(
        "plugins: [pigeon]\nmasking: [link]\ndelivery: {poll: 0.05}\nretention: {rendered: 2h}\n"
        "event_types:\n  note: {rendered: true}\n  other: {retention: {rendered: 9h}}\n"
    )
    script = Script()
    script.rendering = lambda: Content({"text": f"choose: {SECRET}"}, {})
    around = Surroundings(plugins={"pigeon": script})
    url = f"database=sqlite://{tmp_path}/x.db"
    async with open_instance(tmp_path, [url], plugins_running=True, surroundings=around) as instance:
        ctx = {"ctx": elements({"link": SECRET})}
        wish = {"mobilePhone": "+33612345678", "wishedChannel": "pigeon"}
        events = [IncomingEvent(Queue.REALTIME, {"type": kind, **wish}, ctx) for kind in ("note", "other")]
        note, other = await instance.intake(events, ANN)
        desk, stop = instance.services.desk.events, asyncio.Event()
        working = asyncio.create_task(instance.worker.run(stop))
        async with asyncio.timeout(10):
            while await desk.count(EventFilter(status="sent"), ANN) < 2:
                await asyncio.sleep(0.02)
        stop.set()
        await working
        assert [one.rendered for one in (await desk.record(note, ANN)).attempts] == [True]
        assert [one.rendered for one in (await desk.record(other, ANN)).attempts] == [False]
        shown = await desk.rendered(note & 0xFFFF, 1, ANN)
        assert (shown.number, shown.channel, shown.address) == (1, "pigeon", "+33612345678")
        assert shown.parts == {"text": "choose: ***"}
        assert timedelta(hours=1.9) < shown.until - instance.services.now() <= timedelta(hours=2)
        with pytest.raises(AccessDenied):
            await desk.rendered(note, 1, replace(ANN, rights=frozenset({"read"})))
        for number, attempt in ((note, 0), (note, 2), (note, 1 << 31), (note, 1 << 64), (other, 1), (99, 1)):
            with pytest.raises(NotFound):
                await desk.rendered(number, attempt, ANN)
        await instance.store.shift_clock(3 * 3600)
        assert (await instance.purge.rehearse())["rendered"] == 1
        assert (await instance.purge.now(pauses=False))["rendered"] == 1
        with pytest.raises(NotFound):
            await desk.rendered(note, 1, ANN)
