"""Files of archived events: JSON lines compressed with Zstandard (RFC 8878), one file for each day and process.

A file is a row of pieces. Each is a skippable frame (RFC 8878, section 3.1.2) that tells what follows, and then either
a Zstandard frame, or, where events are encrypted, another skippable frame that holds a sealed one. So `zstd -dc` prints
every piece that is not encrypted, and whoever looks for one event skips the pieces that cannot have it.

Whoever changes something in the folder has its lock (`flock`), so that a person is forgotten while a server writes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import orjson
import zstandard

from ..errors import PetitbleuError
from ..store.vault import Vault

logger = logging.getLogger("petitbleu.archive")

SUFFIX = ".jsonl.zst"
LEVEL = 9
"""Of compression: nobody waits for it, and it lies there for a year."""
MOST_PIECE = 1 << 30
"""Bytes of one piece, once it is unpacked."""
_HEAD, _SEALED = 0x184D2A5A, 0x184D2A5B
_FRAME = struct.Struct("<II")
_MOST_HEAD = 4096


class ArchiveError(PetitbleuError):
    """A file that is none of ours, or that was changed since."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`size` bytes with so many events, whose ids lie between `first` and `last`; `key` is the id of the key they are
    encrypted with, empty where they are not."""

    events: int
    first: int
    last: int
    size: int
    key: str = ""
    at: int = 0
    """Where it begins in its file, its head included."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """`type` is the event type it is for; empty: all that have no time of their own."""

    path: Path
    day: date
    type: str
    size: int


class Folder:
    """An archive. `who` is part of the names of files that this process makes; `now` gives microseconds."""

    def __init__(self, path: Path, vault: Vault, who: str = "", now: Callable[[], int] = lambda: 0) -> None:
        self.path = path
        self._vault = vault
        self._who = quote(who, safe="")
        self._now = now

    # ---------------------------------------------------------------------------------------------------------- to it

    def append(self, day: date, kinds: Mapping[str, Sequence[tuple[int, bytes]]]) -> None:
        """Add lines, each with its event's id, by the type of their file; they are on the disk when this returns.
        Raises `OSError`, and leaves files as they were. For whoever holds the folder."""
        for kind, lines in kinds.items():
            self._add(self._name(day, kind), self._packed(lines))

    def expire(self, over: Callable[[ArchiveFile], bool]) -> int:
        """Delete files; how many events were in them. For whoever holds the folder."""
        gone = 0
        for file in self.files():
            if over(file):
                gone += self.events(file)
                file.path.unlink(missing_ok=True)
        return gone

    def rewrite(
        self, file: ArchiveFile, change: Callable[[bytes], bytes | None], suspect: Callable[[bytes], bool]
    ) -> None:
        """Write a file anew in which every line is as `change` gives it, or gone where it gives None; pieces without a
        `suspect` text in them stay as they are. Raises as `lines` does."""

        def replaced(piece: Piece, whole: Callable[[], bytes]) -> list[tuple[int, bytes]] | None:
            if not suspect(text := whole()):
                return None
            lines = [(number, change(line)) for number, line in _numbered(text)]
            return [(number, line) for number, line in lines if line is not None]

        self._anew(file, replaced)

    def seal_anew(self, file: ArchiveFile) -> None:
        """Encrypt with the first key what is encrypted with others, or not at all. Raises as `lines` does."""

        def replaced(piece: Piece, whole: Callable[[], bytes]) -> list[tuple[int, bytes]] | None:
            return None if piece.key == self._vault.first else _numbered(whole())

        self._anew(file, replaced)

    def _anew(
        self, file: ArchiveFile, replaced: Callable[[Piece, Callable[[], bytes]], list[tuple[int, bytes]] | None]
    ) -> None:
        """With the lines that `replaced` gives for a piece, or None where it stays."""
        changed = False
        with self.hold():
            if not file.path.is_file():
                return
            new = file.path.with_name(f".{file.path.name}.new")
            with file.path.open("rb") as old, open(new, "wb", opener=_private) as out:
                for piece in _pieces(old, file.path):
                    lines = replaced(piece, partial(self._read, old, piece, file.path))
                    changed = changed or lines is not None
                    if lines is None:
                        out.write(_raw(old, piece))
                    elif lines:
                        out.write(self._packed(lines))
                out.flush()
                os.fsync(out.fileno())
            if changed and new.stat().st_size:
                new.replace(file.path)
            else:
                new.unlink()
                if changed:
                    file.path.unlink()
            _sync(file.path.parent)

    # ------------------------------------------------------------------------------------------------------ out of it

    def files(self) -> list[ArchiveFile]:
        """The oldest first."""
        found = []
        for path in self.path.rglob(f"*{SUFFIX}") if self.path.is_dir() else ():
            kind = path.relative_to(self.path).parent.name
            try:
                day = date.fromisoformat(path.name[:10])
                found.append(ArchiveFile(path, day, unquote(kind), path.stat().st_size))
            except (ValueError, FileNotFoundError):
                continue
        return sorted(found, key=lambda file: (file.day, file.path))

    def events(self, file: ArchiveFile) -> int:
        with file.path.open("rb") as opened:
            return sum(piece.events for piece in _pieces(opened, file.path))

    def keys(self) -> Counter[str]:
        """How many events are encrypted with which key; `""` is none."""
        found: Counter[str] = Counter()
        for file in self.files():
            with file.path.open("rb") as opened:
                for piece in _pieces(opened, file.path):
                    found[piece.key] += piece.events
        return found

    def lines(
        self, file: ArchiveFile, number: int | None = None, suspect: Callable[[bytes], bool] = lambda whole: True
    ) -> Iterator[bytes]:
        """The lines of pieces that may have the event `number` (None: any), and a `suspect` text. Raises
        `ArchiveError`, and `StoreError` for a key that is not there."""
        with file.path.open("rb") as opened:
            for piece in _pieces(opened, file.path):
                if number is None or piece.first <= number <= piece.last:
                    whole = self._read(opened, piece, file.path)
                    if suspect(whole):
                        yield from whole.splitlines()

    def id(self) -> str:
        """Names this archive, wherever it is seen from; made when it is first asked for."""
        named = self.path / ".id"
        if not named.is_file():
            self._make(self.path)
            with suppress(FileExistsError), named.open("x") as made:
                made.write(secrets.token_hex(8))
        return named.read_text("ascii")[:16]

    # ----------------------------------------------------------------------------------------------------------- pieces

    def _packed(self, lines: Sequence[tuple[int, bytes]]) -> bytes:
        numbers = [number for number, _ in lines]
        body = zstandard.ZstdCompressor(LEVEL, write_checksum=True).compress(
            b"".join(line + b"\n" for _, line in lines)
        )
        if self._vault.first:
            # numbers below 0 are no events'
            sealed = self._vault.seal_bytes(-self._now(), body)
            body = _FRAME.pack(_SEALED, len(sealed)) + sealed
        head = orjson.dumps(
            {
                "petitbleu": 1,
                "events": len(lines),
                "first": min(numbers),
                "last": max(numbers),
                "size": len(body),
                "key": self._vault.first,
            }
        )
        return _FRAME.pack(_HEAD, len(head)) + head + body

    def _read(self, opened: BinaryIO, piece: Piece, path: Path) -> bytes:
        body = _raw(opened, piece)
        head = _FRAME.size + _FRAME.unpack_from(body)[1]
        body = body[head:]
        if piece.key:
            body = self._vault.open_bytes(body[_FRAME.size :], f"the piece at byte {piece.at} of {path}")
        try:
            return zstandard.ZstdDecompressor().decompress(body, max_output_size=MOST_PIECE)
        except zstandard.ZstdError as error:
            raise ArchiveError(f"{path}: the piece at byte {piece.at} is not as it was written: {error}") from error

    # ------------------------------------------------------------------------------------------------------------ disk

    def _name(self, day: date, kind: str) -> Path:
        folder = self.path / quote(kind, safe="") if kind else self.path
        self._make(folder)
        return folder / f"{day.isoformat()}.{self._who}{SUFFIX}"

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(0o700, parents=True, exist_ok=True)
            _sync(folder.parent)

    def _add(self, path: Path, packed: bytes) -> None:
        fresh = not path.exists()
        with open(path, "ab", buffering=0, opener=_private) as out:
            size, left = os.fstat(out.fileno()).st_size, memoryview(packed)
            try:
                while left:
                    left = left[out.write(left) :]
                os.fsync(out.fileno())
            except OSError:
                # what comes after half a piece could not be read
                with suppress(OSError):
                    os.ftruncate(out.fileno(), size)
                raise
        if fresh:
            _sync(path.parent)

    def hold(self) -> BinaryIO:
        """Wait until nobody else changes anything in the folder, until what is returned is closed."""
        self._make(self.path)
        lock = open(self.path / ".lock", "ab", opener=_private)  # noqa: SIM115 - it is open as long as it is held
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except BaseException:
            lock.close()
            raise
        return lock


def _pieces(opened: BinaryIO, path: Path) -> Iterator[Piece]:
    """What a process had half written when it was stopped is at the end, and is left out: its events are still in the
    database."""
    at, end = 0, os.fstat(opened.fileno()).st_size
    while at + _FRAME.size <= end:
        opened.seek(at)
        magic, length = _FRAME.unpack(opened.read(_FRAME.size))
        if magic != _HEAD or length > _MOST_HEAD:
            raise ArchiveError(f"{path}: there is no piece of an archive at byte {at}")
        head = opened.read(length)
        if len(head) < length:
            break
        known: dict[str, Any] = orjson.loads(head)
        piece = Piece(**{name: known[name] for name in ("events", "first", "last", "size", "key")}, at=at)
        at += _FRAME.size + length + piece.size
        if at <= end:
            yield piece
    if at != end:
        logger.info("%s ends in the middle of a piece, which is left out", path)


def _raw(opened: BinaryIO, piece: Piece) -> bytes:
    opened.seek(piece.at)
    head = opened.read(_FRAME.size)
    length = _FRAME.unpack(head)[1]
    return head + opened.read(length + piece.size)


def _numbered(whole: bytes) -> list[tuple[int, bytes]]:
    return [(int(orjson.loads(line)["id"]), line) for line in whole.splitlines()]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


__all__ = ["ArchiveError", "ArchiveFile", "Folder", "Piece"]
