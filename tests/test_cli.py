"""Every command, as an administrator types it: what it prints, what it changes, how it ends."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from command_line import Run, runner, sample_copy
from petitbleu import Caught, __version__, by_argument
from petitbleu.cli import main
from petitbleu.config import SAMPLE
from petitbleu_email.catcher import Handler


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return sample_copy(tmp_path)


@pytest.fixture
def run(instance: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(instance, sqlite_url, capsys)


@pytest.fixture
def mail() -> Iterator[Any]:
    """An SMTP server in a thread of its own, since commands run loops of theirs."""
    caught: list[Caught] = []
    controller = Controller(Handler(caught.append), hostname="127.0.0.1", port=_free_port())
    controller.start()
    yield SimpleNamespace(hostname=controller.hostname, port=controller.port, caught=caught)
    controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_version_help_and_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"petitbleu {__version__}\n"
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().err
    assert main(["templates"]) == 2
    assert "rollback" in capsys.readouterr().err
    for wrong in (["serve", "--port", "1"], ["templates", "publsh"]):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        assert ended.value.code == 2


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    with pytest.raises(SystemExit) as ended:
        run("frobnicate")
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "words", [("events", "list"), ("suppressions", "list"), ("audit",), ("operators", "session", "list")]
)
@pytest.mark.parametrize("limit", ["0", "-1", "x", "9" * 20])
def test_a_listing_has_one_line_at_least(
    words: tuple[str, ...], limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, f"--limit={limit}"])
    assert ended.value.code == 2
    assert f"argument --limit: {limit!r} should be a number of lines, 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["", "b" * 129, "\udcff"])
def test_whoever_does_something_has_a_name(by: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["events", "cancel", "1", f"--by={by}"])
    assert ended.value.code == 2
    assert "argument --by: should be a name of up to 128 characters" in capsys.readouterr().err


def test_a_user_that_has_no_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as any number."""

    def nameless(number: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nameless)
    parser = argparse.ArgumentParser()
    by_argument(parser)
    assert parser.parse_args([]).by == f"uid {os.getuid()}"


