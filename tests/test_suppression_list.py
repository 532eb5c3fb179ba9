"""`petitbleu suppressions …` and `petitbleu audit`, as an operator types them; suppression as it is configured."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope
from command_line import Run, runner, sample_copy
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import IncomingEvent, Operator, Queue, elements
from petitbleu.audit import ITSELF
from petitbleu.config import SAMPLE
from petitbleu.config.settings import ChannelSuppression, EventTypeSettings, SuppressionSettings
from petitbleu.instance import open_instance
from petitbleu.metrics import Metrics
from petitbleu.operating import Actor, ListDefaults, Suppression, SuppressionFilter
from petitbleu.retention import Pace, Periods, Purge
from petitbleu.serving.app import running
from petitbleu.store import open_store
from petitbleu.suppression import Reason, address_key
from petitbleu.suppression.exchange import ListRefused, Reader, Writer
from petitbleu.suppression.register import CHUNK, Register
from pydantic import ValidationError

KINDS = {"email": "email", "sms": "mobilePhone", "ios": "registrationToken"}
ANN = Actor(Operator("ann", frozenset()), "cli")
DAY = 86_400_000_000


@pytest.fixture
def run(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(sample_copy(tmp_path), sqlite_url, capsys)


def listed(run: Run, *words: str) -> list[dict[str, Any]]:
    ended = run("suppressions", "list", "--json", *words)
    assert ended.code == 0, ended.err
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def test_add_list_and_remove(run: Run) -> None:
    ended = run("suppressions", "add", "email", "Zoe@Example.com", "--for", "30d", "--text", "by phone", "--by", "ann")
    assert ended.code == 0, ended.err
    (added,) = listed(run)
    assert (added["address"], added["brand"], added["reason"]) == ("zoe@example.com", "", "manual")
    assert (added["text"], added["by"]) == ("by phone", "ann")
    days = datetime.fromisoformat(added["expires"]) - datetime.fromisoformat(added["created"])
    assert days.days == 30
    words = ("--brand", "shop", "--reason", "unsubscribed", "--until", "2999-01-01T00:00Z")
    assert run("suppressions", "add", "email", "zoe@example.com", *words).code == 0
    lines = run("suppressions", "list").out.splitlines()
    assert lines[0].split() == ["CHANNEL", "ADDRESS", "BRAND", "REASON", "SINCE", "UNTIL", "BY", "TEXT"]
    assert len(lines) == 3
    assert [one["reason"] for one in listed(run, "--brand", "shop")] == ["unsubscribed"]
    assert [one["reason"] for one in listed(run, "--brand", "")] == ["manual"]
    assert len(listed(run, "--channel", "email", "--address", "ZOE@example.com")) == 2
    assert len(listed(run, "--limit", "1")) == 1
    gone = run("suppressions", "remove", "email", "zoe@EXAMPLE.com", "--reason", "manual", "--by", "bob")
    assert gone.code == 0
    missing = run("suppressions", "remove", "email", "zoe@example.com", "x@example.com")
    assert (missing.code, missing.err) == (1, "x@example.com: is not on the list\n")
    assert listed(run) == []
    audit = json.loads(run("audit", "--json").out)
    assert [(one["by"], one["action"]) for one in audit][1:] == [
        ("bob", "suppressions.remove"),
        (audit[2]["by"], "suppressions.add"),
        ("ann", "suppressions.add"),
    ]
    assert [one["object"] for one in audit] == ["email/zoe@example.com"] * 4
    assert audit[3]["detail"]["text"] == "by phone"
    told = run("audit", "--action", "suppressions.remove", "--by", "bob").out.splitlines()
    assert len(told) == 2
    assert "suppressions.remove  email/zoe@example.com  reason manual, text by phone, expires " in told[1]
    assert len(json.loads(run("audit", "--action", "suppressions", "--json").out)) == 4
    assert json.loads(run("audit", "--object", "email/x@example.com", "--json").out) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("email", "zoe"), "'zoe' is not an email address: "),
        (("fax", "zoe@example.com"), "no plugin here serves the channel 'fax'; there are: "),
        (("email", "z@example.com", "--brand", "sohp"), "'sohp' is not declared in brands; there are: shop"),
        (
            ("email", "z@example.com", "--until", "2020-01-01T00:00Z"),
            "expires: 2020-01-01 00:00:00 UTC is over already",
        ),
        (("email", "z@example.com", "--until", "soon"), "--until soon is not a date and time; write it as "),
        (("email", "z@example.com", "--for", "long"), "--for long should be a duration such as 30d, of ten years"),
    ],
)
def test_what_cannot_be_added_is_told(run: Run, words: tuple[str, ...], said: str) -> None:
    ended = run("suppressions", "add", *words)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(said)
    assert listed(run) == []
    assert json.loads(run("audit", "--json").out) == []


def test_an_address_alone_does_not_say_what_it_is(run: Run) -> None:
    ended = run("suppressions", "list", "--address", "zoe@example.com")
    assert (ended.code, ended.err[:27]) == (1, "--address needs --channel, ")


def test_import_is_all_or_nothing_and_names_every_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        "address,reason,brand,expires\na@example.com,,,\nb.example.com,hard,,\n\nc@example.com,gone,,\n"
        "d@example.com,,sohp,\n,hard,,\ne@example.com,hard,,tomorrow\n"
    )
    ended = run("suppressions", "import", str(file), "--channel", "email")
    assert (ended.code, ended.out) == (1, "")
    told = ended.err.splitlines()
    assert told[0].startswith(f"{file}:3: address: is not an email address: ")
    assert told[1:] == [
        f"{file}:5: reason: 'gone' should be one of complaint, hard, unsubscribed, manual, soft",
        f"{file}:6: brand: 'sohp' is not declared in brands; there are: shop",
        f"{file}:7: address: is missing",
        f"{file}:8: expires: is not a date and time; write it as 2026-12-31T23:59:59Z",
    ]
    assert listed(run) == []
    file.write_text("\ufeffAddress,Brand\r\na@example.com,shop\r\nA@example.com,shop\r\n", encoding="utf-8")
    rehearsed = run("suppressions", "import", str(file), "--channel", "email", "--dry-run")
    assert rehearsed.out == "2 entries; nothing is changed (--dry-run)\n"
    assert listed(run) == []
    done = run("suppressions", "import", str(file), "--channel", "email", "--reason", "complaint", "--by", "ann")
    assert done.out == "2 entries imported\n"
    (one,) = listed(run)
    assert (one["address"], one["brand"], one["reason"], one["by"]) == ("a@example.com", "shop", "complaint", "ann")


def test_what_is_exported_can_be_imported(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("suppressions", "add", "email", "a@example.com", "--text", 'said "no",\nreally', "--by", "ann")
    run("suppressions", "add", "email", "b@example.com", "--brand", "shop", "--until", "2999-01-01T00:00Z")
    before = listed(run)
    for name in ("list.csv", "list.json"):
        file = tmp_path / name
        assert run("suppressions", "export", str(file)).code == 0
        run("suppressions", "remove", "email", "a@example.com", "b@example.com")
        assert listed(run) == []
        assert run("suppressions", "import", str(file), "--json").out == '{\n  "imported": 2,\n  "dry_run": false\n}\n'
        assert listed(run) == before
    told = run("suppressions", "export", "--brand", "shop").out.splitlines()
    assert told[0] == "channel,address,brand,reason,text,created,expires,by"
    assert len(told) == 2
    assert json.loads(run("suppressions", "export", "--format", "json", "--reason", "soft").out) == []
    text = (tmp_path / "list.json").read_bytes()
    assert [one["address"] for one in json.loads(text)] == ["a@example.com", "b@example.com"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert run("suppressions", "import", "-").out == "2 entries imported\n"


def test_files_that_cannot_be_read_or_written_are_named(run: Run, tmp_path: Path) -> None:
    assert run("suppressions", "import", str(tmp_path / "none.csv")).err.startswith(f"{tmp_path}/none.csv: cannot be")
    (tmp_path / "latin.csv").write_bytes(b"address\n\xe9@example.com\n")
    assert "cannot be read" in run("suppressions", "import", str(tmp_path / "latin.csv")).err
    ended = run("suppressions", "export", str(tmp_path / "no" / "list.csv"))
    assert (ended.code, "cannot be written" in ended.err) == (1, True)


# ------------------------------------------------------------------------------------------------------------- the file


def reader(**words: Any) -> Reader:
    def key(channel: str, address: str, country: str) -> str:
        return Register(None, KINDS).key(channel, address, country)  # type: ignore[arg-type]

    return Reader(key, UTC, {"shop"}, ListDefaults(**words))


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("csv", "", "f:1: the first line should name the columns, address among them: channel,address,"),
        ("csv", "zoe@example.com\n", "f:1: the first line should name the columns"),
        ("csv", "address,why\n", "f:1: 'why' is not a column here; there are: channel, address, "),
        ("csv", "address\na@example.com,b\n", "f:2: has 2 values, and the first line names 1"),
        ("csv", 'address\n"a\n', "f:2: is not CSV: "),
        ("json", '[\n{"address": "a@example.com"},\n{"address"}]', "f:3: is not JSON: "),
        ("json", '[\n{"address": ' + "9" * 5000 + "}]", "f:2: holds a number of too many digits"),
        ("json", '[\n\n{"address": ' + '{"a": ' * 100_000, "f:3: holds a number of too many digits, or is nested"),
        ("json", '[\n\n"a@example.com"]', 'f:3: should be an object such as {"channel": "email", '),
        ("json", '{"address": 5}', "f:1: address: should be text"),
        ("json", '{"address": "a@example.com", "why": "x"}', "f:1: 'why' is not a column here"),
        ("json", '{"address": "a@example.com", "\\ud800": "x"}', "f:1: '\\ud800' is not a column here"),
        (
            "json",
            '{"address": "a@example.com", "text": "a\\ud800"}',
            "f:1: text: is too long, or holds a NUL character",
        ),
        ("json", '{"address": "a@example.com", "brand": "' + "b" * 200 + '"}', "f:1: brand: is too long"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(form: str, text: str, told: str) -> None:
    with pytest.raises(ListRefused) as refused:
        reader(channel="email").read(text, form, "f")
    assert str(refused.value).splitlines()[0].startswith(told)


def test_a_channel_is_needed_and_a_flood_of_problems_is_summed_up() -> None:
    with pytest.raises(ListRefused) as refused:
        reader().read("address\n" + "a@example.com\n" * 100, "csv", "f")
    lines = str(refused.value).splitlines()
    assert len(lines) == 21
    assert lines[0] == "f:2: channel: is missing; give it in each line, or for all with --channel"
    assert lines[20] == "f: and 80 lines more; nothing is imported"


def test_numbers_are_read_as_dialled_in_a_country() -> None:
    (one,) = reader(channel="sms", country="FR").read("address\n06 12 34 56 78\n", "csv", "f")
    assert one.address == "+33612345678"


TIMES = st.none() | st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=40)
ADDRESSES = st.tuples(st.just("email"), st.sampled_from(["a@example.com", "b+c@example.org"])) | st.tuples(
    st.just("ios"), st.text("abcdef0123456789", min_size=1, max_size=200)
)


@given(
    st.lists(
        st.builds(
            lambda to, *rest: Suppression(to[0], address_key(KINDS[to[0]], to[1]), *rest),
            ADDRESSES,
            st.sampled_from(["", "shop"]),
            st.sampled_from(Reason),
            WORDS,
            TIMES,
            TIMES,
            WORDS.map(str.strip),
        ),
        max_size=8,
    ),
    st.sampled_from(["csv", "json"]),
)
def test_whatever_is_written_is_read_again(entries: list[Suppression], form: str) -> None:
    out = io.StringIO()
    writer = Writer(out, form)
    for one in entries:
        writer.write(one)
    writer.end()
    assert reader().read(out.getvalue(), form, "f") == entries
    if form == "json":
        assert len(json.loads(out.getvalue())) == len(entries)


async def test_a_long_list_goes_in_and_out(database_url: str) -> None:
    count = 2 * CHUNK + 7
    entries = [
        Suppression("email", f"a{number}@example.com", "", Reason.HARD, "", None, None, "") for number in range(count)
    ]
    async with open_store(database_url) as store:
        register = Register(store, KINDS)
        await register.put([*entries, *entries], ANN, "suppressions.import")
        found = [one.address async for one in register.walk(SuppressionFilter())]
        assert sorted(found) == sorted(one.address for one in entries)
        audited = await store.read("SELECT count(*) AS found FROM audit", [])
        assert audited == [{"found": count}]
        assert len(await register.remove("email", [one.address for one in entries], ANN)) == count


async def test_an_import_that_fails_in_its_midst_changes_nothing(database_url: str) -> None:
    good = [
        Suppression("email", f"a{number}@example.com", "", Reason.HARD, "", None, None, "") for number in range(CHUNK)
    ]
    broken = Suppression("email", "z@example.com", "", Reason.HARD, None, None, None, "")  # type: ignore[arg-type]
    async with open_store(database_url) as store:
        register = Register(store, KINDS)
        with pytest.raises(Exception, match=r"(?i)null"):
            await register.put([*good, broken], ANN, "suppressions.import")
        assert await register.find(SuppressionFilter(), 1) == []
        assert await store.read("SELECT id FROM audit", []) == []


# -------------------------------------------------------------------------------------------------- what is over


async def test_what_is_over_is_deleted(database_url: str) -> None:
    async def no_pause(seconds: float) -> None:
        pass

    async with open_store(database_url) as store:
        now = store.now()
        for number in range(10):
            late = now + (number - 4) * DAY
            statements = [
                'INSERT INTO suppressions (channel, address, reason, created, expires, "by") '
                f"VALUES ('email', '{number}', 'hard', 0, {'NULL' if number == 0 else late}, '')",
                "INSERT INTO soft_errors (channel, address, errors, touched) "
                f"VALUES ('email', '{number}', '[]', {late - 30 * DAY})",
                f"INSERT INTO audit (at, \"by\", action, object) VALUES ({late - 365 * DAY}, 'ann', 'a', 'o')",
            ]
            for statement in statements:
                await store.connection.execute_query(statement)
        one = Purge(
            store,
            {},
            Periods(DAY, DAY, DAY),
            DAY,
            3600.0,
            Pace(2, 0.5),
            "a",
            Metrics(),
            sleep=no_pause,
            soft_errors=30 * DAY,
            audit=365 * DAY,
            outbox=DAY,
            statistics=360 * DAY,
        )
        expected = {"suppressions": 4, "soft_errors": 5, "audit": 5}
        assert +await one.rehearse() == expected
        assert await one.now() == expected
        left = await store.read("SELECT address FROM suppressions ORDER BY id", [])
        assert [row["address"] for row in left] == ["0", "5", "6", "7", "8", "9"]
        if store.dialect == "sqlite":
            for name, values in (("suppressions", [9]), ("soft_errors", [DAY, 9]), ("audit", [DAY, 9])):
                statement, parameters = store.queries.bind(f"purge_{name}", values)
                plan = await store.connection.execute_query_dict("EXPLAIN QUERY PLAN " + statement, parameters)
                assert f"SCAN {name}" not in "\n".join(str(row["detail"]) for row in plan)


# ---------------------------------------------------------------------------------------------------- as configured


def test_an_event_type_names_reasons_or_takes_all() -> None:
    def ignored(value: Any) -> frozenset[Reason]:
        return EventTypeSettings.model_validate({"suppression": value}).ignored_reasons

    assert ignored("ignore") == frozenset(Reason)
    assert ignored({"ignore": ["complaint", "soft"]}) == {Reason.COMPLAINT, Reason.SOFT}
    assert ignored(None) == EventTypeSettings().ignored_reasons == frozenset()
    refused: list[Any] = ["no", {"ignore": ["bounce"]}, {"ignroe": []}]
    for wrong in refused:
        with pytest.raises(ValidationError):
            ignored(wrong)


async def test_terms_are_those_of_the_channel(sqlite_url: str) -> None:
    settings = [
        f"database={sqlite_url}",
        "suppression.threshold=4",
        "suppression.hard=90d",
        "suppression.channels.email.hard=1d",
        "event_types.password_reset.suppression=ignore",
    ]
    async with open_instance(SAMPLE, settings) as instance:
        terms = instance.suppressions._terms_of("email")
        assert (terms.threshold, terms.lasting) == (4, {Reason.HARD: DAY, Reason.SOFT: 7 * DAY})
        assert instance.suppressions._terms_of("other").lasting[Reason.HARD] == 90 * DAY
        await instance.register.put(
            [Suppression("email", "zoe@example.com", "", Reason.HARD, "", None, None, "")], ANN, "suppressions.add"
        )
        kept = await instance.suppressions.standing("order_confirmation", "email", "Zoe@example.com", "shop")
        assert kept.reason is Reason.HARD
        assert (await instance.suppressions.standing("password_reset", "email", "zoe@example.com", "")).reason is None


def test_settings_of_a_channel_nobody_serves_are_refused(run: Run) -> None:
    ended = run("suppressions", "list", "--set", "suppression.channels.emial.hard=1d")
    assert "suppression.channels.emial: no plugin here serves the channel 'emial'; did you mean 'email'?" in ended.err


def test_a_channel_can_differ_in_all_that_is_common() -> None:
    assert {*ChannelSuppression.model_fields} == {*SuppressionSettings.model_fields} - {"channels"}


def test_an_event_is_ignored_from_the_door_on(run: Run, tmp_path: Path, sqlite_url: str) -> None:
    """With the sample's own plugins, templates and a relay that nobody runs: it is never asked."""
    run("templates", "publish", "--all")
    run("suppressions", "add", "email", "zoe@example.com", "--by", "ann", "--text", "moved")
    file = tmp_path / "events.jsonl"
    ctx = {"user": {"@login": "a"}, "link": "https://x.example/a"}
    file.write_text(json.dumps({"type": "password_reset", "email": "Zoe@example.com", "ctx": ctx}))
    (pushed,) = json.loads(run("push", str(file), "--json").out)

    async def work() -> None:
        async with open_instance(SAMPLE, [f"database={sqlite_url}"], plugins_running=True) as instance:
            stop = asyncio.Event()
            task = asyncio.create_task(instance.worker.run(stop))
            for _ in range(400):
                (row,) = await instance.store.read("SELECT status FROM events", [])
                if row["status"] != "pending":
                    break
                await asyncio.sleep(0.01)
            stop.set()
            await task

    asyncio.run(work())
    shown = json.loads(run("events", "show", str(pushed["id"]), "--json").out)
    assert shown["status"] == "ignored"
    assert shown["reason"].startswith("suppressed: by ann on ")
    assert shown["reason"].endswith(": moved")


