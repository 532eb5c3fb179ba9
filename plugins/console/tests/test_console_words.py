"""Every word of the pages in every language."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path

import pytest
from petitbleu.lifecycle import statuses
from petitbleu_console.site import SECTIONS
from petitbleu_console.wording import LANGUAGES, VOCABULARY, preferred, words

PACKAGE = Path(__file__).parent.parent / "petitbleu_console"


def said() -> set[str]:
    """Texts that the templates and the modules give to be translated, as far as they stand there in full."""
    found = set()
    for file in PACKAGE.glob("html/*.j2"):
        found |= {one for _, one in re.findall(r"""\b_\((["'])(.+?)\1[,)]""", file.read_text("utf-8"))}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("say", "visit.say", "_failed"):
                found |= {
                    one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    labels = {section.label for section in SECTIONS} | {one.label for one in statuses({}).values()}
    return found | labels | VOCABULARY


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_every_text_is_there_and_none_is_left_over(language: str) -> None:
    known = json.loads((PACKAGE / "words" / f"{language}.json").read_text("utf-8"))
    sources = "\n".join(file.read_text("utf-8") for file in PACKAGE.rglob("*.py"))
    assert sorted(said() - known.keys()) == []
    assert sorted(one for one in known.keys() - said() if f'"{one}"' not in sources) == []
    assert [one for one in known if _gaps(one) != _gaps(known[one])] == []


def _gaps(text: str) -> set[str]:
    return set(re.findall(r"\{\w+\}", text))


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("", "en"),
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("de,en;q=0.5,fr;q=0.4", "en"),
        ("en;q=0,fr", "fr"),
        ("xx;q=y", "en"),
    ],
)
def test_the_browser_chooses(asked: str, language: str) -> None:
    assert preferred(asked) == language


def test_values_are_filled_in() -> None:
    assert words("fr")("Version {version} is published", version=3) == "La version 3 est publiée"


def test_what_others_wrote_is_as_it_was_published() -> None:
    vendored = json.loads((PACKAGE / "static" / "VENDORED.json").read_text("utf-8"))
    for one in vendored:
        assert hashlib.sha256((PACKAGE / "static" / one["file"]).read_bytes()).hexdigest() == one["sha256"], one["file"]
    third_party = {file.name for file in (PACKAGE / "static").iterdir()} - {
        "console.css",
        "console.js",
        "petitbleu.svg",
        "VENDORED.json",
    }
    assert third_party == {one["file"] for one in vendored} | {"htmx.LICENSE.txt", "uPlot.LICENSE.txt"}