def test_init_makes_an_instance_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new"
    assert main(["init", str(target)]) == 0
    assert f"petitbleu serve --config {target}" in capsys.readouterr().out
    assert main(["check", "--config", str(target)]) == 0
    assert main(["init", str(target)]) == 1
    assert "exists; name a new directory" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_programs_read_is_utf_8(instance: Path, encoding: str) -> None:
    words = ["-m", "petitbleu", "templates", "preview", "password_reset/email", "--language", "fr", "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    ended = subprocess.run([sys.executable, *words, "--config", str(instance)], capture_output=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert "é" in json.loads(ended.stdout.decode("utf-8"))["fields"]["subject"]


def test_a_terminal_is_shown_every_letter(instance: Path) -> None:
    ours, theirs = os.openpty()
    words = ["-m", "petitbleu", "templates", "preview", "password_reset/email", "--language", "fr"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(
        [sys.executable, *words, "--config", str(instance)], stdout=theirs, stderr=subprocess.PIPE, env=environment
    ) as child:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
    assert child.returncode == 0
    assert b"\\xe9" in shown


def test_folders_that_cannot_be_read_or_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    long = tmp_path / ("x" * 300)
    for arguments, said in (
        (["init", str(file / "new")], f"{file / 'new'} cannot be made: Not a directory\n"),
        (["init", str(long)], f"{long} cannot be made: File name too long\n"),
        (["new-plugin", "fine", "--kind", "observer", "--directory", str(file / "new")], f"{file / 'new'}"),
        (["new-plugin", "fine", "--kind", "observer", "--directory", str(long)], f"{long}"),
        (["check", "--config", str(long)], f"{long}: cannot be read: File name too long\n"),
        (["check", "--config", str(file)], f"{file}: should be a directory that holds petitbleu.yaml\n"),
    ):
        assert main(arguments) == 1
        assert capsys.readouterr().err.startswith(said)


def test_check_finds_every_mistake_with_its_place(run: Run, instance: Path) -> None:
    assert run("check").code == 0
    file = instance / "petitbleu.yaml"
    file.write_text(file.read_text() + "\nhtpp: {port: 1}\n")
    ended = run("check", "--set", "instance.cell=200")
    assert ended.code == 1
    assert f"{file}:{len(file.read_text().splitlines())}:1: htpp" in ended.err
    assert "did you mean 'http'" in ended.err
    assert "--set instance.cell" in ended.err


def test_check_warns_of_the_sample_password_beyond_loopback(run: Run) -> None:
    assert run("check").err == ""
    assert "mc" in run("check", "--set", "http.host=0.0.0.0").err


def test_check_prints_the_schema_for_editors(run: Run) -> None:
    schema = json.loads(run("check", "--json-schema").out)
    assert schema["properties"]["http"]


def test_overrides_reach_plugins(run: Run) -> None:
    ended = run("check", "--set", "plugins.email.providers.main.prot=25")
    assert (ended.code, "did you mean 'port'" in ended.err) == (1, True)


def test_plugins_tells_what_runs(run: Run) -> None:
    listed = json.loads(run("plugins", "--json").out)
    assert [(one["name"], one["channels"]) for one in listed] == [
        ("email", ["email"]),
        ("sms", ["sms"]),
        ("push", ["ios", "android", "web"]),
        ("soap_ingest", []),
        ("rest_ingest", []),
        ("console", []),
        ("webhooks", []),
    ]
    hooks = json.loads(run("plugins", "--hooks", "--json").out)
    assert hooks["petitbleu_render"] == ["core"]
    assert hooks["petitbleu_deliver"] == ["email", "sms", "push"]
    assert "soap_ingest" in run("plugins").out
    assert "did you mean 'email'?" in run("plugins", "emial").err
    own = ("--set", "delivery.deadlines={email: {deliver: 5s}}")
    (email,) = json.loads(run("plugins", "email", "--schema", "--json", *own).out)
    assert (email["order"], email["version"], email["distribution"]) == (1, __version__, "petitbleu")
    hooks = {one["name"]: (one["deadline"], one["order"]) for one in email["hooks"]}
    assert hooks["petitbleu_deliver"] == (5.0, ["email"])
    assert hooks["petitbleu_check_event"] == (10.0, ["email", "push"])
    assert hooks["petitbleu_channels"][0] is None
    assert "providers" in email["schema"]["$defs"]["EmailSettings"]["properties"]
    assert set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(email["schema"]))) == set(email["schema"]["$defs"])
    page = run("plugins", "email", *own).out
    assert re.search(r"^deliver +5 s +email$", page, re.M)
    well = run("plugins", "--health")
    assert (well.code, bool(re.search(r"^email +main +well +nothing sent yet$", well.out, re.M))) == (0, True)
    assert "petitbleu_deliver" in run("plugins", "--hooks").out


def test_a_broken_plugin_stops_the_command_with_one_message(run: Run) -> None:
    ended = run("check", "--set", "plugins=[email, soap_ingst]")
    assert ended.code == 1
    assert "plugin soap_ingst" in ended.err
    assert "did you mean 'soap_ingest'" in ended.err


def test_migrate(run: Run) -> None:
    assert run("migrate").out == "the tables are up to date\n"


def test_the_life_of_a_template(run: Run, instance: Path) -> None:
    listed = json.loads(run("templates", "list", "--json").out)
    assert {(one["version"], one["draft"]) for one in listed} == {(None, "new")}
    ended = run("templates", "publish", "--all", "--by", "ann", "--json")
    assert ended.code == 0
    assert {(one["version"], one["changed"]) for one in json.loads(ended.out)} == {(1, True)}
    assert "is published already, version 1" in run("templates", "publish", "password_reset/email").out
    body = instance / "templates/password_reset/email/body.txt.j2"
    body.write_text(body.read_text() + "\nThank you.\n")
    assert "+Thank you." in run("templates", "diff", "password_reset/email").out
    assert run("templates", "publish", "password_reset/email").out == "password_reset/email: published, version 2\n"
    assert "Thank you." in run("templates", "show", "password_reset/email").out
    assert "Thank you." not in run("templates", "show", "password_reset/email", "--version", "1").out
    assert run("templates", "rollback", "password_reset/email", "1").out == "password_reset/email: version 1 is back\n"
    versions = json.loads(run("templates", "versions", "password_reset/email", "--json").out)
    assert [(one["number"], one["current"]) for one in versions] == [(1, True), (2, False)]
    assert versions[0]["created_by"] == "ann"
    assert "unpublished" in run("templates", "unpublish", "password_reset/email").out
    assert run("templates", "unpublish", "password_reset/email").code == 1
    assert "has no version 9" in run("templates", "rollback", "password_reset/email", "9").err
    table = run("templates", "list").out
    assert "password_reset/email        -          new" in table or "password_reset/email" in table


