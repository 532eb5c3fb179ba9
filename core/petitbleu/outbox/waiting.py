"""How much waits to be told, for `/metrics` and `/readyz`, and so that it does not become too much."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass

from ..store import Store
from ..types import Check
from .notices import Outbox

logger = logging.getLogger("petitbleu.outbox")

MEASURE = 10.0
"""Seconds between looks at how much waits; longer where looking takes long."""


@dataclass(slots=True)
class Standing:
    """How much waits of a subscription, as it was last counted."""

    waiting: int = 0
    oldest: float = 0.0
    """Seconds for which one has waited."""
    failures: int = 0
    ended: bool = False
    text: str = ""


class Waiting:
    """Of each subscription of the configuration. More than `most` notices of one are not kept; one that is older than
    `age` seconds is worth a warning."""

    def __init__(self, store: Store, outbox: Outbox, names: Collection[str], most: int, age: float) -> None:
        self._store = store
        self._outbox = outbox
        self._names = names
        self._most = most
        self._age = age
        self.standings: dict[str, Standing] = {}
        """By subscription; empty until it was first counted."""

    async def watch(self) -> None:
        """Count what waits, until cancelled."""
        clock = asyncio.get_running_loop().time
        while self._names:
            began = clock()
            try:
                await self.measure()
            except Exception as error:
                logger.warning("the outbox cannot be measured: %s: %s", type(error).__name__, error)
            await asyncio.sleep(max(MEASURE, 20 * (clock() - began)))

    async def measure(self) -> None:
        kept = {row["name"]: row for row in await self._store.rows("subscription_states")}
        for name in self._names:
            (found,) = await self._store.rows("measure_subscription", name, self._most + 1)
            oldest = 0.0 if found["oldest"] is None else max(0.0, (found["now"] - found["oldest"]) / 1e6)
            row = kept.get(name, {"failures": 0, "ended": None, "answer": ""})
            self.standings[name] = Standing(
                found["waiting"], oldest, row["failures"], row["ended"] is not None, row["answer"]
            )
        self._outbox.full = frozenset(name for name, one in self.standings.items() if one.waiting >= self._most)

    def checks(self) -> list[Check]:
        """One for each subscription, as it was last counted."""
        return [self._check(name, one) for name, one in self.standings.items()]

    def _check(self, name: str, one: Standing) -> Check:
        if one.ended:
            return Check(name, True, f"wants nothing any more: {one.text}; {one.waiting} wait", warning=True)
        if name in self._outbox.full:
            return Check(name, True, f"{one.waiting} notices wait, and more are not kept: {one.text}", warning=True)
        if one.oldest > self._age:
            text = f"{one.waiting} notices wait, one for {one.oldest:.0f} s" + (f": {one.text}" if one.failures else "")
            return Check(name, True, text, warning=True)
        return Check(name, True, f"{one.waiting} notices wait")


__all__ = ["Standing", "Waiting"]
