"""A process that has imported Petitbleu, and becomes `python -m petitbleu …` as often as it is asked to; see
`warm_starts.py`, which runs it.

A request is a message with what `Order` has as JSON, and the three standard files; the answer is the new process's id.
"""

from __future__ import annotations

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
from typing import TypedDict

LARGEST = 1 << 18
"""Bytes of a request: the environment is in it."""


class Order(TypedDict):
    words: Sequence[str]
    directory: str
    environment: dict[str, str]
    group: bool
    """Whether it shall lead a group of processes."""


def main(descriptor: int) -> None:
    """Returns in each of the new processes."""
    # Ctrl-C ends whoever asks, and that ends this
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("petitbleu.cli", "petitbleu.serving.serving", "petitbleu.serving.supervisor"):
        import_module(name)
    for plugin in metadata.entry_points(group="petitbleu"):
        plugin.load()
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=descriptor)
    while True:
        request, files, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not request:
            sys.exit(0)
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
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    path = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [order["directory"], *path]
    sys.argv[1:] = order["words"]


if __name__ == "__main__":
    main(int(sys.argv[1]))
    runpy.run_module("petitbleu", run_name="__main__", alter_sys=True)
