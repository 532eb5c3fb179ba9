"""The suppression list as a file: CSV with a head line, or JSON, an array with one object a line.

What is written can be read again. Reading collects what is wrong, with its line, and gives nothing unless all is right.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, tzinfo
from typing import Any, TextIO

from ..addresses import instant
from ..data import is_storable
from ..errors import InputRefused
from ..operating import ListDefaults, Suppression
from .rules import Reason

COLUMNS = tuple(one.name for one in fields(Suppression))
MOST_TOLD = 20
"""Problems that are told one by one."""


class ListRefused(InputRefused):
    """A file that is not a list: what is wrong, line by line."""

    def __init__(self, name: str, problems: list[tuple[int, str]]) -> None:
        told = [f"{name}:{number}: {text}" for number, text in problems[:MOST_TOLD]]
        if len(problems) > MOST_TOLD:
            told.append(f"{name}: and {len(problems) - MOST_TOLD} lines more; nothing is imported")
        super().__init__([(f"line {number}", text) for number, text in problems[:MOST_TOLD]], "\n".join(told))


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes entries of lines. `key` is `Register.key`, `brands` are those that may be named; times without a zone are
    of `zone`."""

    key: Callable[[str, str, str], str]
    zone: tzinfo
    brands: Collection[str]
    defaults: ListDefaults

    def read(self, text: str, form: str, name: str) -> list[Suppression]:
        """Raises `ListRefused`."""
        entries: list[Suppression] = []
        problems: list[tuple[int, str]] = []
        try:
            for number, values in (_objects if form == "json" else _lines)(text):
                try:
                    entries.append(self._entry(values))
                except ValueError as error:
                    problems.append((number, str(error)))
        except _Broken as error:
            problems.append((error.line, str(error)))
        if problems:
            raise ListRefused(name, problems)
        return entries

    def _entry(self, values: Mapping[str, Any]) -> Suppression:
        for name in values:
            if name not in COLUMNS:
                raise ValueError(f"{name!r} is not a column here; there are: {', '.join(COLUMNS)}")
        found = {name: self._text(name, value) for name, value in values.items() if value not in (None, "")}
        if "address" not in found:
            raise ValueError("address: is missing")
        channel = found.get("channel", self.defaults.channel)
        if not channel:
            raise ValueError("channel: is missing; give it in each line, or for all with --channel")
        reason = found.get("reason", self.defaults.reason)
        if reason not in list(Reason):
            raise ValueError(f"reason: {reason!r} should be one of {', '.join(Reason)}")
        brand = found.get("brand", self.defaults.brand)
        if brand and brand not in self.brands:
            known = ", ".join(sorted(self.brands)) or "none"
            raise ValueError(f"brand: {brand!r} is not declared in brands; there are: {known}")
        try:
            key = self.key(channel, found["address"], self.defaults.country)
        except ValueError as error:
            raise ValueError(f"address: {error}" if str(error).startswith("is ") else str(error)) from None
        return Suppression(
            channel,
            key,
            brand,
            Reason(reason),
            found.get("text", ""),
            self._moment("created", found),
            self._moment("expires", found),
            found.get("by", ""),
        )

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{name}: should be text")
        if not is_storable(value) or len(value) > (
            4096 if name == "address" else 128 if name in ("brand", "by") else 1000
        ):
            raise ValueError(f"{name}: is too long, or holds a NUL character or half of one")
        return value if name == "text" else value.strip()

    def _moment(self, name: str, found: Mapping[str, str]) -> datetime | None:
        if name not in found:
            return None
        try:
            return instant(found[name], self.zone)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


class _Broken(ValueError):
    """Nothing after this line can be read."""

    def __init__(self, line: int, text: str) -> None:
        self.line = line
        super().__init__(text)


def _lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        head = [name.strip().lower() for name in next(rows, [])]
        if "address" not in head:
            raise _Broken(1, f"the first line should name the columns, address among them: {','.join(COLUMNS)}")
        if unknown := [name for name in head if name not in COLUMNS]:
            raise _Broken(1, f"{unknown[0]!r} is not a column here; there are: {', '.join(COLUMNS)}")
        while True:
            number = rows.line_num + 1
            row = next(rows, None)
            if row is None:
                return
            if len(row) > len(head):
                raise _Broken(number, f"has {len(row)} values, and the first line names {len(head)}")
            if any(row):
                yield number, dict(zip(head, row, strict=False))
    except csv.Error as error:
        raise _Broken(number, f"is not CSV: {error}") from None


def _objects(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Of an array, or one after the other (JSON lines)."""
    decoder = json.JSONDecoder()
    place, line, counted = 0, 1, 0
    while True:
        while place < len(text) and text[place] in " \t\r\n,[]":
            place += 1
        line += text.count("\n", counted, place)
        counted = place
        if place >= len(text):
            return
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise _Broken(error.lineno, f"is not JSON: {error.msg}") from None
        except (ValueError, RecursionError):
            raise _Broken(line, "holds a number of too many digits, or is nested too deeply") from None
        if not isinstance(value, dict):
            raise _Broken(line, 'should be an object such as {"channel": "email", "address": "zoe@example.com"}')
        yield line, value


class Writer:
    """Writes entries, one a line; `end` closes the list."""

    def __init__(self, out: TextIO, form: str) -> None:
        self._out = out
        self._csv = csv.writer(out, lineterminator="\n") if form == "csv" else None
        self._first = True
        if self._csv is not None:
            self._csv.writerow(COLUMNS)

    def write(self, entry: Suppression) -> None:
        values = {name: _plain(getattr(entry, name)) for name in COLUMNS}
        if self._csv is not None:
            self._csv.writerow(["" if value is None else value for value in values.values()])
            return
        self._out.write(("[\n" if self._first else ",\n") + json.dumps(values, ensure_ascii=False))
        self._first = False

    def end(self) -> None:
        if self._csv is None:
            self._out.write("[]\n" if self._first else "\n]\n")


def _plain(value: object) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


__all__ = ["COLUMNS", "ListRefused", "Reader", "Writer"]
