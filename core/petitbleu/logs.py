"""Log lines as JSON objects, one a line, with the fields a call gives in `extra`.

Whoever logs never waits for whoever reads: lines go through a bounded queue to a thread that writes them. When the
queue is full, lines are dropped and counted, and a later line says how many.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from queue import SimpleQueue
from typing import TextIO

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
_USUAL = len(vars(logging.makeLogRecord({})))


GATHER = 0.01
"""Seconds for which lines are gathered before they are written together."""


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        fields = vars(record)
        if len(fields) > _USUAL:  # what `extra` adds comes last
            line |= {name: fields[name] for name in islice(fields, _USUAL, None) if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # what is no Unicode
            return json.dumps(line, default=str)


def _time(seconds: float) -> str:
    """ISO 8601 with milliseconds; many lines are of the same second."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros // 1000:03d}+00:00"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class LineWriter(logging.Handler):
    """Hands lines to a thread of its own that writes them to `stream`.

    At most `most` lines wait; `patience` is how many seconds closing waits for them to be written.
    """

    def __init__(self, stream: TextIO, most: int = 10_000, patience: float = 2.0) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._turned_away = 0
        self._unwritten = 0
        self._told = 0
        self._write = _writer(stream)
        self._most = most
        self._patience = patience
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Lines so far that found no room, or that could not be written."""
        return self._turned_away + self._unwritten

    def emit(self, record: logging.LogRecord) -> None:
        # one at a time, under the handler's lock
        try:
            if self._thread is None or not self._thread.is_alive():
                self._start()
            if self._lines.qsize() >= self._most:
                self._turned_away += 1
            else:
                self._lines.put(self.format(record))
        except Exception:
            self.handleError(record)

    def _start(self) -> None:
        # also in a child process, which inherits the lines but not the thread
        self._lines = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=[self._lines], name="log", daemon=True)
        self._thread.start()

    def _run(self, lines: SimpleQueue[str | None]) -> None:
        more = True
        while more:
            taken = [lines.get()]
            if taken[0] is not None:
                # whoever logs runs on meanwhile, rather than hand over to this thread at every line
                self._closing.wait(GATHER)
            dropped = self.dropped
            taken += [lines.get() for _ in range(lines.qsize())]
            more = None not in taken
            texts = [line for line in taken if line is not None]
            notice = [self._notice(dropped - self._told)] if dropped > self._told else []
            try:
                self._write("".join(f"{text}\n" for text in texts + notice))
                self._told = dropped
            except (OSError, ValueError):
                # whoever read has gone; the count is all there is to tell it with
                self._unwritten += len(texts)

    def _notice(self, lines: int) -> str:
        text = f"{lines} lines were dropped here, since nobody took them in time"
        record = logging.LogRecord("petitbleu.logs", logging.WARNING, "", 0, text, None, None)
        record.dropped = lines
        return self.format(record)

    def close(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._closing.set()
            self._lines.put(None)
            self._thread.join(self._patience)
        super().close()


def _writer(stream: TextIO) -> Callable[[str], None]:
    """Straight to the file descriptor where there is one: a thread that hangs in a stream holds its lock, and Python
    cannot exit."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):

        def to_stream(text: str) -> None:
            stream.write(text)
            stream.flush()

        return to_stream

    def to_descriptor(text: str) -> None:
        rest = memoryview(text.encode(errors="backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                select.select([], [descriptor], [])

    return to_descriptor


def set_up(stream: TextIO, level: int = logging.INFO) -> None:
    """Send everything of ours and of the libraries to `stream`; the libraries only from warnings on."""
    # what no line of ours tells need not be found out for each of them (Python's logging HOWTO, "Optimization")
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, LineWriter):
            handler.close()
    root.handlers[:] = [LineWriter(stream)]
    root.setLevel(logging.WARNING)
    logging.getLogger("petitbleu").setLevel(level)


def masked(text: str, addresses: Iterable[str]) -> str:
    """Providers and exceptions like to repeat the address in what they say."""
    lower = text.lower() if text.isascii() else None
    for address in addresses:
        # every address is another one, so that its pattern would be compiled for it alone
        if lower is None or not address.isascii() or address.lower() in lower:
            text = re.sub(re.escape(address), "***", text, flags=re.IGNORECASE)
    return text


def dropped() -> int:
    """Lines dropped by this process so far."""
    return sum(one.dropped for one in logging.getLogger().handlers if isinstance(one, LineWriter))