def test_a_template_that_fails_is_not_published_and_the_others_are(run: Run, instance: Path) -> None:
    body = instance / "templates/password_reset/email/body.txt.j2"
    body.write_text("{{ rtEvent.ctx.nothing.here }}")
    ended = run("templates", "publish", "--all")
    assert ended.code == 1
    assert "password_reset/email: refused" in ended.err
    assert "rtEvent.ctx.nothing" in ended.err
    assert "body.txt.j2:1" in ended.err
    assert ended.out.count("published, version 1") == 8


def test_publish_wants_a_name_or_all(run: Run) -> None:
    assert run("templates", "publish").code == 2
    near = run("templates", "publish", "pasword_reset/email").err
    assert "there is no template 'pasword_reset/email' beside password_reset/email" in near
    ended = run("templates", "publish", "nothing")
    assert (ended.code, "there is no template 'nothing'" in ended.err) == (1, True)


def test_preview_shows_what_a_seed_would_get(run: Run) -> None:
    shown = run("templates", "preview", "password_reset/email")
    assert shown.code == 0
    assert "subject: Reset your password" in shown.out
    assert "--- html ---" in shown.out
    assert "<html" in run("templates", "preview", "password_reset/email", "--part", "html").out
    french = json.loads(run("templates", "preview", "password_reset/email", "--language", "fr", "--json").out)
    assert french["fields"]["subject"] != "Reset your password"
    assert "has no part 'pdf'" in run("templates", "preview", "password_reset/email", "--part", "pdf").err
    assert "has no seed 'x'" in run("templates", "preview", "password_reset/email", "--seed", "x").err


def test_proof_sends_the_draft_to_its_seeds(run: Run, mail: Any) -> None:
    port = f"plugins.email.providers.main.port={mail.port}"
    ended = run("templates", "proof", "password_reset/email", "--to", "me@example.com", "--set", port)
    assert ended.code == 0, ended.err
    assert {one.to for one in mail.caught} == {"me@example.com"}
    assert len(mail.caught) == len(ended.out.splitlines())
    assert "petit bleu" in mail.caught[0].lines[0].lower()
    odd = run("templates", "proof", "password_reset/email", "--to", "\udcff@example.com", "--set", port)
    assert (odd.code, odd.err) == (1, "a NUL character, or half of a character, stands in no row\n")
    gone = f"plugins.email.providers.main.port={_free_port()}"
    assert run("templates", "proof", "password_reset/email", "--set", gone).code == 1


def test_push_reads_xml_and_json_lines(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = tmp_path / "events.jsonl"
    reset = {
        "type": "password_reset",
        "email": "a@example.com",
        "ctx": {"user": {"@login": "a"}, "link": "https://x.example"},
    }
    lines.write_text("\n".join(json.dumps({**reset, "externalId": f"J-{n}"}) for n in range(3)) + "\n")
    xml = instance_event = SAMPLE / "events" / "order_confirmation.xml"
    ended = run("push", str(lines), str(xml), "--json")
    assert ended.code == 0, ended.err
    pushed = json.loads(ended.out)
    assert [(Path(one["file"]).name, one["position"]) for one in pushed] == [
        ("events.jsonl", 1),
        ("events.jsonl", 2),
        ("events.jsonl", 3),
        (instance_event.name, 1),
    ]
    listed = json.loads(run("events", "list", "--type", "password_reset", "--json").out)
    assert [one["external_id"] for one in listed] == ["J-2", "J-1", "J-0"]
    shown = run("events", "show", str(pushed[0]["id"]), "--data")
    assert "accepted into the realtime queue, externalId J-0" in shown.out
    assert '"@login": "a"' in shown.out
    as_json = json.loads(run("events", "show", str(pushed[0]["id"] & 0xFFFFFFFFFFFFFF), "--json").out)
    assert (as_json["id"], as_json["status"], as_json["attempts"]) == (pushed[0]["id"], "pending", [])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(reset).encode())))
    assert run("push", "-").code == 0
    assert "J-2" in run("events", "list", "--external-id", "J-2").out
    assert run("events", "show", "999").code == 1


