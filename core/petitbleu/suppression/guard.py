"""What stands between a message and an address that is not written to, and what puts the address there.

Looking up is one statement for all messages that are at it together, and asks the database each time: nothing is
remembered that a change could make untrue. What outcomes and receipts show is written in the transaction that stores
them, so that either both are there or none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..audit import ITSELF, Change, record
from ..batching import Batcher
from ..metrics import Metrics
from ..store import StepUndone, Store
from ..store.payload import moment
from ..types import Outcome, Receipt
from .keys import address_key, forgotten_key
from .rules import (
    Note,
    Reason,
    Sign,
    SoftError,
    Source,
    Terms,
    counted,
    enough,
    line,
    outcome_sign,
    receipt_sign,
)

Key = tuple[str, str]
"""A channel and the key of an address."""

logger = logging.getLogger("petitbleu.suppression")

LINGER = 0.001
LOCK_PATIENCE = 2.0
"""Seconds that a transaction waits to note something of addresses that somebody else changes at the moment."""
_WORDS = {
    Reason.COMPLAINT: "complaint",
    Reason.HARD: "hard error",
    Reason.UNSUBSCRIBED: "unsubscribed",
    Reason.MANUAL: "by hand",
    Reason.SOFT: "soft errors",
}
_ACTS = {Sign.HARD: Reason.HARD, Sign.COMPLAINT: Reason.COMPLAINT}


@dataclass(frozen=True, slots=True)
class Standing:
    """How an address stands with us. `reason` is why it is not written to, `text` the same for an event's record;
    `doubted` says that soft errors are counted, which a success is to clear."""

    reason: Reason | None = None
    text: str = ""
    doubted: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """An entry that feedback made, or made last longer."""

    channel: str
    address: str
    brand: str
    reason: Reason


CLEAR, DOUBTED = Standing(), Standing(doubted=True)


class Suppressions:
    """`kinds` says what the addresses of each channel are (`Channel.address`), `terms` what counts there; `ignored` are
    the reasons that do not keep events of a type back. Without `learning` feedback changes nothing, as where messages
    go to others than their events say."""

    def __init__(
        self,
        store: Store,
        kinds: Mapping[str, str],
        terms: Mapping[str, Terms],
        ignored: Mapping[str, frozenset[Reason]],
        metrics: Metrics,
        learning: bool = True,
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._terms = terms
        self._ignored = ignored
        self._metrics = metrics
        self._learning = learning
        self._looks: Batcher[Key, list[Mapping[str, Any]]] = Batcher(self._look, linger=LINGER)

    # --------------------------------------------------------------------------------------------------------- check

    async def standing(self, event_type: str, channel: str, address: str, brand: str) -> Standing:
        """Whether an event of this type may go to the address, as the database has it now."""
        found = await self._looks.add((channel, self._key(channel, address)))
        if not found:
            return CLEAR
        ignored = self._ignored.get(event_type, frozenset())
        against = {
            Reason(row["reason"]): row
            for row in found
            if row["reason"] is not None and row["brand"] in ("", brand) and row["reason"] not in ignored
        }
        reason = next((reason for reason in Reason if reason in against), None)
        if reason is None:
            return CLEAR if all(row["doubted"] is None for row in found) else DOUBTED
        return Standing(reason, _told(reason, against[reason]))

    async def _look(self, keys: list[Key]) -> list[list[Mapping[str, Any]]]:
        self._metrics.batch("suppression", len(keys))
        found: dict[Key, list[Mapping[str, Any]]] = {}
        secret = await self._store.secret()
        asked = [
            {"channel": channel, "address": address, "forgotten": forgotten_key(secret, address)}
            for channel, address in dict.fromkeys(keys)
        ]
        for row in await self._store.rows("suppressed", asked):
            found.setdefault((row["channel"], row["address"]), []).append(row)
        return [found.get(key, []) for key in keys]

    def _key(self, channel: str, address: str) -> str:
        return address_key(self._kinds.get(channel, ""), address)

    # ---------------------------------------------------------------------------------------------------- what counts

    def note_outcome(
        self, event: int, channel: str, address: str, brand: str, outcome: Outcome, doubted: bool
    ) -> Note | None:
        """What is to be written of an attempt's outcome; None: nothing, as nearly always. `doubted` is what `standing`
        said before it."""
        sign = outcome_sign(outcome)
        if sign is None or not self._learning or (sign is Sign.GOOD and not doubted):
            return None
        return self._note(event, channel, address, brand, sign, outcome.text, Source.OUTCOME)

    def note_receipt(self, event: int, channel: str, address: str, brand: str, receipt: Receipt) -> Note | None:
        """What is to be written of a receipt for a message to this address; None: nothing."""
        sign = receipt_sign(receipt)
        if sign is None or not self._learning:
            return None
        return self._note(event, channel, address, brand, sign, receipt.text, Source.RECEIPT)

    def _note(self, event: int, channel: str, address: str, brand: str, sign: Sign, text: str, source: Source) -> Note:
        return Note(event, channel, self._key(channel, address), line(brand)[:128], sign, line(text), source)

    # ----------------------------------------------------------------------------------------------------- write down

    async def attempt(self, notes: Sequence[Note], on: Any) -> list[Added]:
        """As `write`, but what cannot be written down, such as behind a long import of the same addresses, costs the
        rest of the transaction nothing: an address will fail again, an outcome that is not stored could mean a second
        message."""
        if not notes:
            return []
        try:
            async with self._store.tried(on, LOCK_PATIENCE):
                return await self.write(notes, on)
        except StepUndone as error:
            events = [one.event for one in notes]
            logger.warning("what events %s show of their addresses is not noted: %s", events, error)
            return []

    async def write(self, notes: Sequence[Note], on: Any) -> list[Added]:
        """Write notes down within the transaction `on`; gives what came onto the list, for `count` after the commit."""
        now = self._store.now()
        rows = [
            self._entry(note, _ACTS[note.sign], note.brand if note.sign is Sign.COMPLAINT else "", note.text, now)
            for note in notes
            if note.sign in _ACTS
        ]
        rows += [
            self._entry(note, Reason.SOFT, "", f"the last of {errors} was: {note.text}", now)
            for note, errors in await self._count_soft(notes, now, on)
        ]
        if not rows:
            return []
        # one statement takes each key once, and all take them in one order
        latest = {tuple(row[column] for column in ("channel", "address", "brand", "reason")): row for row in rows}
        changed = await self._store.rows("suppress_longer", [latest[key] for key in sorted(latest)], on=on)
        added = [Added(row["channel"], row["address"], row["brand"], Reason(row["reason"])) for row in changed]
        changes = [
            change("suppressions.feedback", latest[one.channel, one.address, one.brand, one.reason]) for one in added
        ]
        await record(self._store, changes, ITSELF, on)
        return added

    def count(self, added: Sequence[Added]) -> None:
        for one in added:
            self._metrics.suppression_added(one.channel, one.reason)

    def _entry(self, note: Note, reason: Reason, brand: str, text: str, now: int) -> dict[str, Any]:
        return {
            "channel": note.channel,
            "address": note.address,
            "brand": brand,
            "reason": reason.value,
            "text": text,
            "created": now,
            "expires": self._terms_of(note.channel).expires(reason, now),
            "who": ITSELF.login,
        }

    def _terms_of(self, channel: str) -> Terms:
        return self._terms.get(channel) or self._terms[""]

    async def _count_soft(self, notes: Sequence[Note], now: int, on: Any) -> list[tuple[Note, int]]:
        """Bring the counts up to date; gives the notes that made them full, and of how many errors."""
        soft = {(note.channel, note.address) for note in notes if note.sign is Sign.SOFT}
        good = {(note.channel, note.address) for note in notes if note.sign is Sign.GOOD} - soft
        if good:
            rows = await self._store.rows("doubted", _rows(sorted(good)), on=on)
            good = {(row["channel"], row["address"]) for row in rows}
        keys = sorted(soft | good)
        if not keys:
            return []
        errors = {
            (row["channel"], row["address"]): [SoftError(*one) for one in json.loads(row["errors"])]
            for row in await self._store.rows("lock_soft", _rows(keys), on=on)
        }
        full: list[tuple[Note, int]] = []
        for note in notes:
            key = note.channel, note.address
            if key not in errors or note.sign not in (Sign.SOFT, Sign.GOOD):
                continue
            terms = self._terms_of(note.channel)
            errors[key] = counted(errors[key], note, now, terms)
            if note.sign is Sign.SOFT and enough(errors[key], terms):
                full.append((note, len(errors[key])))
                errors[key] = []
        kept = [
            {
                "channel": channel,
                "address": address,
                "errors": json.dumps([(one.event, one.at, one.source) for one in some]),
                "touched": some[-1].at,
            }
            for (channel, address), some in sorted(errors.items())
            if some
        ]
        if kept:
            await self._store.rows("keep_soft", kept, on=on)
        if gone := sorted(key for key, some in errors.items() if not some):
            await self._store.rows("drop_soft", _rows(gone), on=on)
        return full


def change(action: str, row: Mapping[str, Any]) -> Change:
    """For the audit, an entry of the list as the database has it."""
    detail = {"reason": row["reason"], "brand": row["brand"], "text": row["text"]}
    expires = row["expires"]
    detail["expires"] = None if expires is None else f"{moment(expires):%Y-%m-%dT%H:%M:%SZ}"
    return Change(action, f"{row['channel']}/{row['address']}", detail)


def _rows(keys: Any) -> list[dict[str, Any]]:
    return [{"channel": channel, "address": address} for channel, address in keys]


def _told(reason: Reason, row: Mapping[str, Any]) -> str:
    words = f"by {row['who']}" if reason is Reason.MANUAL and row["who"] else _WORDS[reason]
    text = f": {row['text']}" if row["text"] else ""
    return f"suppressed: {words} on {moment(row['created']):%Y-%m-%d}{text}"


__all__ = ["Added", "Standing", "Suppressions", "change"]
