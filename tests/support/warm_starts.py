"""Tests start Petitbleu as processes of its own more than a hundred times, and each spends most of its first three
seconds of processor time on importing. Inside `warm_starts`, `python -m petitbleu …` is started by a process that has
imported it already, `warm_python.py`, and parts into one more: with the arguments, files, folder and environment that
were given, as a child of this process that is waited for and killed like any other.

A supervisor that is started in this way has one more such process, and starts its own from there.

What Python itself reads when it starts, and a function between fork and exec, need a real start, and get one; so does
everything where the system cannot hand over children (Linux can).
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from warm_python import LARGEST, MOST_FILES, Order

PROGRAM = Path(__file__).parent / "warm_python.py"
BEGINNING = [sys.executable, "-m", "petitbleu"]
PR_SET_CHILD_SUBREAPER = 36
_UNUSUAL = ("executable", "preexec_fn", "shell", "gid", "gids", "uid", "start_new_session")
_START: Any = subprocess.Popen.__dict__["_execute_child"]
_NAMES = inspect.signature(_START)


@contextmanager
def warm_starts() -> Iterator[None]:
    """The process is begun when it is first needed, and ends with the block."""
    if not possible():
        yield
        return
    warm = begin(None)
    try:
        yield
    finally:
        setattr(subprocess.Popen, "_execute_child", _START)  # noqa: B010 - what subprocess has for this is not public
        warm.close()


def begin(requests: socket.socket | None) -> _Warm:
    """From now on; `requests` leads to a process that is there already."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    warm = _Warm(requests)

    def start(popen: subprocess.Popen[Any], *arguments: Any) -> None:
        given = _NAMES.bind(popen, *arguments).arguments
        order = _order(given)
        pid = warm.start(order, _files(given)) if order else None
        if pid is None:
            _START(popen, *arguments)
            return
        popen.pid = pid
        popen._child_created = True  # type: ignore[attr-defined]
        popen._close_pipe_fds(*(given[name] for name in _PIPES))  # type: ignore[attr-defined]

    setattr(subprocess.Popen, "_execute_child", start)  # noqa: B010
    return warm


_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


def _files(given: Mapping[str, Any]) -> list[int]:
    """Standard input, output and error, those that were named, else our own; and those that are passed."""
    named = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
    return [*(number if file == -1 else file for number, file in enumerate(named)), *sorted(given["pass_fds"])]


def _order(given: Mapping[str, Any]) -> Order | None:
    """Nothing where it has to be a real start."""
    words = given["args"]
    if not isinstance(words, list | tuple) or list(words[:3]) != BEGINNING or any(given[one] for one in _UNUSUAL):
        return None
    environment = dict(os.environ if given["env"] is None else given["env"])
    if _of_python(environment) != _of_python(os.environ):
        return None
    return {
        "words": [os.fspath(one) for one in words[3:]],
        "directory": os.path.realpath(given["cwd"] or os.curdir),
        "environment": environment,
        "group": given["process_group"] == 0,
        "files": [0, 1, 2, *sorted(given["pass_fds"])],
    }


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """What Python reads when it starts, apart from the path, which can be had later."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("PYTHON", "LC_", "LANG")) and name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    }


def possible() -> bool:
    """Whether the system hands over children."""
    return sys.platform.startswith("linux")


class _Warm:
    """The process that has imported Petitbleu, and the way to it."""

    def __init__(self, requests: socket.socket | None) -> None:
        self._one_at_a_time = threading.Lock()
        self._requests = requests
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, order: Order, files: list[int]) -> int | None:
        """The id of a new process; None if there is none to be had in this way."""
        request = json.dumps(order).encode()
        if len(request) > LARGEST or len(files) > MOST_FILES:
            return None
        with self._one_at_a_time:
            try:
                requests = self._requests or self._begin()
                socket.send_fds(requests, [request], files)
                return int(requests.recv(20))
            except (OSError, ValueError):
                return None

    def _begin(self) -> socket.socket:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        return self._requests

    def close(self) -> None:
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            self._process.wait()
