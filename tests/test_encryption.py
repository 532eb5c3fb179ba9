"""What callers send is not readable where it is stored, and whoever has the keys reads it as before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from command_line import Run, runner, sample_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu import Queue, Receipt, ReceiptState, Subscription
from petitbleu.audit import ITSELF
from petitbleu.encryption import check_keys, counted, encrypt
from petitbleu.forgetting import Forget, person
from petitbleu.store import Store, StoreError, open_store
from petitbleu.store.vault import Vault, new_key
from pigeon_rig import Rig, Script

OLD, NEW = ("2025", new_key()), ("2026", new_key())
SECRET = {"ctx": {"link": "https://e.example/k1f3"}}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


async def bodies(store: Store) -> list[str]:
    return [row["body"] for row in await store.read("SELECT body FROM payloads ORDER BY id", [])]


async def test_an_event_goes_its_way_and_the_database_cannot_read_it(store: Store) -> None:
    store.vault = Vault([NEW])
    script = Script()
    rig = Rig(store, script)
    async with rig.at_work():
        number = await rig.push(data=SECRET)
        await rig.until(number, "sent")
        script.route = None
        uncovered = await rig.push(data=SECRET)
        await rig.until(uncovered, "not_covered")
    assert script.messages[0].event.data == SECRET
    for body in await bodies(store):
        assert body.startswith("enc:1:2026:")
        assert "k1f3" not in body
    # claimed by a process that did not store it
    store.vault = Vault([OLD, NEW])
    await rig.queue.put([script.messages[0].event])
    assert [one.event.data for one in await rig.queue.claim(Queue.REALTIME, 10)] == [SECRET]


async def test_what_receipts_say_of_an_encrypted_event_is_told(store: Store) -> None:
    store.vault = Vault([NEW])
    script = Script()
    script.subscriptions = [Subscription("all", frozenset({"received"}))]
    rig = Rig(store, script)
    async with rig.at_work():
        number = await rig.push(data=SECRET)
        await rig.until(number, "sent")
    await rig.receipts.record([Receipt("pigeon", "loft", ReceiptState.RECEIVED, "landed", event=number, attempt=1)])
    assert await rig.receipts.match() == 1
    assert [row["kind"] for row in await store.read("SELECT kind FROM outbox", [])] == ["received"]


async def test_old_texts_and_other_keys_are_read_until_they_are_encrypted_anew(store: Store) -> None:
    rig = Rig(store, Script())
    numbers = [await rig.push(data=SECRET)]
    store.vault = Vault([OLD])
    await check_keys(store)
    numbers.append(await rig.push(data=SECRET))
    store.vault = Vault([NEW, OLD])
    await check_keys(store)
    numbers += [await rig.push(data=SECRET) for _ in range(3)]
    assert await counted(store) == Counter({"": 1, "2025": 1, "2026": 3})
    claimed = await rig.queue.claim(Queue.REALTIME, 10)
    assert [one.event.data for one in claimed] == [SECRET] * 5
    assert await encrypt(store, 1.0) == 2
    assert await counted(store) == Counter({"2026": 5})
    assert await encrypt(store, 1.0) == 0
    # now the old key may go
    store.vault = Vault([NEW])
    await check_keys(store)
    assert all(store.vault.open(number, body) for number, body in zip(numbers, await bodies(store), strict=True))


async def test_a_key_that_is_needed_may_not_be_missing(store: Store) -> None:
    store.vault = Vault([OLD])
    await check_keys(store)
    for keys in ([], [NEW]):
        store.vault = Vault(keys)
        with pytest.raises(StoreError, match=r"encryption\.keys lacks '2025', with which stored events are encrypted"):
            await check_keys(store)


async def test_what_others_store_with_an_older_key_keeps_it_remembered(store: Store) -> None:
    """Another server that was not restarted yet."""
    rig = Rig(store, Script())
    store.vault = Vault([OLD])
    await check_keys(store)
    await rig.push(data=SECRET)
    ours = Vault([NEW, OLD])
    store.vault = ours
    await check_keys(store)

    async def meanwhile(_: float) -> None:
        store.vault = Vault([OLD])
        await rig.push(data=SECRET)
        store.vault = ours

    await encrypt(store, 0.5, sleep=meanwhile)
    assert (await counted(store))["2025"] >= 1
    store.vault = Vault([NEW])
    with pytest.raises(StoreError, match="lacks '2025'"):
        await check_keys(store)


async def test_operators_and_forget_read_what_is_encrypted(store: Store) -> None:
    store.vault = Vault([NEW])
    rig = Rig(store, Script())
    await rig.push(addresses={"mobilePhone": "+33612345678"}, data={"ctx": {"friend": "zoe@example.com"}})
    await rig.push(addresses={"mobilePhone": "+33700000000"}, data={"ctx": {"friend": "zoe@example.com"}})
    done = await Forget(store).forget(person("+33612345678"), ITSELF)
    assert (done.removed["events"], done.left) == (1, [])
    done = await Forget(store).forget(person("zoe@example.com"), ITSELF)
    assert (done.blanked["payloads"], done.left) == (1, [])
    (body,) = await bodies(store)
    assert body.startswith("enc:1:2026:")
    (row,) = await store.read("SELECT id FROM payloads", [])
    assert '"friend":"***"' in store.vault.open(row["id"], body)


@settings(deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.text())
def test_a_text_comes_back_and_fits_no_other_row_or_key(number: int, text: str) -> None:
    vault = Vault([NEW, OLD])
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    sealed = vault.seal(number, text)
    assert vault.open(number, sealed) == text
    assert sealed != vault.seal(number, text)
    assert vault.is_current(sealed)
    with pytest.raises(StoreError, match="is not as the key '2026' sealed it"):
        vault.open(number ^ 1, sealed)
    with pytest.raises(StoreError, match="is not as the key '2026' sealed it"):
        Vault([("2026", OLD[1])]).open(number, sealed)
    with pytest.raises(StoreError, match="is not as the key '2026' sealed it"):
        vault.open(number, sealed[:-8] + ("AAAA" if sealed[-8:-4] != "AAAA" else "BBBB") + sealed[-4:])
    with pytest.raises(StoreError, match=r"with the key '2026', which encryption\.keys does not have"):
        Vault([OLD]).open(number, sealed)


async def test_what_cannot_be_opened_stays_and_its_key_with_it(store: Store) -> None:
    store.vault = Vault([OLD])
    await check_keys(store)
    rig = Rig(store, Script())
    ids = [await rig.push() for _ in range(3)]
    await store.connection.execute_query(f"UPDATE payloads SET body = 'enc:1:2025:AAAA' WHERE id = {ids[1]}", [])
    store.vault = Vault([NEW, OLD])
    damaged: list[StoreError] = []
    assert await encrypt(store, 1.0, damaged=damaged.append) == 2
    assert [str(one)[:30] for one in damaged] == [f"event {ids[1]} is not as the key "[:30]]
    assert await counted(store) == {"2026": 2, "2025": 1}
    store.vault = Vault([NEW])
    with pytest.raises(StoreError, match="lacks '2025'"):
        await check_keys(store)


# ---------------------------------------------------------------------------------------------------------- command


def test_an_operator_switches_it_on_and_changes_the_key(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sample_copy(tmp_path)
    run: Run = runner(folder, sqlite_url, capsys)
    for name in ("a", "b"):
        (folder / name).write_text(run("encrypt", "--new-key").out)
    ctx = {"link": "https://e.example/k1f3", "minutes": 3, "user": {"login": "z"}}
    event = {"type": "password_reset", "email": "zoe@example.com", "ctx": ctx}
    (tmp_path / "one.jsonl").write_text(json.dumps(event))
    assert run("push", str(tmp_path / "one.jsonl")).code == 0
    refused = run("encrypt")
    assert (refused.code, refused.err[:32]) == (1, "encryption.keys has no key; peti")
    one = ("--set", "encryption.keys=[{id: a, key: {file: a}}]")
    two = ("--set", "encryption.keys=[{id: b, key: {file: b}}, {id: a, key: {file: a}}]")
    assert run("encrypt", "--dry-run", *one).out.splitlines()[1].split() == ["none", "1", "1"]
    assert run("encrypt", *one).code == 0
    assert run("push", str(tmp_path / "one.jsonl"), *one).code == 0
    lost = run("events", "list")
    assert (lost.code, lost.err[:28]) == (1, "encryption.keys lacks 'a', w")
    assert json.loads(run("encrypt", "--at-once", "--json", *two).out) == [
        {"key": "a", "before": 2, "after": 0},
        {"key": "b", "before": 0, "after": 2},
    ]
    only = ("--set", "encryption.keys=[{id: b, key: {file: b}}]")
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite://"))
    with contextlib.closing(connection), connection:
        number, body = connection.execute("SELECT min(id), body FROM payloads").fetchone()
        connection.execute("UPDATE payloads SET body = 'enc:1:a:AAAA' WHERE id = ?", [number])
    left = run("encrypt", *two)
    assert (left.code, left.err.splitlines()[-1][:30]) == (1, f"left as it is: event {number} is "[:30])
    with contextlib.closing(connection := sqlite3.connect(sqlite_url.removeprefix("sqlite://"))), connection:
        connection.execute("UPDATE payloads SET body = ? WHERE id = ?", [body, number])
    assert run("encrypt", *two).code == 0
    assert "k1f3" in run("events", "show", "1", "--data", *only).out

    async def stored() -> str:
        async with open_store(sqlite_url) as store:
            return "".join(await bodies(store))

    assert re.findall("k1f3|enc:1:.", asyncio.run(stored())) == ["enc:1:b"] * 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("[{id: a, key: c2hvcnQ=}]", "should be 32 random bytes in base64"),
        ("[{id: 'a b', key: x}]", "should be a name of letters, digits"),
    ],
)
def test_keys_that_are_none_are_refused_and_not_shown(
    keys: str, said: str, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = runner(sample_copy(tmp_path), sqlite_url, capsys)("check", "--set", f"encryption.keys={keys}")
    assert ended.code == 1
    assert said in ended.err
    assert "c2hvcnQ" not in ended.err.replace("--set", "")
