"""A process that was parted from one with everything imported is as one that was started."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
import warm_starts
from petitbleu.testing.databases import copy_sqlite

PETITBLEU = [sys.executable, "-m", "petitbleu"]


@pytest.fixture
def real_starts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those from now on, by their arguments, but for the one that prepares the others."""
    found: list[Any] = []
    start = warm_starts._START

    def noted(popen: Any, arguments: Any, *others: Any) -> None:
        if str(warm_starts.PROGRAM) not in arguments:
            found.append(arguments)
        start(popen, arguments, *others)

    monkeypatch.setattr(warm_starts, "_START", noted)
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    assert (
        subprocess.run([*PETITBLEU, "init", str(tmp_path / "shop")], check=False, capture_output=True).returncode == 0
    )
    return tmp_path / "shop"


def of(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text("utf-8")


def test_words_files_folder_and_the_exit_code_are_those_that_were_given(tmp_path: Path, real_starts: list[Any]) -> None:
    done = subprocess.run([*PETITBLEU, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("petitbleu ")
    done = subprocess.run([*PETITBLEU, "no-such"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "invalid choice: 'no-such'" in done.stderr
    done = subprocess.run([*PETITBLEU, "init", "shop"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "shop" / "petitbleu.yaml").is_file()
    assert real_starts == [] or not warm_starts.possible()


async def test_a_server_hears_signals_and_is_waited_for(
    shop: Path, petitbleu_model: Path, tmp_path: Path, real_starts: list[Any]
) -> None:
    url = copy_sqlite(petitbleu_model, tmp_path / "test.db")
    words = ["serve", "--config", str(shop), "--set", "http.port=0", "--set", f"database={url}"]
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)):
        process = await asyncio.create_subprocess_exec(*PETITBLEU, *words, stderr=PIPE, process_group=0)
        assert process.stderr is not None
        while b'"serving"' not in (line := await process.stderr.readline()):
            assert line
        assert os.getpgid(process.pid) == process.pid
        process.send_signal(number)
        await process.stderr.read()
        assert await process.wait() == code
    assert real_starts == [] or not warm_starts.possible()


async def test_processes_of_a_supervisor_are_its_children(shop: Path, petitbleu_model: Path, tmp_path: Path) -> None:
    url = copy_sqlite(petitbleu_model, tmp_path / "test.db")
    words = ["serve", "--processes", "2", "--config", str(shop), "--set", "http.port=0", "--set", f"database={url}"]
    process = await asyncio.create_subprocess_exec(*PETITBLEU, *words, stderr=PIPE)
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    while [one["text"] for one in lines].count("serving") < 2:
        lines.append(json.loads(await process.stderr.readline()))
    for started in (one for one in lines if one["text"] == "process started"):
        if warm_starts.possible():
            assert f"PPid:\t{process.pid}\n" in of(started["pid"], "status")
            assert warm_starts.PROGRAM.name in of(started["pid"], "cmdline")
    process.terminate()
    await process.stderr.read()
    assert await process.wait() == 0


def test_the_environment_is_the_one_that_was_given(
    shop: Path, tmp_path: Path, real_starts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules are found where `PYTHONPATH` says, too."""
    monkeypatch.setenv("UNTOLD", "yes")
    more = tmp_path / "more"
    (more / "sitting-1.dist-info").mkdir(parents=True)
    (more / "sitting-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: sitting\nVersion: 1\n")
    (more / "sitting-1.dist-info" / "entry_points.txt").write_text("[petitbleu]\nsitting = sitting\n")
    (more / "sitting.py").write_text("import os\nprint([os.environ.get(name) for name in ('TOLD', 'UNTOLD')])\n")
    (shop / "petitbleu.yaml").write_text("plugins: [sitting]\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(more), "TOLD": "yes"}
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "LC_", "LANG"))}
    check = [*PETITBLEU, "check", "--config", str(shop)]
    done = subprocess.run(check, capture_output=True, text=True, check=False, env=kept | environment)
    assert "['yes', None]" in done.stdout
    assert "sitting has no function" in done.stderr
    assert real_starts == [] or not warm_starts.possible()


@pytest.mark.parametrize(
    "options", [{"env": {"PYTHONOPTIMIZE": "1"}}, {"preexec_fn": lambda: None}, {"start_new_session": True}]
)
def test_what_python_reads_when_it_starts_needs_a_real_start(options: Any, real_starts: list[Any]) -> None:
    subprocess.run([*PETITBLEU, "--version"], capture_output=True, check=True, **options)
    assert len(real_starts) == 1


def test_others_are_started_as_ever(real_starts: list[Any]) -> None:
    subprocess.run([sys.executable, "-c", "import petitbleu"], check=True)
    assert len(real_starts) == 1
