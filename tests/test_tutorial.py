"""The tutorial of docs/plugins.md, followed word by word: its files are written, its commands run, and what it shows
is what comes. Commands of Petitbleu that end by themselves run in this process, since each start takes a second."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from petitbleu.cli import main
from petitbleu.serving.listening import listen

from benchmarks.author import MODULE, tutorial

Shown: TypeAlias = pytest.CaptureFixture[str]
PAGE = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text("utf-8")
STEPS = re.findall(r"^<!-- tutorial: (\w+) ?(\S*) -->\n```\w+\n(.*?)^```$", PAGE, re.M | re.S)
PORTS = ("8080", "8099")
"""Those that the page uses; here they may be taken."""
NOTED = re.compile(r"\d\d:\d\d:\d\d\.\d+|\d+ ms")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As after the first three commands: an environment with Petitbleu in it. It sees what these tests have, and
    nothing is downloaded."""
    venv = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (here,) = venv.glob("lib/*/site-packages")
    (here / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for name in ("pip", "pytest", "petitbleu"):
        script = venv / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(venv / "bin" / "python"))} -m {name} "$@"\n')
        script.chmod(0o755)
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    pip = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**outer, **pip, "PATH": f"{venv / 'bin'}:{outer['PATH']}", "COLUMNS": "160"}


class Follower:
    """Somebody with the page before them and a folder."""

    def __init__(
        self, folder: Path, environment: dict[str, str], ports: dict[str, str], here: pytest.MonkeyPatch, shown: Shown
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._ports = ports
        self._here = here
        self._shown = shown
        self._terminals = ExitStack()
        self.tests = ""

    def _own(self, text: str) -> str:
        for shown, own in self._ports.items():
            text = text.replace(shown, own)
        return text

    def file(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._own(text), "utf-8")

    def run(self, _: str, text: str) -> None:
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
            if command.startswith("cd "):
                self._folder /= command[3:]
                continue
            end = time.monotonic() + 20
            while True:
                code, out = self._done(shlex.split(self._own(command)))
                assert code == 0, f"{command}\n{out}"
                if not shown or _timeless(shown) == _timeless(out):
                    break
                # what others do meanwhile takes a moment
                assert time.monotonic() < end, f"{command}\n{out}\nthe page shows\n{shown}"
                time.sleep(0.2)
            if command == "pytest":
                self.tests = re.findall(r"(\d+) passed", out)[0]
            if command.startswith("pip install"):
                # from here on this process finds what the environment has
                (site,) = (self._folder.parent / ".venv").glob("lib/*/site-packages")
                for path in (self._folder, site):
                    self._here.syspath_prepend(str(path))

    def _done(self, words: list[str]) -> tuple[int, str]:
        """The exit code, and all that was shown."""
        if words[0] == "petitbleu":
            self._here.chdir(self._folder)
            code = main(words[1:])
            return code, "".join(self._shown.readouterr())
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, cwd=self._folder, env=self._environment
        )
        return done.returncode, done.stdout + done.stderr

    def beside(self, _: str, text: str) -> None:
        (command,) = re.findall(r"^\$ (.*)\n", text)
        self._terminals.enter_context(self._terminal(self._own(command)))

    @contextmanager
    def _terminal(self, command: str) -> Iterator[None]:
        log = self._folder / f"{len(list(self._folder.glob('*.out')))}.out"
        with log.open("wb") as out:
            process = subprocess.Popen(
                shlex.split(command), cwd=self._folder, env=self._environment, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(30) in (0, -15), log.read_text("utf-8")

    def leave(self) -> str:
        """What the other terminals showed."""
        self._terminals.close()
        return "".join(path.read_text("utf-8") for path in sorted(self._folder.glob("*.out")))


def _timeless(text: str) -> str:
    return NOTED.sub("…", text.strip())


def test_from_an_empty_folder_to_a_delivered_message(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Shown,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setenv("COLUMNS", environment["COLUMNS"])
    ports = {}
    for port in PORTS:
        (taken,) = listen("127.0.0.1", 0)
        ports[port] = str(taken.getsockname()[1])
        taken.close()
    follower = Follower(tmp_path, environment, ports, monkeypatch, capsys)
    began = time.monotonic()
    try:
        for kind, name, text in STEPS:
            getattr(follower, kind)(name, text)
    finally:
        shown = follower.leave()
        sys.modules.pop("petitbleu_textgate", None)
    assert "72057594037927937@" in shown
    assert "'to': '+33612345678', 'from': 'Hotel', 'text': 'Room 12: your code is 4711.'" in shown
    took = time.monotonic() - began
    record_property(
        "package", f"docs/plugins.md, tutorial: {_lines()} lines, {follower.tests} tests; {took:.1f} s in all"
    )


def _lines() -> int:
    return len(tutorial()[MODULE].splitlines())


def test_a_channel_is_small() -> None:
    assert _lines() <= 60
