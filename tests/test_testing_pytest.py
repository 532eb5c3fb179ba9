"""The pytest plugin, as a project of a stranger's has it: pytest alone, its own settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from postgres_server import PostgresServer

UNUSED = """
import sys

def test_nothing_of_petitbleu_is_loaded():
    assert [name for name in sys.modules if name.partition(".")[0] == "petitbleu"] == []
"""
USED = """
import os
from petitbleu.testing import PluginContract, RecordingObserver

class TestObserver(PluginContract):
    plugin = "observer"
    module = RecordingObserver()

    async def test_the_database_is_the_one_that_was_named(self, petitbleu_server):
        async with self.serving(petitbleu_server) as server:
            assert server.instance.store.dialect == "postgres"

def test_assertions_of_the_suite_are_explained():
    import petitbleu.testing.plugin_contract as suite
    assert "@pytest_ar" in vars(suite)
"""


def run(folder: Path, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "error::ResourceWarning",
        str(folder),
    ]
    ended = subprocess.run(
        command, cwd=folder, env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_whoever_does_not_use_it_does_not_pay_for_it(tmp_path: Path) -> None:
    (tmp_path / "test_unused.py").write_text(UNUSED)
    assert "1 passed" in run(tmp_path)


def test_a_suite_runs_on_the_server_that_was_named(tmp_path: Path, postgres: PostgresServer) -> None:
    (tmp_path / "test_used.py").write_text(USED)
    assert " passed" in run(tmp_path, PETITBLEU_TEST_POSTGRES=postgres.url)
