"""A person in the archive: files are written anew without the person's events, and without the address in others'."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from ..archive import Folder
from ..archive.archiver import NOTE
from ..store import Store
from .spellings import Person

ARCHIVE = "archive"
"""What results call it, beside the names of tables."""


@dataclass(slots=True)
class Seen:
    """Of the events in an archive: how many are the person's, mention the address, and were searched."""

    own: int = 0
    mentions: int = 0
    searched: int = 0
    left: list[str] = field(default_factory=list)


def look(folder: Folder, person: Person) -> Seen:
    """Raises `ArchiveError`, and `StoreError` where a key is lacking."""
    seen = Seen()
    for file in folder.files():
        seen.searched += folder.events(file)
        hits = 0
        for line in folder.lines(file, suspect=_suspect(person)):
            if person.within(line.decode()):
                hits += 1
                own = _is_of(person, line)
                seen.own += own
                seen.mentions += not own
        if hits:
            seen.left.append(f"{file.path}: in {hits} events")
    return seen


def take_out(folder: Folder, person: Person) -> tuple[int, int]:
    """How many events went, and in how many the address was blanked. Raises as `look` does."""
    gone = blanked = 0

    def change(line: bytes) -> bytes | None:
        nonlocal gone, blanked
        if not person.within(line.decode()):
            return line
        if _is_of(person, line):
            gone += 1
            return None
        blanked += 1
        return orjson.dumps(person.blanked_data(orjson.loads(line)))

    for file in folder.files():
        folder.rewrite(file, change, _suspect(person))
    return gone, blanked


async def elsewhere(store: Store, folder: Folder | None) -> list[str]:
    """Other archives of this installation that may hold something still."""
    own = NOTE + (await asyncio.to_thread(folder.id) if folder is not None else "")
    rows = await store.read("SELECT name, value FROM installation WHERE name LIKE ?", [NOTE + "%"])
    known = [json.loads(row["value"]) for row in rows if row["name"] != own]
    return [
        f"maybe in the archive {one['place']}, which is not this one: repeat this there"
        for one in known
        if one["until"] > store.now()
    ]


def _suspect(person: Person) -> Callable[[bytes], bool]:
    return lambda whole: person.within(whole.decode())


def _is_of(person: Person, line: bytes) -> bool:
    event = orjson.loads(line)
    addresses = [event["email"], event["mobile_phone"], *event["addresses"].values()]
    return any(map(person.is_at, addresses))


__all__ = ["ARCHIVE", "Seen", "elsewhere", "look", "take_out"]
