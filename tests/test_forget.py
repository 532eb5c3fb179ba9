"""A person who is forgotten is nowhere any more; others are as they were."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, runner, sample_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu import Operator, PetitbleuError
from petitbleu.addresses import device
from petitbleu.forgetting import Forget, person
from petitbleu.metrics import Metrics
from petitbleu.operating import Actor, Suppression, SuppressionFilter
from petitbleu.store import Store, open_store
from petitbleu.store.payload import encode, moment
from petitbleu.store.vault import Vault, new_key
from petitbleu.store.whole import Table, rows_of, tables
from petitbleu.suppression import Reason
from petitbleu.suppression.guard import Suppressions
from petitbleu.suppression.register import Register
from petitbleu.types import Data, Event, Queue

ANN = Actor(Operator("ann", frozenset()), "cli")
ZOE, ADA = "Zoe@example.com", "ada@example.com"
KINDS = {"email": "email", "sms": "mobilePhone", "ios": "registrationToken"}
NUMBERED = {"events": "id", "payloads": "id", "queue": "id"}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


async def everything(store: Store) -> str:
    """All text there is, in lower case."""
    found = [str(row) for table in await tables(store) async for row in rows_of(store, table)]
    return "\n".join(found).lower()


async def add_event(store: Store, number: int, email: str, *, phone: str = "", state: int | None = None) -> None:
    """With a row in each table that tells of events, the address in every text that may hold it."""
    now = store.now()
    addresses = {"email": email} | ({"mobilePhone": phone} if phone else {})
    link = f"https://x.example.com/?m={email.replace('@', '%40')}"
    data: dict[str, Data] = {"ctx": {"who": f"<{email.lower()}>", "link": link}}
    event = Event(number, "order", Queue.REALTIME, "email", data, moment(now), addresses)
    rows: dict[str, dict[str, Any]] = {
        "events": {
            "id": number, "type": "order", "lane": 0, "channel": "email", "status": "sent", "created": now,
            "processed": now, "email": email, "mobile_phone": phone, "reason": f"250 <{email}>", "external_id": email,
        },
        "payloads": {"id": number, "body": encode(event)},
        "attempts": {
            "event": number, "number": 1, "channel": "email", "started": now, "ended": now, "outcome": "failed",
            "text": f"550 5.1.1 <{email.upper()}>: no such user", "reference": email,
        },
        "idempotency": {"key": f"k{number}", "event": number, "digest": "d", "until": now},
        "receipts": {
            "channel": "email", "names": "[]", "event": number, "state": "bounced", "received": now, "text": email,
        },
    }  # fmt: skip
    if state is not None:
        rows["queue"] = {
            "id": number, "state": state, "lane": 0, "priority": 5, "due": now, "type": "order", "channel": "email",
            "names": json.dumps([email]), "lease": "w-1" if state == 2 else None, "leased_until": now,
        }  # fmt: skip
    for table, row in rows.items():
        await insert(store, table, row)


async def insert(store: Store, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    marks = ", ".join(f"${n}" if store.dialect == "postgres" else "?" for n in range(1, len(row) + 1))
    await store.connection.execute_query(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', [*row.values()])


async def columns(store: Store, table: Table) -> list[dict[str, Any]]:
    if store.dialect == "sqlite":
        sql = f"SELECT name, type, \"notnull\" AS needed FROM pragma_table_info('{table.name}')"
        return await store.read(sql, [])
    return await store.read(
        "SELECT column_name AS name, data_type AS type, (is_nullable = 'NO')::int AS needed, "
        "character_maximum_length AS most FROM information_schema.columns WHERE table_name = ?",
        [table.name],
    )


# ------------------------------------------------------------------------------------------------------ whatever table


async def test_no_table_keeps_the_address_whatever_it_is_for(store: Store) -> None:
    """A table that comes with a later version is among them: they are those the database has."""
    listed = [table for table in await tables(store) if table.columns and table.name != "tortoise_migrations"]
    assert len(listed) >= 18
    for table in listed:
        row: dict[str, Any] = {}
        for column in await columns(store, table):
            name = column["name"]
            if name in table.columns:
                # a name that takes few characters holds no address
                short = "(16)" in column["type"] or (column.get("most") or 99) < 32
                row[name] = "x" if short else f"to {ZOE}" if name != "address" else ZOE.lower()
            elif name in (*table.key, table.owner) or column["needed"]:
                row[name] = 4711
        row |= {"names": json.dumps([ZOE])} if "names" in row else {}
        row |= {"reason": "hard"} if table.name == "suppressions" else {}
        row |= {"body": json.dumps({"addresses": {"email": ZOE}})} if table.name == "payloads" else {}
        row |= {"body": f"to {ZOE}".encode()} if table.name == "rendered" else {}
        await insert(store, table.name, row)
    before = await everything(store)
    assert before.count("zoe@example.com") >= 30
    done = await Forget(store).forget(person("zoe@example.com"), ANN)
    # a published template is never changed; that it has the address is told
    assert [one.partition(",")[0] for one in done.left] == ["template_versions"]
    snapshot = str(await store.read("SELECT snapshot FROM template_versions", [])).lower()
    assert (await everything(store)).count("zoe@example.com") == snapshot.count("zoe@example.com") == 1
    assert {*done.removed, *done.blanked} >= {"events", "payloads", "attempts", "audit", "soft_errors", "receipts"}
    await store.connection.execute_script("DELETE FROM template_versions")
    assert (await Forget(store).forget(person(ZOE), ANN)).left == []


async def test_a_persons_events_go_and_others_lose_the_mention(store: Store) -> None:
    await add_event(store, 1, ZOE, phone="+33612345678")
    await add_event(store, 2, ADA)
    await add_event(store, 3, "big" + ZOE)
    await add_event(store, 4, ZOE + ".au")
    for number in (2, 3, 4):
        await store.connection.execute_script(
            f"UPDATE payloads SET body = replace(body, '\"order\"', '\"order of {ZOE}\"') WHERE id = {number}"
        )
    who = person("zoe@EXAMPLE.com")
    planned = await Forget(store).rehearse(who)
    assert (planned.removed["events"], planned.removed["attempts"], planned.blanked["payloads"]) == (1, 1, 4)
    assert "zoe@example.com" in await everything(store)
    done = await Forget(store).forget(who, ANN)
    assert done.left == []
    assert done.others == {"+33612345678"}
    assert done.removed == {"events": 1, "payloads": 1, "attempts": 1, "idempotency": 1, "receipts": 1}
    assert done.blanked == {"payloads": 3}
    bodies = await store.read("SELECT id, body FROM payloads ORDER BY id", [])
    assert [row["id"] for row in bodies] == [2, 3, 4]
    assert all('"type":"order of ***"' in row["body"] for row in bodies)
    assert [json.loads(row["body"])["addresses"]["email"] for row in bodies] == [ADA, "big" + ZOE, ZOE + ".au"]
    (noted,) = await store.read("SELECT * FROM audit", [])
    assert (noted["action"], noted["by"], noted["object"][:16]) == ("forget", "ann", "email/forgotten:")
    again = await Forget(store).forget(who, ANN)
    assert (+again.removed, +again.blanked, again.left) == ({}, {}, [])


async def test_the_beginning_of_a_long_token_goes_where_nothing_else_is_kept(store: Store) -> None:
    """Events are found by it after what their callers sent has been deleted."""
    one, other = ("https://push.example.com/" + letter * 300 for letter in "ab")
    for number, token in ((1, one), (2, other)):
        row = {"id": number, "type": "order", "lane": 0, "channel": "web", "status": "sent", "created": store.now()}
        await insert(store, "events", {**row, "device": device({"registrationToken": token})})
    assert (await Forget(store).rehearse(person(one))).removed == {"events": 1}
    done = await Forget(store).forget(person(one), ANN)
    assert (done.removed, done.blanked, done.left) == ({"events": 1}, {}, [])
    assert "a" * 200 not in await everything(store)
    assert [row["id"] for row in await store.read("SELECT id FROM events", [])] == [2]


async def test_what_cannot_be_read_is_named_and_keeps_nothing_else(store: Store) -> None:
    store.vault = Vault([("2026", new_key())])
    for number, email in ((1, ADA), (2, ZOE), (3, ADA)):
        await add_event(store, number, email)
    for number in range(4, 27):
        await insert(store, "payloads", {"id": number, "body": "enc:1:2026:AAAA"})
    copy = b"\x28\xb5\x2f\xfd no frame"
    await insert(store, "rendered", {"event": 3, "number": 1, "until": store.now() + 1_000_000, "body": copy})
    done = await Forget(store).forget(person(ZOE), ANN)
    assert ZOE.lower() not in await everything(store)
    assert (await store.read("SELECT id FROM events WHERE email = ?", [ADA]))[0]["id"] == 1
    assert len(done.left) == 21
    assert done.left[0].startswith("maybe in payloads: event 4 is not as the key '2026' sealed it")
    assert done.left[-1] == "maybe in 4 more rows"
    await store.connection.execute_query("DELETE FROM payloads WHERE id > 3", [])
    (left,) = (await Forget(store).rehearse(person(ZOE))).left
    assert left.startswith("maybe in rendered: a message of event 3 is damaged")


async def test_what_waits_is_not_sent_and_what_a_worker_has_is_waited_for(store: Store) -> None:
    for number, state in enumerate((0, 1, 2, 3), 1):
        await add_event(store, number, ZOE, state=state)
    with pytest.raises(PetitbleuError, match="a worker is sending 3; the others are removed"):
        await Forget(store, patience=0).forget(person(ZOE), ANN)
    assert [row["id"] for row in await store.read("SELECT id FROM events", [])] == [3]
    assert [row["id"] for row in await store.read("SELECT id FROM queue", [])] == [3]

    async def ends(_: float) -> None:
        await store.connection.execute_script("DELETE FROM queue")

    assert (await Forget(store, sleep=ends).forget(person(ZOE), ANN)).left == []
    assert await store.read("SELECT id FROM events", []) == []


async def test_what_comes_meanwhile_goes_too(store: Store) -> None:
    """A worker's last word comes while it is waited for, and a receipt after the event is gone."""
    await add_event(store, 1, ZOE, state=2)

    async def more(_: float) -> None:
        await store.connection.execute_script("DELETE FROM queue")
        await insert(store, "receipts", {"channel": "email", "names": "[]", "state": "x", "received": 1, "text": ZOE})

    done = await Forget(store, sleep=more).forget(person(ZOE), ANN)
    assert done.left == []
    assert "zoe@example.com" not in await everything(store)
    assert await store.read("SELECT id FROM attempts", []) == []


