"""The wheel holds everything, and works in an environment that has nothing else of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCES = {
    "petitbleu": ROOT / "core/petitbleu",
    "petitbleu_console": ROOT / "plugins/console/petitbleu_console",
    "petitbleu_email": ROOT / "plugins/email/petitbleu_email",
    "petitbleu_push": ROOT / "plugins/push/petitbleu_push",
    "petitbleu_rest_ingest": ROOT / "plugins/rest_ingest/petitbleu_rest_ingest",
    "petitbleu_sms": ROOT / "plugins/sms/petitbleu_sms",
    "petitbleu_soap_ingest": ROOT / "plugins/soap_ingest/petitbleu_soap_ingest",
    "pytest_petitbleu": ROOT / "core/pytest_petitbleu",
}


def closure(*names: str) -> set[str]:
    """These distributions, and all that they ask for here, by their normal names."""
    found: set[str] = set()
    waiting: list[tuple[str, str]] = [(name, "") for name in names]
    done: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in done:
            continue
        done.add((name, extra))
        found.add(name)
        for text in metadata.requires(name) or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(wanted.name), one) for one in ("", *wanted.extras)]
    return found


def entries(names: set[str]) -> set[Path]:
    """What these distributions have put beside each other into an environment."""
    found = set()
    for name in names:
        distribution = metadata.distribution(name)
        for file in distribution.files or ():
            if file.parts[0] not in ("..", "__pycache__"):
                found.add(Path(str(distribution.locate_file(file.parts[0]))))
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", "node_modules", "__pycache__", "*.egg-info", "build", "var", ".*_cache"
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=ignored)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(tree)]
    subprocess.run(build, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_every_module_template_migration_and_marker(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for package, folder in SOURCES.items():
        expected = {
            f"{package}/{file.relative_to(folder)}"
            for file in folder.rglob("*.py")
            if "sample" not in file.relative_to(folder).parts
        }
        assert expected - inside == set()
        assert f"{package}/py.typed" in inside
    sample = {
        f"petitbleu/sample/{file.relative_to(ROOT / 'config')}"
        for file in (ROOT / "config").rglob("*")
        if file.is_file() and "var" not in file.relative_to(ROOT / "config").parts
    }
    assert sample - inside == set()
    scaffold = {
        f"petitbleu/{file.relative_to(ROOT / 'core/petitbleu')}"
        for file in (ROOT / "core/petitbleu/scaffold/templates").rglob("*.in")
    }
    assert len(scaffold) > 10
    assert scaffold - inside == set()
    assert "petitbleu/store/migrations/0001_initial.py" in inside
    strays = [name for name in inside if "/var/" in name or "/tests/" in name or name.endswith(".pyc")]
    assert strays == []


def test_the_wheel_works_with_what_it_asks_for_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True, env=environment, cwd=tmp_path)
    (site,) = tmp_path.glob("venv/lib/python*/site-packages")
    for entry in entries(closure("petitbleu") - {"petitbleu"}):
        site.joinpath(entry.name).symlink_to(entry)
    command = tmp_path / "venv/bin/petitbleu"
    demo = subprocess.run(
        [command, "demo", "--once"], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "9 of 9 messages arrived and are right" in demo.stdout
    made = subprocess.run(
        [command, "init", "shop"], check=True, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert "petitbleu serve --config shop" in made.stdout
    checked = subprocess.run(
        [command, "check", "--config", "shop"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert "plugins email, sms, push, soap_ingest, rest_ingest, console, webhooks" in checked.stdout
