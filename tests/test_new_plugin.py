"""`petitbleu new-plugin` writes packages that are sound from the first minute: each kind is installed as a stranger's
would be, passes its own tests, the type check and the style check, and a configuration takes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from petitbleu.cli import main
from petitbleu.errors import PetitbleuError
from petitbleu.scaffold import KINDS, check_name, new_plugin

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core"
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


@pytest.mark.parametrize("kind", KINDS)
def test_style_and_names_are_right_however_long_the_name_is(kind: str, tmp_path: Path) -> None:
    for name in ("x", LONGEST):
        made = new_plugin(name, kind, tmp_path)
        text = "".join(path.read_text("utf-8") for path in made.rglob("*") if path.is_file())
        assert re.findall(r"@(?:name|module|entry|class|camel|upper|version)@|MODULE|ENTRY", text) == []
        for check in (["check", "--quiet"], ["format", "--check", "--quiet"]):
            subprocess.run([sys.executable, "-m", "ruff", *check, "--no-cache", "."], check=True, cwd=made)


# ----------------------------------------------------------------------------------------------- as a stranger has them

Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("new")
    return {kind: new_plugin(f"my-{kind}", kind, folder) for kind in KINDS}


@pytest.fixture(scope="module")
def python(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Run Python where all of them are installed. Nothing is downloaded."""
    folder = tmp_path_factory.mktemp("site")
    copies = [shutil.copytree(one, folder / "from" / one.name) for one in made.values()]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), *map(str, copies)]
    subprocess.run(install, check=True, capture_output=True, cwd=folder)

    def python(*arguments: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        # the core as it lies here: an editable install hides its types
        environment |= {"PYTHONPATH": str(folder / "site"), "MYPYPATH": str(CORE)}
        done = subprocess.run(
            [sys.executable, *arguments], check=False, capture_output=True, text=True, cwd=cwd, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return python


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass(
    kind: str,
    made: dict[str, Path],
    python: Python,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    here = tmp_path / made[kind].name
    shutil.copytree(made[kind], here, ignore=shutil.ignore_patterns("petitbleu_*"))
    began = time.monotonic()
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/base", cwd=here)
    took = time.monotonic() - began
    passed = re.search(r"^(\d+) passed", done.stdout, re.M)
    assert passed is not None, done.stdout
    lines = sum(
        bool(line.strip())
        for path in made[kind].glob("petitbleu_*/*.py")
        for line in path.read_text("utf-8").split("\n")
    )
    record_property("package", f"petitbleu new-plugin, {kind}: {lines} lines, {passed[1]} tests in {took:.1f} s")
    assert "warning" not in done.stdout


@pytest.mark.alone
def test_their_types_are_right(made: dict[str, Path], python: Python) -> None:
    for folder in made.values():
        assert 'strict = true\nplugins = ["pydantic.mypy"]' in (folder / "pyproject.toml").read_text("utf-8")
    config = f"--config-file={made['channel'] / 'pyproject.toml'}"
    python("-m", "mypy", config, "--follow-imports=silent", "--cache-dir=mypy", *map(str, made.values()))


@pytest.mark.alone
def test_a_configuration_takes_what_their_readmes_show(made: dict[str, Path], python: Python, tmp_path: Path) -> None:
    sections = ""
    for folder in made.values():
        found = re.search(r"^```yaml\nplugins:\n(.*?)^```", (folder / "README.md").read_text("utf-8"), re.M | re.S)
        assert found is not None
        sections += re.sub(r"\$\{\w+\}", "secret", found[1])
    python("-m", "petitbleu", "init", "shop", cwd=tmp_path)
    file = tmp_path / "shop" / "petitbleu.yaml"
    written = re.sub(r"^plugins:\n", lambda found: found[0] + sections, file.read_text("utf-8"), count=1, flags=re.M)
    file.write_text(written, "utf-8")
    listed = python("-m", "petitbleu", "plugins", "--config", "shop", cwd=tmp_path).stdout
    assert {kind for kind in KINDS if re.search(rf"\bmy_{kind}\b.*petitbleu-my-{kind}", listed)} == set(KINDS)
    assert ": in order; plugins " in python("-m", "petitbleu", "check", "--config", "shop", cwd=tmp_path).stdout