# --------------------------------------------------------------------------------------------------------- suppression


async def test_who_asked_not_to_be_written_to_is_still_not_written_to(store: Store) -> None:
    register = Register(store, KINDS)
    guard = Suppressions(store, KINDS, {}, {}, Metrics())
    reasons = (Reason.COMPLAINT, Reason.HARD, Reason.UNSUBSCRIBED)
    entries = [Suppression("email", "zoe@example.com", "", one, f"said {ZOE}", None, None, "x") for one in reasons]
    await register.put(
        [*entries, Suppression("email", ADA, "", Reason.MANUAL, "", None, None, "x")], ANN, "suppressions.add"
    )
    done = await Forget(store).forget(person(ZOE), ANN)
    assert (done.left, done.kept_as_hash, done.removed["suppressions"]) == ([], 2, 1)
    assert "zoe" not in await everything(store)
    assert (await guard.standing("order", "email", "ZOE@example.com", "shop")).reason is Reason.COMPLAINT
    assert (await guard.standing("order", "sms", "ZOE@example.com", "shop")).reason is None
    assert (await guard.standing("order", "email", "zoee@example.com", "shop")).reason is None
    # whoever knows the address finds it in the list, and nobody else
    found = await register.find(SuppressionFilter("email", "zoe@example.com"), 10)
    assert {one.reason for _, one in found} == {Reason.COMPLAINT, Reason.UNSUBSCRIBED}
    assert [one.address async for one in register.walk(SuppressionFilter())] == [ADA]
    gone = await register.remove("email", ["zoe@example.com"], ANN)
    assert [one.address for one in gone] == ["zoe@example.com"] * 2
    assert (await guard.standing("order", "email", ZOE, "shop")).reason is None


