"""`petitbleu` as a test runs it: in this process, on a copy of the sample and a database of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from petitbleu.cli import main
from petitbleu.config import SAMPLE


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


def sample_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("var"))
    return folder


def runner(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> Ended:
        code = main([*words, "--config", str(folder), "--set", f"database={url}"])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call
