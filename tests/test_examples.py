"""The packages below examples/ work as a stranger's would: installed from their folders, with tests of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
NAMES = [folder.name for folder in EXAMPLES]
GENERATED = ("__pycache__", "*.egg-info", "build", ".*_cache")
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every example installed, and nothing else. Nothing is downloaded."""
    folder = tmp_path_factory.mktemp("examples")
    copies = [shutil.copytree(one, folder / one.name, ignore=shutil.ignore_patterns(*GENERATED)) for one in EXAMPLES]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), *map(str, copies)]
    subprocess.run(install, check=True, capture_output=True, cwd=folder)
    return folder / "site"


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python where the examples are installed and this repository is not at hand."""

    def run(*arguments: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**environment, "PYTHONPATH": str(site)},
        )

    return run


def test_there_are_examples() -> None:
    assert {"petitbleu-amqp", "petitbleu-line", "petitbleu-webhook"} <= set(NAMES)


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_an_example_passes_its_own_tests(
    example: Path,
    run: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    real_parts: object,
) -> None:
    here = tmp_path / example.name
    # without the package itself: what is tested is what was installed
    shutil.copytree(example, here, ignore=shutil.ignore_patterns(*GENERATED, example.name.replace("-", "_")))
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/base", f"--junitxml={tmp_path}/report.xml"]
    done = run("-m", "pytest", *options, cwd=here)
    assert done.returncode == 0, done.stdout + done.stderr
    suite = ElementTree.parse(tmp_path / "report.xml").getroot().find("testsuite")
    assert suite is not None
    count, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    for one in suite.iter("property"):
        kind, _, name = one.attrib["name"].partition(" ")
        getattr(real_parts, kind)(name, one.attrib["value"])
    text = f"{count} tests in {float(suite.attrib['time']):.1f} s"
    record_property("package", f"{example.name}: {text}" + (f", {skipped} of them skipped" if skipped else ""))
    assert count - skipped > 5


def test_the_settings_of_their_readmes_are_right(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    assert run("-m", "petitbleu", "init", "shop").returncode == 0
    file = tmp_path / "shop" / "petitbleu.yaml"
    sections = ""
    for example in EXAMPLES:
        readme = (example / "README.md").read_text("utf-8")
        found = re.search(r"^## Settings\n.*?```yaml\nplugins:\n(.*?)```", readme, re.M | re.S)
        assert found is not None, example
        sections += re.sub(r"\$\{\w+\}", "secret", found[1])
    for secret in re.findall(r"\{file: ([\w.-]+)\}", sections):
        (file.parent / secret).write_text("secret")
    written = re.sub(r"^plugins:\n", lambda found: found[0] + sections, file.read_text("utf-8"), count=1, flags=re.M)
    file.write_text(written, "utf-8")
    listed = run("-m", "petitbleu", "plugins", "--config", "shop")
    assert listed.returncode == 0, listed.stderr
    for name in NAMES:
        assert re.search(rf"\b{name.partition('-')[2]}\b.*{name}", listed.stdout), listed.stdout