def test_push_refuses_what_is_wrong_and_says_where(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"type": "password_reset", "email": "a@example.com"}\n[1]\n')
    torn = tmp_path / "torn.xml"
    torn.write_text("<rtEvent>")
    unknown = tmp_path / "unknown.xml"
    unknown.write_text('<Events><rtEvent type="nope" email="a@example.com" externalId="U"/></Events>')
    empty = tmp_path / "empty.xml"
    empty.write_text("<a/>")
    ended = run("push", str(bad), str(torn), str(unknown), str(empty), str(tmp_path / "missing.xml"))
    assert ended.code == 1
    assert ended.out == ""
    assert f"{bad}: event 2: should be an object" in ended.err
    assert f"{torn}: (1:" in ended.err
    assert f"{unknown}: event 1 (externalId U): type: 'nope' is not a declared event type" in ended.err
    assert f"{empty}: (1:1) : holds no <rtEvent>" in ended.err
    assert "missing.xml" in ended.err


def test_operators(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(run("operators", "list", "--json").out)
    assert listed["mc"]["rights"] == ["publish", "push", "read"] or "push" in listed["mc"]["rights"]
    assert "$argon2id$" not in json.dumps(listed)
    assert "mc" in run("operators", "list").out
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame\n"))
    hashed = run("operators", "hash-password").out.strip()
    assert hashed.startswith("$argon2id$")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert run("operators", "hash-password").code == 1


def test_plugins_bring_commands(run: Run, mail: Any) -> None:
    assert "PushEvents" in run("wsdl", "nms:rtEvent").out


def test_a_database_of_a_newer_or_older_program_is_not_touched(run: Run, sqlite_url: str) -> None:
    with sqlite3.connect(sqlite_url.removeprefix("sqlite://")) as database:
        database.execute("DELETE FROM tortoise_migrations")
        database.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('petitbleu', '0000_old', '2026-01-01')"
        )
    database.close()
    ended = run("events", "list")
    assert (ended.code, "run `petitbleu migrate` first" in ended.err) == (1, True)


def test_what_cannot_be_opened_is_told_in_one_line(run: Run, sqlite_url: str, mail: Any) -> None:
    taken = run("serve", "--set", f"http.port={mail.port}")
    assert (taken.code, taken.err.splitlines()[-1].startswith(f"cannot listen on 127.0.0.1:{mail.port}")) == (1, True)
    Path(sqlite_url.removeprefix("sqlite://")).write_bytes(b"this is no database, " * 100)
    ended = run("events", "list")
    assert (ended.code, ended.err.splitlines()) == (1, ["the database cannot be opened: file is not a database"])


def test_demo_notices_a_mail_that_is_wrong(instance: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = instance / "templates/password_reset/email/body.txt.j2"
    body.write_text(body.read_text().replace("{% endblock", "{% raw %}Dear {{ name }}{% endraw %}{% endblock", 1))
    assert main(["demo", "--once", "--config", str(instance)]) == 1
    captured = capsys.readouterr()
    assert "WRONG    password_reset.xml: shows template code" in captured.err
    assert "8 of 9 messages arrived and are right" in captured.out


def test_serve_answers_and_stops_on_sigterm(instance: Path, sqlite_url: str) -> None:
    port = _free_port()
    command = [sys.executable, "-m", "petitbleu", "serve", "--config", str(instance)]
    sets = ["--set", f"http.port={port}", "--set", f"database={sqlite_url}"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen([*command, *sets], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        body = _get(f"http://127.0.0.1:{port}/healthz", 15)
        assert json.loads(body) == {"status": "ok"}
    finally:
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=15)
    assert server.returncode == 0
    lines = [line for line in map(json.loads, err.splitlines()) if line["logger"] == "petitbleu.server"]
    assert [line["text"] for line in lines] == ["serving", "stopping"]
    assert lines[0]["url"] == f"http://127.0.0.1:{port}"


def _get(url: str, seconds: float) -> str:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                text: str = response.read().decode()
                return text
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