async def test_all_of_it_can_be_forgotten(store: Store) -> None:
    register = Register(store, KINDS)
    await register.put(
        [Suppression("sms", "+33612345678", "", Reason.MANUAL, "", None, None, "x")], ANN, "suppressions.add"
    )
    await Forget(store).forget(person("06 12 34 56 78", "FR"), ANN, write_again=True)
    assert await store.read("SELECT id FROM suppressions", []) == []
    token = "a" * 64
    key = register.key("ios", token)
    await register.put([Suppression("ios", key, "", Reason.HARD, "", None, None, "x")], ANN, "suppressions.add")
    assert (await Forget(store).forget(person(token), ANN)).left == []
    assert key not in await everything(store)


# ------------------------------------------------------------------------------------------------------------- the file


async def test_nothing_is_left_in_an_sqlite_file(sqlite_url: str) -> None:
    file = Path(sqlite_url.removeprefix("sqlite://"))
    async with open_store(sqlite_url) as store:
        for number in range(1, 200):
            await add_event(store, number, ZOE if number % 3 else ADA)
        # as a purge leaves it
        await store.connection.execute_query_dict("PRAGMA secure_delete = OFF")
        await store.connection.execute_script("DELETE FROM payloads WHERE id < 150")
        (left,) = (await Forget(store).forget(person(ZOE), ANN)).left
        assert left.startswith(f"{file}: in parts of the file that are free")
        done = await Forget(store).forget(person(ZOE), ANN, whole=True)
        assert (done.left, done.files[0]) == ([], file)
        content = await asyncio.to_thread(file.read_bytes)
        assert b"zoe@example.com" not in content.lower()
        assert b"ada@example.com" in content.lower()


