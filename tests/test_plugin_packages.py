"""Packages of plugins as strangers have them: those below examples/, and what `petitbleu new-plugin` writes. They are
installed from their folders, pass their own tests and the type check, and a configuration takes them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from petitbleu.cli import main
from petitbleu.scaffold import KINDS, new_plugin

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
MADE = {f"petitbleu-my-{kind}": kind for kind in KINDS}
NAMES = [*(one.name for one in EXAMPLES), *MADE]
GENERATED = ("__pycache__", "*.egg-info", "build", ".*_cache")


@dataclass(frozen=True)
class Packages:
    """Each in its folder below one, and all of them installed in another place."""

    folder: Path
    site: Path

    def python(self, *arguments: str) -> str:
        """What Python prints that sees what is installed, and neither this repository nor the packages' folders."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**inherited, "PYTHONPATH": str(self.site)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def settings(self, name: str, tool: str) -> Mapping[str, Any]:
        """Of a tool, in the package's pyproject.toml."""
        written = tomllib.loads((self.folder / name / "pyproject.toml").read_text("utf-8"))
        found: Mapping[str, Any] = written["tool"][tool]
        return found


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Nothing is downloaded."""
    folder, site = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("site")
    for example in EXAMPLES:
        shutil.copytree(example, folder / example.name, ignore=shutil.ignore_patterns(*GENERATED))
    for name, kind in MADE.items():
        assert new_plugin(name.removeprefix("petitbleu-"), kind, folder) == folder / name
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile", f"--target={site}"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options]
    subprocess.run([*pip, *(f"./{name}" for name in NAMES)], check=True, capture_output=True, cwd=folder)
    return Packages(folder, site)


@pytest.fixture(scope="module")
def suites(packages: Packages, real_parts: object) -> ElementTree.Element:
    """The report on the tests of all of them, which share a process: each start of one takes a second."""
    options = [packages.settings(name, "pytest")["ini_options"] for name in NAMES]
    strict = packages.settings(NAMES[0], "pytest")["ini_options"]
    # one package's settings hold for all here; those that are written for others leave open what is done about warnings
    assert [{**strict, **one} for one in options] == [strict] * len(NAMES)
    config = f"--config-file={packages.folder / NAMES[0] / 'pyproject.toml'}"
    folders = [f"{name}/tests" for name in NAMES]
    quiet = ["-q", "-p", "no:cacheprovider", f"--rootdir={packages.folder}", "--junitxml=report.xml"]
    packages.python("-m", "pytest", config, *quiet, f"--basetemp={packages.folder}/base", *folders)
    (suite,) = ElementTree.parse(packages.folder / "report.xml").iter("testsuite")
    for one in suite.iter("property"):
        kind, _, name = one.attrib["name"].partition(" ")
        getattr(real_parts, kind)(name, one.attrib["value"])
    return suite


def test_there_are_examples() -> None:
    assert {"petitbleu-amqp", "petitbleu-line", "petitbleu-webhook"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_package_passes_its_own_tests(
    name: str, packages: Packages, suites: ElementTree.Element, record_property: Callable[[str, object], None]
) -> None:
    own = [one for one in suites.iter("testcase") if one.attrib["classname"].startswith(f"{name}.")]
    skipped = sum(one.find("skipped") is not None for one in own)
    assert len(own) - skipped > 5
    lines = sum(
        bool(line.strip())
        for path in packages.folder.glob(f"{name}/petitbleu_*/*.py")
        for line in path.read_text("utf-8").split("\n")
    )
    text = f"{lines} lines, {len(own)} tests in {sum(float(one.attrib['time']) for one in own):.1f} s"
    record_property("package", f"{name}: {text}" + (f", {skipped} of them skipped" if skipped else ""))


def test_types_are_right(packages: Packages) -> None:
    """Of what `new-plugin` writes; the examples are checked with this repository. So are its settings, which are those
    that the packages have; what is known of the core from there is not found out again."""
    for name in MADE:
        assert packages.settings(name, "mypy") == {"strict": True, "plugins": ["pydantic.mypy"]}
    folders = [str(packages.folder / name / part) for name in MADE for part in ("tests", name.replace("-", "_"))]
    check = [sys.executable, "-m", "mypy", *folders]
    done = subprocess.run(check, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_configuration_takes_what_their_readmes_show(packages: Packages, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(packages.folder / "shop")]) == 0
    capsys.readouterr()
    file = packages.folder / "shop" / "petitbleu.yaml"
    sections = ""
    for name in NAMES:
        readme = (packages.folder / name / "README.md").read_text("utf-8")
        found = re.search(r"^```yaml\nplugins:\n(.*?)^```", readme, re.M | re.S)
        assert found is not None, name
        sections += re.sub(r"\$\{\w+\}", "secret", found[1])
    for secret in re.findall(r"\{file: ([\w.-]+)\}", sections):
        (file.parent / secret).write_text("secret")
    written = re.sub(r"^plugins:\n", lambda found: found[0] + sections, file.read_text("utf-8"), count=1, flags=re.M)
    file.write_text(written, "utf-8")
    assert ": in order; plugins " in packages.python("-m", "petitbleu", "check", "--config", "shop")
    listed = packages.python("-m", "petitbleu", "plugins", "--config", "shop")
    for name in NAMES:
        entry = name.removeprefix("petitbleu-").replace("-", "_")
        assert re.search(rf"\b{entry}\b.*{name}", listed), listed
