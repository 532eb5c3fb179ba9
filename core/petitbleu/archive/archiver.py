"""Events on their way into the archive, and out of it when their time there is over.

An event is on the disk of the archive before it is deleted from the database. So one that was archived by a process
that then died is archived once more: whoever reads takes the last line of an id.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from ..desk.events import attempt_of, receipt_of, recycling_of
from ..masking import Masks
from ..metrics import Metrics
from ..operating import EventRecord
from ..status import found_event
from ..store import Store
from ..store.payload import readable
from .files import ArchiveFile, Folder

NOTE = "archive:"
"""With its id, the name under which the installation knows of an archive."""
_DAY = 86_400_000_000
_FORM = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Terms:
    """How long events stay, in seconds: `common`, or by event type; None: they do not come."""

    common: float
    types: Mapping[str, float | None] = field(default_factory=dict)

    def kind(self, event_type: str) -> str | None:
        """Which files an event goes into; None: into none."""
        if event_type not in self.types:
            return ""
        return None if self.types[event_type] is None else event_type

    def until(self, file: ArchiveFile) -> date:
        """The last day of a file."""
        own = self.types.get(file.type)
        return file.day + timedelta(seconds=self.common if own is None else own)

    def longest(self) -> float:
        return max([self.common, *(own for own in self.types.values() if own is not None)])


class Archiver:
    """Writes for one process at a time; its days are the database's, in UTC."""

    def __init__(
        self, store: Store, folder: Folder, terms: Terms, masks: Masks, metrics: Metrics | None = None
    ) -> None:
        self.folder = folder
        self.terms = terms
        self._store = store
        self._masks = masks
        self._metrics = metrics or Metrics()
        self._noted: date | None = None

    async def keep(self, ids: Sequence[int]) -> None:
        """Bring these events onto the disk. Raises `OSError`."""
        # whoever forgets a person meanwhile finds the events here or there
        async with self._alone():
            kinds: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
            for event_type, number, line in await self._lines(ids):
                if (kind := self.terms.kind(event_type)) is not None:
                    kinds[kind].append((number, line))
            if kinds:
                today = self._today()
                await self._note(today)
                await asyncio.to_thread(self.folder.append, today, kinds)
        self._metrics.archived(sum(map(len, kinds.values())))

    async def expire(self) -> int:
        """Delete files whose time is over; how many events were in them."""
        async with self._alone():
            return await asyncio.to_thread(self.folder.expire, self._over())

    async def overdue(self) -> int:
        """What `expire` would delete."""
        over, folder = self._over(), self.folder
        return await asyncio.to_thread(lambda: sum(folder.events(file) for file in folder.files() if over(file)))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        held = await asyncio.to_thread(self.folder.hold)
        try:
            yield
        finally:
            held.close()

    def _today(self) -> date:
        return datetime.fromtimestamp(self._store.now() / 1e6, UTC).date()

    def _over(self) -> Callable[[ArchiveFile], bool]:
        today = self._today()
        return lambda file: self.terms.until(file) < today

    async def _note(self, today: date) -> None:
        """Let whoever works on another machine know that there is an archive, and until when."""
        if self._noted == today:
            return
        until = self._store.now() + int(self.terms.longest() * 1e6) + _DAY
        known = {"place": f"{socket.gethostname()}:{self.folder.path}", "until": until}
        await self._store.rows("note_archive", NOTE + await asyncio.to_thread(self.folder.id), json.dumps(known))
        self._noted = today

    async def _lines(self, ids: Sequence[int]) -> list[tuple[str, int, bytes]]:
        """Each with its event's type and id: what `petitbleu events show --data --json` prints, and the addresses."""
        rows = [{"id": one} for one in ids]
        parts: dict[str, defaultdict[int, list[Any]]] = {}
        for name, made in (("attempts", attempt_of), ("receipts", receipt_of), ("recyclings", recycling_of)):
            parts[name] = defaultdict(list)
            for row in await self._store.rows(f"whole_{name}", rows):
                parts[name][row["event"]].append(made(row))
        # what cannot be read any more must not keep all others from being deleted in their time
        sent = {
            row["id"]: readable(self._store.vault, row["id"], row["body"])
            for row in await self._store.rows("whole_payloads", rows)
        }
        archived = datetime.fromtimestamp(self._store.now() / 1e6, UTC)
        lines = []
        for row in await self._store.rows("whole_events", rows):
            number, event = row["id"], sent.get(row["id"])
            record = EventRecord(
                found_event({**row, "now_status": row["status"]}),
                parts["attempts"][number],
                parts["receipts"][number],
                parts["recyclings"][number],
                None if event is None else self._masks.masked(event.type, event.data),
            )
            lines.append((row["type"], number, _line(record, {} if event is None else event.addresses, archived)))
        return lines


def _line(record: EventRecord, addresses: Mapping[str, str], archived: datetime) -> bytes:
    known = orjson.loads(orjson.dumps(record, option=_FORM))
    # as text, since programs that take every number for a fraction would change its last digits
    event = known.pop("event") | {"id": str(record.event.id)}
    return orjson.dumps({**event, **known, "addresses": addresses, "archived": archived}, option=_FORM)


__all__ = ["NOTE", "Archiver", "Terms"]
