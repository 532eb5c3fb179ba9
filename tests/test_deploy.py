"""What is in deploy/ fits the program: its commands exist, its files are there, its twins agree."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from petitbleu.cli.main import build_parser
from petitbleu.config import SAMPLE
from petitbleu.config.settings import DeliverySettings, Http

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = [DEPLOY / "systemd" / "petitbleu.service", DEPLOY / "systemd" / "petitbleu@.service"]


def directives(unit: Path) -> list[tuple[str, str]]:
    lines = [line for line in unit.read_text("utf-8").splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    return found


def commands() -> list[list[str]]:
    """Every call of the program, without its name."""
    found = []
    for unit in UNITS:
        for name, value in directives(unit):
            if name.startswith("Exec") and value != "/bin/kill -HUP $MAINPID":
                words = value.replace("%i", "worker").replace("${PROCESSES}", "1").replace("${PORT}", "8080")
                found.append(shlex.split(words)[1:])
    found += [service["command"] for service in services().values() if isinstance(service.get("command"), list)]
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert json.loads(re.findall(r"^ENTRYPOINT (.+)$", text, re.M)[0]) == ["petitbleu"]
    found.append(json.loads(re.findall(r"^CMD (.+)$", text, re.M)[0]))
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_exist(words: list[str]) -> None:
    args = build_parser().parse_args(words)
    assert args.run
    assert args.config == Path("/etc/petitbleu")


def test_stopping_has_the_time_it_may_take() -> None:
    http, delivery = Http(), DeliverySettings()
    needed = http.farewell + http.shutdown + delivery.drain + delivery.hook_deadline
    for unit in UNITS:
        assert float(dict(directives(unit))["TimeoutStopSec"]) > needed
    for name in ("intake", "worker", "migrate"):
        assert float(services()[name]["stop_grace_period"].removesuffix("s")) > needed


def test_both_units_are_hardened_alike() -> None:
    own = {"Description", "EnvironmentFile", "Environment", "ExecStart"}
    one, other = ([(name, value) for name, value in directives(unit) if name not in own] for unit in UNITS)
    assert one == other
    assert len(one) > 30


def test_the_image_is_made_of_what_is_there(tmp_path: Path) -> None:
    """The stage that makes the wheels, with what the builder gets to see."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M) for word in line.split()[:-1]]
    assert {f"!{name}" for name in copied} == {line for line in allowed if line.startswith("!")}
    for name in copied:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "tests", "var")
            shutil.copytree(ROOT / name, tmp_path / "src" / name, ignore=ignored)
        else:
            (tmp_path / "src").mkdir(exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "src" / name)
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(tmp_path / "src"),
    ]
    subprocess.run(build, check=True, capture_output=True)
    assert len(list(tmp_path.glob("petitbleu-*.whl"))) == 1


def test_compose_sets_what_the_configuration_asks_for(tmp_path: Path) -> None:
    """The database's address as the comment gives it is one, with the password that the services get."""
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    (address,) = re.findall(r"database: (postgres://\S+)", text)
    db = services()["db"]["environment"]
    assert address == f"postgres://{db['POSTGRES_USER']}:${{DATABASE_PASSWORD}}@db/{db['POSTGRES_DB']}"
    for name in ("intake", "worker", "migrate"):
        assert set(re.findall(r"\$\{(\w+)\}", address)) <= set(services()[name]["environment"])
    folder = tmp_path / "instance"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("var"))
    words = [sys.executable, "-m", "petitbleu", "check", "--config", str(folder), "--set", f"database={address}"]
    checked = subprocess.run(words, capture_output=True, text=True, env={"DATABASE_PASSWORD": "x", "PATH": "/bin"})
    assert checked.returncode == 0, checked.stderr
