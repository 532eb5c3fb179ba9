"""`petitbleu new-plugin` takes names that can be, overwrites nothing and writes in style. What it writes works, too:
tests/test_plugin_packages.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from petitbleu.cli import main
from petitbleu.errors import PetitbleuError
from petitbleu.scaffold import KINDS, check_name, new_plugin

LONGEST = "a-name-as-long-as-one-may-be-x"


@pytest.mark.parametrize("name", ["text-gate", "x", "push2", LONGEST])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("petitbleu-gate", "give it without petitbleu-"),
        ("Gate", "is no name for a plugin: small letters"),
        ("text_gate", "such as text-gate"),
        ("text--gate", "is no name"),
        ("2gate", "is no name"),
        ("../gate", "is no name"),
        ("", "is no name"),
        (LONGEST + "y", "30 at most"),
        ("soap-ingest", "is the name of a plugin that is installed here"),
    ],
)
def test_names_that_cannot_be(name: str, problem: str) -> None:
    with pytest.raises(PetitbleuError, match=problem):
        check_name(name, ["email", "soap_ingest"])


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "petitbleu-gate").mkdir()
    assert main(["new-plugin", "gate", "--kind", "channel", "--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/petitbleu-gate exists; nothing in it is changed\n"
    assert list((tmp_path / "petitbleu-gate").iterdir()) == []


def test_it_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "gate", "--kind", "observer", "--directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/petitbleu-gate: a plugin package of the kind observer. Next:",
        f"  cd {tmp_path}/petitbleu-gate",
        "  pip install -e '.[test]'",
        "  pytest",
        "Then read its README.md, which says what is where, and list the plugin in petitbleu.yaml.",
    ]
    assert main(["new-plugin", "email", "--kind", "channel", "--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("'email' is the name of a plugin")


def test_style_and_names_are_right_however_long_the_name_is(tmp_path: Path) -> None:
    for kind in KINDS:
        for name in ("x", LONGEST):
            made = new_plugin(name, kind, tmp_path / kind)
            text = "".join(path.read_text("utf-8") for path in made.rglob("*") if path.is_file())
            assert re.findall(r"@(?:name|module|entry|class|camel|upper|version)@|MODULE|ENTRY", text) == []
    for check in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *check, "--no-cache", "."], check=True, cwd=tmp_path)
