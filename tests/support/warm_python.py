"""A process that has imported Petitbleu, and becomes `python -m petitbleu …` as often as it is asked to; see
`warm_starts.py`, which runs it.

A request is a message with what `Order` has as JSON, and files; the answer is the new process's id.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import TypedDict

LARGEST = 1 << 18
"""Bytes of a request: the environment is in it."""
MOST_FILES = 16


class Order(TypedDict):
    words: Sequence[str]
    directory: str
    environment: dict[str, str]
    group: bool
    """Whether it shall lead a group of processes."""
    files: Sequence[int]
    """What those that come with the order shall be called: 0, 1 and 2, and others that the words name."""


def prepare() -> None:
    # Ctrl-C ends whoever asks, and that ends this
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("petitbleu.cli", "petitbleu.serving.serving", "petitbleu.serving.supervisor"):
        import_module(name)
    # for supervisors; nothing else of this folder is to be found by what runs later
    sys.path.insert(0, str(Path(__file__).parent))
    import_module("warm_starts")
    sys.path.pop(0)
    for plugin in metadata.entry_points(group="petitbleu"):
        plugin.load()
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()


def serve(requests: socket.socket) -> None:
    """Returns in each of the new processes, and nowhere else."""
    while True:
        request, files, _, _ = socket.recv_fds(requests, LARGEST, MOST_FILES)
        if not request:
            os._exit(0)
        told, tells = os.pipe()
        between = os.fork()
        if not between:
            # its child is left to whoever asks: nobody else is there once it has ended
            if new := os.fork():
                os.write(tells, str(new).encode())
                os._exit(0)
            os.close(told)
            os.close(tells)
            requests.close()
            _become(json.loads(request), files)
            return
        os.waitpid(between, 0)
        requests.send(os.read(told, 20))
        for one in (told, tells, *files):
            os.close(one)


def _become(order: Order, files: Sequence[int]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order["group"]:
        os.setpgid(0, 0)
    # out of the way of the numbers that they shall have
    above = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 256) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(above, order["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    path = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [order["directory"], *path]
    sys.argv[1:] = order["words"]
    if "--processes" in order["words"]:
        _keep_one_more()


def _keep_one_more() -> None:
    """A supervisor has a process of its own for this, since its processes have to be its children."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        import_module("warm_starts").begin(ours)
        return
    ours.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)
    serve(theirs)


if __name__ == "__main__":
    prepare()
    serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("petitbleu", run_name="__main__", alter_sys=True)
