"""Programs that take part: started, stopped, and how much of the processors each one used, from `/proc`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from .settings import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A part of the measurement did not do what it should; the text says which and what it wrote."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_of(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])


@asynccontextmanager
async def running(
    words: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    patience: float = 40.0,
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A program for the length of the block; SIGTERM ends it, SIGKILL after `patience` seconds."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            cwd=ROOT,
            env=dict(os.environ) | dict(environment or {}),
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(child.wait, patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def listens(child: subprocess.Popen[bytes], port: int, name: str) -> None:
    """Wait until somebody listens on `port`; raises `Failed` if that cannot be `child`."""
    for _ in range(400):
        if child.poll() is not None:
            raise Failed(f"{name} ended with {child.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.05)
    raise Failed(f"{name} does not listen")


async def output_of(
    words: Sequence[str | Path], environment: Mapping[str, str] | None = None, given: str | None = None
) -> str:
    """What a program of this project, `given` something to read, writes until it ends; raises `Failed` if it fails."""
    child = await asyncio.create_subprocess_exec(
        *map(str, words),
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=dict(os.environ) | dict(environment or {}),
    )
    try:
        written, errors = await child.communicate(None if given is None else given.encode())
    except BaseException:
        if child.returncode is None:
            child.kill()
            await child.wait()
        raise
    if child.returncode:
        raise Failed(f"{' '.join(map(str, words))} ended with {child.returncode}:\n{errors.decode()[-3000:]}")
    return written.decode()


def python(module: str, *words: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", module, *words]


def family(root: int) -> list[int]:
    """The process `root` and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Of `root` and its descendants, those that have ended and been waited for included."""
    return sum(sum(map(int, fields[11:15])) for pid in family(root) if (fields := _stat(pid))) / _TICKS


def busy_seconds() -> float:
    """Of all processors together, whoever kept them busy, since the machine started."""
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / _TICKS


def resident(root: int) -> int:
    """Bytes in memory (RSS) of `root` and its descendants together."""
    return sum(int(fields[21]) for pid in family(root) if (fields := _stat(pid))) * os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) stat from the third one on; none when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