# ----------------------------------------------------------------------------------------------------------- spellings


@pytest.mark.parametrize(
    ("address", "text", "blanked"),
    [
        (ZOE, "to=ZOE@EXAMPLE.COM, zoe%40example.com", "to=***, ***"),
        (ZOE, "<bounce+zoe=example.com@shop.example.com>", "<bounce+***@shop.example.com>"),
        (ZOE, "x.zoe@example.com zoe+a@example.com a+zoe@example.com zoe@example.community", None),
        (ZOE, "zoe@example.com. zoe@example.com, zoe@example.com", "***. ***, ***"),
        ("zoé@bücher.example", "ZOE\u0301@xn--bcher-kva.example", "***"),
        ("zoe+x@example.com", "?m=zoe%2Bx%40example.com&y", "?m=***&y"),
        ("+33612345678", "+33 6 12 34 56 78, 0033612345678, 33612345678; %2B33612345678", "***, ***, ***; ***"),
        ("+33612345678", "336123456789 133612345678", None),
    ],
)
def test_spellings_are_found_and_others_left(address: str, text: str, blanked: str | None) -> None:
    who = person(address)
    assert who.within(text) is (blanked is not None)
    assert who.blanked(text) == (text if blanked is None else blanked)


LOCAL = st.from_regex(r"[a-z0-9!#$%&'*/?^_`{|}~-]{1,20}(\.[a-z0-9+]{1,5}){0,2}", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(LOCAL, st.sampled_from(["example.com", "bücher.example"]), st.text(max_size=30))
def test_an_address_in_any_json_is_blanked_and_the_rest_stays(local: str, domain: str, rest: str) -> None:
    who = person(f"{local}@{domain}")
    body = json.dumps({"a": rest, "b": f"<{local.upper()}@{domain}>", "c": [f"{local}@{domain}"]}, ensure_ascii=False)
    left = json.loads(who.blanked(body))
    assert left["b"] == "<***>"
    assert left["c"] == ["***"]
    assert not who.within(who.blanked(body))


@pytest.mark.parametrize("text", ["zoe@example", "12", "a b c"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        person(text)


# ------------------------------------------------------------------------------------------------------------ command


def test_an_operator_forgets(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run: Run = runner(sample_copy(tmp_path), sqlite_url, capsys)

    async def fill() -> None:
        async with open_store(sqlite_url) as store:
            await add_event(store, 1, ZOE)
            await add_event(store, 2, ADA)

    asyncio.run(fill())
    planned = run("forget", "zoe@example.com", "--dry-run")
    assert planned.code == 0, planned.err
    assert planned.out.splitlines()[0].split() == ["TABLE", "WOULD", "GO", "MENTIONED", "IN"]
    assert planned.out.splitlines()[-1] == "nothing is changed (--dry-run)"
    ended = run("forget", "zoe@example.com", "--by", "ann", "--vacuum")
    assert ended.code == 0, ended.err
    assert "events       1        0" in ended.out
    assert ended.out.splitlines()[-1].startswith("left: nothing (searched once more: ")
    told = json.loads(run("forget", "zoe@example.com", "--json").out)
    assert (told["removed"], told["left"]) == ({}, [])
    assert "ada@example.com" in run("events", "list").out
    assert run("forget", "zoe", "--country", "FR").err == ""
    refused = run("forget", "zoe@")
    assert (refused.code, refused.err[:23]) == (1, "zoe@ is not an email ad")