class Roof:
    """A relay where one mailbox does not exist and another is full."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        self.asked.append(address)
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        if address.startswith("full"):
            return "452 4.2.2 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"


async def test_a_relay_that_knows_no_such_user_is_asked_once(database_url: str) -> None:
    """The email plugin, an SMTP server, the sample: what a reply means decides, and only the address pays for it."""
    roof = Roof()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: SMTP(roof, loop=loop), "127.0.0.1", 0) as relay:
        port = relay.sockets[0].getsockname()[1]
        settings = [f"database={database_url}", "http.port=0", f"plugins.email.providers.main.port={port}"]
        async with running(SAMPLE, settings) as server:
            instance = server.instance
            await instance.templates.publish(instance.drafts.load("password_reset", "email"), ITSELF)

            async def push(*addresses: str) -> list[tuple[str, str]]:
                ctx = elements({"user": {"@login": "a"}, "link": "https://x.example/a"})
                events = [
                    IncomingEvent(Queue.REALTIME, {"type": "password_reset", "email": one}, {"ctx": ctx})
                    for one in addresses
                ]
                ids = await instance.intake(events, Operator("test", frozenset({"push"})))
                sql = f"SELECT status, reason FROM events WHERE id IN ({','.join('?' * len(ids))}) ORDER BY id"
                async with asyncio.timeout(20):
                    rows = await instance.store.read(sql, ids)
                    while not all(row["reason"] for row in rows):
                        await asyncio.sleep(0.01)
                        rows = await instance.store.read(sql, ids)
                return [(row["status"], row["reason"]) for row in rows]

            first = await push("gone@example.com", "full@example.com", "zoe@example.com")
            assert [status for status, _ in first] == ["failed", "pending", "sent"]
            second = await push("Gone@example.com", "zoe@example.com")
            assert [status for status, _ in second] == ["ignored", "sent"]
            assert second[0][1].endswith("550 5.1.1 no such user")
            ((_, entry),) = await instance.register.find(SuppressionFilter(), 10)
            assert (entry.address, entry.brand, entry.reason) == ("gone@example.com", "", Reason.HARD)
            (count,) = await instance.store.read("SELECT address FROM soft_errors", [])
            assert count["address"] == "full@example.com"
    assert [one for one in roof.asked if one.lower().startswith("gone")] == ["gone@example.com"]
