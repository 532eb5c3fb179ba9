"""What is deleted from the database is in the archive first, can be read there, and is gone from there in its time."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import zstandard
from command_line import Run, runner, sample_copy
from petitbleu import Operator, Queue, elements
from petitbleu.archive import ArchiveError, Archiver, Folder, Terms
from petitbleu.forgetting import Forget, person
from petitbleu.masking import Masks, parsed
from petitbleu.metrics import Metrics
from petitbleu.operating import Actor
from petitbleu.retention import Pace, Periods, Purge
from petitbleu.store import Store, StoreError, open_store
from petitbleu.store.payload import encode, moment
from petitbleu.store.vault import Vault, new_key
from petitbleu.types import Event

DAY = 86_400 * 1_000_000
ANN = Actor(Operator("ann", frozenset()), "cli")
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
OLD, NEW = ("2025", new_key()), ("2026", new_key())


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


def lines(*numbers: int, **more: str) -> list[tuple[int, bytes]]:
    known = {"email": "ada@example.com", "mobile_phone": "", "addresses": {}, **more}
    return [(one, json.dumps({"id": str(one), **known}).encode()) for one in numbers]


def ids(found: Iterable[bytes]) -> list[int]:
    return [int(json.loads(line)["id"]) for line in found]


# -------------------------------------------------------------------------------------------------------------- files


def test_a_file_is_read_as_it_was_written_also_by_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a", Vault(), "host/1")
    folder.append(MONDAY, {"": lines(1, 2), "order/x": lines(3)})
    folder.append(MONDAY, {"": lines(9, 7)})
    Folder(tmp_path / "a", Vault(), "host/2").append(TUESDAY, {"": lines(4)})
    first, other, last = folder.files()
    assert {first.type, other.type} == {"", "order/x"}
    common = first if first.type == "" else other
    assert [(file.day, folder.events(file)) for file in (common, last)] == [(MONDAY, 4), (TUESDAY, 1)]
    assert ids(folder.lines(common)) == [1, 2, 9, 7]
    # pieces that cannot have the event are skipped
    assert ids(folder.lines(common, 8)) == [9, 7]
    assert ids(folder.lines(common, suspect=lambda whole: b'"2"' in whole)) == [1, 2]
    # as `zstd -dc` does
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(common.path.read_bytes()), read_across_frames=True)
    assert ids(reader.read().splitlines()) == [1, 2, 9, 7]
    assert (common.path.stat().st_mode & 0o777, folder.path.stat().st_mode & 0o777) == (0o600, 0o700)


def test_half_a_piece_at_the_end_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Vault(), "one")
    folder.append(MONDAY, {"": lines(1)})
    (file,) = folder.files()
    whole = file.path.stat().st_size
    folder.append(MONDAY, {"": lines(2)})
    content = file.path.read_bytes()
    for end in range(whole, len(content)):
        file.path.write_bytes(content[:end])
        assert ids(folder.lines(file)) == [1]
    file.path.write_bytes(content[:-6] + b"123456")
    with pytest.raises(ArchiveError, match=rf"piece at byte {whole} is not as it was written"):
        ids(folder.lines(file))
    file.path.write_bytes(b"something else")
    with pytest.raises(ArchiveError, match="no piece of an archive at byte 0"):
        ids(folder.lines(file))


def test_a_disk_that_is_full_leaves_no_half_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path, Vault(), "one")
    folder.append(MONDAY, {"": lines(1)})
    (file,) = folder.files()
    before = file.path.read_bytes()

    def full(held: int) -> None:
        if os.fstat(held).st_size > len(before):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            folder.append(MONDAY, {"": lines(2)})
    assert file.path.read_bytes() == before
    folder.append(MONDAY, {"": lines(3)})
    assert ids(folder.lines(file)) == [1, 3]


def test_pieces_are_encrypted_with_the_first_key(tmp_path: Path) -> None:
    Folder(tmp_path, Vault(), "one").append(MONDAY, {"": lines(1)})
    Folder(tmp_path, Vault([OLD]), "one").append(MONDAY, {"": lines(2)})
    folder = Folder(tmp_path, Vault([NEW, OLD]), "one")
    folder.append(MONDAY, {"": lines(3)})
    (file,) = folder.files()
    assert ids(folder.lines(file)) == [1, 2, 3]
    assert folder.keys() == {"": 1, "2025": 1, "2026": 1}
    with pytest.raises(StoreError, match=r"encrypted with the key '2025', which encryption\.keys does not have"):
        ids(Folder(tmp_path, Vault([NEW]), "").lines(file))
    folder.seal_anew(file)
    assert folder.keys() == {"2026": 3}
    assert ids(Folder(tmp_path, Vault([NEW]), "").lines(file)) == [1, 2, 3]
    assert b"ada" not in file.path.read_bytes()


# ------------------------------------------------------------------------------------------------------------ the way


async def add(store: Store, number: int, email: str = "zoe@example.com", event_type: str = "order") -> None:
    """An event that ended 31 days ago, with all that may belong to it."""
    then = store.now() - 31 * DAY
    data = {"ctx": elements({"link": "s3cret", "name": "Zoé", "friend": "ada@example.com", "n": 33699999999})}
    event = Event(number, event_type, Queue.REALTIME, "email", data, moment(then), {"email": email, "x": "t0k"})
    rows: dict[str, dict[str, Any]] = {
        "events": {
            "id": number, "type": event_type, "lane": 0, "channel": "email", "status": "sent", "created": then,
            "processed": then, "email": email, "external_id": f"E-{number}",
        },
        "payloads": {"id": number, "body": store.vault.seal(number, encode(event))},
        "attempts": {
            "event": number, "number": 1, "channel": "email", "started": then, "ended": then, "outcome": "delivered",
            "text": f"250 <{email}>",
        },
        "receipts": {"channel": "email", "names": "[]", "event": number, "state": "received", "received": then},
        "recyclings": {"event": number, "at": then, "number": 1, "origin": "ios", "target": "email"},
    }  # fmt: skip
    for table, row in rows.items():
        marks = ", ".join(f"${n}" if store.dialect == "postgres" else "?" for n in range(1, len(row) + 1))
        sql = f'INSERT INTO "{table}" ({", ".join(row)}) VALUES ({marks})'
        await store.connection.execute_query(sql, [*row.values()])


def archiver(store: Store, path: Path, terms: Terms = Terms(360 * 86_400.0)) -> Archiver:
    folder = Folder(path, store.vault, "host/1", store.now)
    return Archiver(store, folder, terms, Masks((parsed("link"),)), Metrics())


def purge(store: Store, archive: Archiver) -> Purge:
    async def no_pause(seconds: float) -> None:
        pass

    month = Periods(30 * DAY, 30 * DAY, 30 * DAY)
    return Purge(
        store, {}, month, DAY, 3600.0, Pace(3, 1.0), "one", Metrics(), sleep=no_pause,
        soft_errors=DAY, audit=DAY, outbox=DAY, statistics=DAY, archive=archive,
    )  # fmt: skip


def kept(folder: Folder) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.files() for line in folder.lines(file)]


async def test_what_is_deleted_is_in_the_archive_with_its_whole_way(store: Store, tmp_path: Path) -> None:
    store.vault = Vault([NEW])
    for number in range(1, 6):
        await add(store, number)
    archive = archiver(store, tmp_path / "archive")
    assert (await purge(store, archive).now())["events"] == 5
    assert await store.read("SELECT id FROM events", []) == []
    found = kept(archive.folder)
    assert [one["id"] for one in found] == ["1", "2", "3", "4", "5"]
    one = found[0]
    assert (one["type"], one["status"], one["external_id"], one["email"]) == ("order", "sent", "E-1", "zoe@example.com")
    assert one["data"]["ctx"] == {"link": "***", "name": "Zoé", "friend": "ada@example.com", "n": 33699999999}
    assert one["addresses"] == {"email": "zoe@example.com", "x": "t0k"}
    assert [(each["number"], each["outcome"], each["awaited"]) for each in one["attempts"]] == [(1, "delivered", 0)]
    assert [each["state"] for each in one["receipts"]] == ["received"]
    assert [each["target"] for each in one["recyclings"]] == ["email"]
    assert archive.folder.keys() == {"2026": 5}


async def test_an_event_is_archived_twice_rather_than_never(store: Store, tmp_path: Path) -> None:
    await add(store, 1)
    archive = archiver(store, tmp_path / "archive")
    broken = purge(store, archive)

    async def die(*words: Any) -> Any:
        raise asyncio.CancelledError

    broken._delete = die  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        await broken.now()
    assert len(kept(archive.folder)) == len(await store.read("SELECT id FROM events", [])) == 1
    assert (await purge(store, archive).now())["events"] == 1
    assert [one["id"] for one in kept(archive.folder)] == ["1", "1"]


@pytest.mark.parametrize("body", ["{", "enc:1:2026:AAAA"])
async def test_an_event_whose_data_cannot_be_read_keeps_no_other_from_going(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    store.vault = Vault([NEW])
    for number in range(1, 8):
        await add(store, number)
    await store.connection.execute_query("UPDATE payloads SET body = '" + body + "' WHERE id = 2", [])
    archive = archiver(store, tmp_path)
    assert (await purge(store, archive).now())["events"] == 7
    assert [one["id"] for one in kept(archive.folder)] == list("1234567")
    unread = kept(archive.folder)[1]
    assert (unread["data"], unread["addresses"], unread["external_id"]) == (None, {}, "E-2")
    assert [each["text"] for each in unread["attempts"]] == ["250 <zoe@example.com>"]
    assert "event 2 cannot be read" in caplog.text


async def test_what_cannot_be_archived_is_not_deleted(store: Store, tmp_path: Path) -> None:
    await add(store, 1)
    (tmp_path / "archive").write_text("no folder")
    with pytest.raises(OSError, match="archive"):
        await purge(store, archiver(store, tmp_path / "archive")).now()
    assert len(await store.read("SELECT id FROM events", [])) == 1


async def test_types_have_their_own_time_there_or_none(store: Store, tmp_path: Path) -> None:
    for number, kind in enumerate(("order", "reset", "contract"), 1):
        await add(store, number, event_type=kind)
    archive = archiver(store, tmp_path, Terms(360 * 86_400.0, {"reset": None, "contract": 3600 * 86_400.0}))
    one = purge(store, archive)
    assert (await one.now())["events"] == 3
    assert sorted(each["type"] for each in kept(archive.folder)) == ["contract", "order"]
    await store.shift_clock(360 * 86_400)
    assert (await one.now())["archive"] == 0
    await store.shift_clock(86_400)
    assert (await one.rehearse())["archive"] == 1
    assert (await one.now())["archive"] == 1
    assert [each["type"] for each in kept(archive.folder)] == ["contract"]


async def test_a_person_is_forgotten_in_the_archive(store: Store, tmp_path: Path) -> None:
    for number, email in enumerate(("zoe@example.com", "Ada@example.com", "eve@example.com"), 1):
        await add(store, number, email)
    archive = archiver(store, tmp_path)
    await purge(store, archive).now()
    folder = archive.folder
    planned = await Forget(store, archive=folder).rehearse(person("ada@example.com"))
    assert (planned.removed["archive"], planned.blanked["archive"], planned.archived) == (1, 2, 3)
    done = await Forget(store, archive=folder).forget(person("ada@example.com"), ANN)
    assert (done.removed["archive"], done.blanked["archive"], done.archived, done.left) == (1, 2, 2, [])
    left = kept(folder)
    assert [(one["id"], one["data"]["ctx"]["friend"]) for one in left] == [("1", "***"), ("3", "***")]
    # a number, too, and what is left is JSON
    done = await Forget(store, archive=folder).forget(person("+33699999999"), ANN)
    assert (done.removed["archive"], done.blanked["archive"], done.left) == (0, 2, [])
    assert [one["data"]["ctx"]["n"] for one in kept(folder)] == ["***", "***"]


async def test_an_archive_that_is_not_at_hand_is_named(store: Store, tmp_path: Path) -> None:
    await add(store, 1)
    archive = archiver(store, tmp_path / "here")
    await purge(store, archive).now()
    elsewhere = Folder(tmp_path / "there", Vault())
    (left,) = (await Forget(store, archive=elsewhere).forget(person("zoe@example.com"), ANN)).left
    assert f"{tmp_path}/here, which is not this one" in left
    assert (await Forget(store, archive=archive.folder).forget(person("zoe@example.com"), ANN)).left == []
    # what was there then is over
    await store.shift_clock(362 * 86_400)
    assert (await Forget(store).forget(person("zoe@example.com"), ANN)).left == []


async def test_a_number_in_what_a_caller_sent_is_blanked_and_leaves_json(store: Store) -> None:
    await add(store, 1)
    assert (await Forget(store).forget(person("+33699999999"), ANN)).left == []
    (row,) = await store.read("SELECT body FROM payloads", [])
    assert json.loads(row["body"])["data"]["ctx"]["n"] == "***"


# ------------------------------------------------------------------------------------------------------------- command


def test_an_operator_looks_into_the_archive(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    on = ("--set", "retention.archive.path=archive")

    async def fill() -> None:
        async with open_store(sqlite_url) as store:
            for number in (1, 2):
                await add(store, (1 << 56) + number)

    refused = run("archive", "list")
    assert (refused.code, refused.err) == (1, "retention.archive.path is not set: there is no archive\n")
    asyncio.run(fill())
    assert run("purge", *on).code == 0
    (file,) = json.loads(run("archive", "list", "--json", *on).out)
    assert (file["events"], file["type"]) == (2, "")
    assert Path(file["file"]).parent == tmp_path / "shop" / "archive"
    shown = json.loads(run("archive", "show", "2", *on).out)
    assert (shown["id"], shown["data"]["ctx"]["name"]) == (str((1 << 56) + 2), "Zoé")
    missing = run("archive", "show", "3", *on)
    assert (missing.code, missing.err) == (1, f"there is no event {(1 << 56) + 3} in the archive\n")
    assert run("archive", "search", "--external-id", "E-72057594037927938", *on).out.count("\n") == 2
    found = json.loads(run("archive", "search", "--email", "zoe@example.com", "--json", *on).out)
    assert len(found) == 2
    assert json.loads(run("archive", "search", "--before", file["day"], "--json", *on).out) == []
    assert "archived events" in run("forget", "zoe@example.com", *on).out
    assert json.loads(run("archive", "list", "--json", *on).out) == []
