"""`petitbleu events cancel`, `retry` and `resend`, as an operator types them; idempotency as it is configured."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from command_line import Ended, Run, runner, sample_copy


@pytest.fixture
def run(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(sample_copy(tmp_path), sqlite_url, capsys)


def push(run: Run, tmp_path: Path, *external_ids: str, settings: tuple[str, ...] = (), link: str = "a") -> Ended:
    file = tmp_path / "events.jsonl"
    events = [
        {
            "type": "password_reset",
            "email": "a@example.com",
            "externalId": one,
            "ctx": {"user": {"@login": "a"}, "link": f"https://x.example/{link}"},
        }
        for one in external_ids
    ]
    file.write_text("\n".join(map(json.dumps, events)))
    return run("push", str(file), "--json", *settings)


def ids(ended: Ended) -> list[int]:
    assert ended.code == 0, ended.err
    return [one["id"] for one in json.loads(ended.out)]


def test_cancel_retry_and_resend_by_id(run: Run, tmp_path: Path) -> None:
    (first, second) = ids(push(run, tmp_path, "A", "B"))
    ended = run("events", "cancel", str(first), "--by", "ann")
    assert (ended.code, ended.out) == (0, f"event {first}: is cancelled\ncancel: 1 of 1\n")
    shown = json.loads(run("events", "show", str(first), "--json").out)
    assert (shown["status"], shown["reason"]) == ("ignored", "cancelled by ann")
    again = run("events", "cancel", str(first), str(second), "99")
    assert again.code == 1
    assert f"event {first}: refused: is ignored already" in again.err
    assert "refused: there is no such event" in again.err
    assert again.out.splitlines() == [f"event {second}: is cancelled", "cancel: 1 of 3"]
    assert run("events", "retry", str(first & 0xFFFF), "--by", "ann").code == 0
    shown = json.loads(run("events", "show", str(first), "--json").out)
    assert (shown["status"], shown["reason"]) == ("pending", "put back by ann")
    (copy,) = json.loads(run("events", "resend", str(first), "--json").out)
    assert (copy["id"], copy["ok"], copy["new_id"] > second) == (first, True, True)
    assert "resend: 1 of 1; nothing is changed" in run("events", "resend", str(first), "--dry-run").out
    assert len(json.loads(run("events", "list", "--json").out)) == 3
    refused = run("events", "reroute", str(first), "--to", "fax")
    assert (refused.code, "there is no channel 'fax'" in refused.err) == (1, True)
    refused = run("events", "reroute", str(first), "--to", "sms", "--dry-run")
    assert (refused.code, "has no mobilePhone, which the channel sms needs" in refused.err) == (1, True)


def test_a_filter_wants_a_look_or_a_yes(run: Run, tmp_path: Path) -> None:
    pushed = ids(push(run, tmp_path, *(f"E-{n}" for n in range(1200))))
    for words, said in (
        ((), "which events? Name their ids, or give a filter: --type, --status, --feedback, --external-id, --email"),
        (("--status", "pending"), "look with --dry-run, then repeat it with --yes"),
        (("5", "--status", "pending", "--yes"), "name ids or give a filter, not both"),
    ):
        ended = run("events", "cancel", *words)
        assert (ended.code, said in ended.err, ended.out) == (2, True, "")
    rehearsed = run("events", "cancel", "--type", "password_reset", "--dry-run")
    assert rehearsed.out.endswith("cancel: 1200 of 1200; nothing is changed (--dry-run)\n")
    assert run("events", "cancel", "--external-id", "E-7", "--yes").out.endswith("cancel: 1 of 1\n")
    assert run("events", "cancel", "--status", "pending", "--yes").out.endswith("cancel: 1199 of 1199\n")
    refused = run("events", "cancel", "--email", "a@example.com", "--yes", "--json")
    assert refused.code == 1
    assert [one["id"] for one in json.loads(refused.out)] == pushed
    assert run("events", "retry", "--status", "ignored", "--channel", "email", "--yes").code == 0
    assert run("events", "retry", "--status", "ignored", "--yes").out == "retry: 0 of 0\n"


def test_idempotency_is_a_setting_of_the_event_type(run: Run, tmp_path: Path) -> None:
    window = ("--set", "event_types.password_reset.idempotency=24h")
    first = ids(push(run, tmp_path, "A", "B", settings=window))
    assert ids(push(run, tmp_path, "B", "C", "A", settings=window))[::2] == first[::-1]
    refused = push(run, tmp_path, "D", "A", settings=window, link="b")
    assert refused.code == 1
    assert f"event 2 (externalId A): externalId: is that of event {first[0]}, whose content differs" in refused.err
    assert len(ids(push(run, tmp_path, "A"))) == 1
    assert len(json.loads(run("events", "list", "--json").out)) == 4


def test_what_receipts_say_is_listed_and_looked_for(run: Run, tmp_path: Path, sqlite_url: str) -> None:
    first, _ = ids(push(run, tmp_path, "F-1", "F-2"))
    assert json.loads(run("events", "list", "--feedback", "bounced", "--json").out) == []
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite://"))) as database, database:
        database.execute("UPDATE events SET feedback = 'bounced' WHERE id = ?", [first])
    (found,) = json.loads(run("events", "list", "--feedback", "bounced", "--json").out)
    assert (found["id"], found["feedback"]) == (first, "bounced")
    assert "pending, bounced" in run("events", "list").out
