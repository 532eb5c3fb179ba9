"""What a channel asks of whoever writes one: how long it is, and how long its tests take."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory

from petitbleu.scaffold import new_plugin

from .arithmetic import median
from .bench import Bench
from .processes import Failed
from .report import Figure
from .settings import ROOT

MODULE = "petitbleu_textgate.py"
LINES, SECONDS = 60.0, 10.0
THEIRS = ("petitbleu", "asyncio")
"""The plugins of pytest that `petitbleu[testing]` brings: an author has no others."""


async def author(bench: Bench) -> list[Figure]:
    """The channel of the tutorial, and one that `petitbleu new-plugin` writes, each with the contract of channels."""
    files = tutorial()
    with TemporaryDirectory() as name:
        small = Path(name) / "small"
        small.mkdir()
        for file in ("pyproject.toml", MODULE, "test_textgate.py"):
            (small / file).write_text(files[file], "utf-8")
        full = new_plugin("gate", "channel", Path(name))
        took = {folder: [await _tested(folder) for _ in range(bench.settings.runs)] for folder in (small, full)}
    tests, more = (f"{runs[0][1]} tests" for runs in took.values())
    quick, slow = (median([seconds for seconds, _ in runs]) for runs in took.values())
    lines = len(files[MODULE].splitlines())
    return [
        Figure("author_lines", lines, "lines", target=LINES, side="<=", note="the channel of docs/plugins.md"),
        Figure("author_tests", quick, "s", target=SECONDS, side="<=", note=f"its {tests}"),
        Figure("author_new_plugin", slow, "s", target=SECONDS, side="<=", note=f"the {more} of a new-plugin channel"),
    ]


def tutorial() -> Mapping[str, str]:
    """The files of the tutorial by name, as docs/plugins.md shows them."""
    page = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    return dict(re.findall(r"^<!-- tutorial: file (\S+) -->\n```\w+\n(.*?)^```$", page, re.M | re.S))


async def _tested(folder: Path) -> tuple[float, int]:
    """Seconds that pytest took in the folder, from its start to its end, and the tests that passed. Raises `Failed`."""
    others = [one.name for one in entry_points(group="pytest11") if one.name not in THEIRS]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *(f"-pno:{name}" for name in others),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    shown = (await process.communicate())[0].decode()
    passed = re.search(r"^(\d+) passed", shown, re.M)
    if process.returncode or passed is None:
        raise Failed(f"the tests of {folder.name} do not pass:\n{shown}")
    return time.monotonic() - began, int(passed[1])
