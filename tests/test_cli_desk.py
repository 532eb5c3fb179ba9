"""What waits, and what templates want, as commands tell it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import runner, sample_copy

EVENT = {"email": "omid@example.com", "ctx": {"name": "Omid"}}


def test_what_waits_and_what_a_template_wants(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"type": "password_reset", **EVENT, "ctx": {"link": "https://shop.example.com/r"}}))
    assert run("push", str(event)).code == 0
    waits = run("queue").out.splitlines()
    assert waits[1].split()[:4] == ["realtime", "email", "1", "1"]
    assert json.loads(run("queue", "--json").out)[0]["ready"] == 1
    draft = ("--version", "draft")
    wants = {
        one["path"]: one["lacking"]
        for one in json.loads(run("templates", "needs", "password_reset/email", *draft, "--json").out)
    }
    assert wants["link"] == []
    assert all(
        one.startswith("ctx.")
        for one in run("templates", "needs", "password_reset/email", *draft).out.split("\n")[1:-1]
    )
    event.write_text(json.dumps({**EVENT, "ctx": {"link": "https://shop.example.com/pasted"}}))
    made = run("templates", "preview", "password_reset/email", "--event", str(event))
    assert made.out.startswith("to: omid@example.com\n")
    assert "https://shop.example.com/pasted" in made.out
    assert '\nattachments: [{"file": "logo.png", ' in made.out
    whole = ("--part", "html", "--images", "--event", str(event))
    assert 'src="data:image/png;base64,' in run("templates", "preview", "password_reset/email", *whole).out
    event.write_text("{")
    broken = run("templates", "preview", "password_reset/email", "--event", str(event))
    assert (broken.code, str(event) in broken.err) == (1, True)
