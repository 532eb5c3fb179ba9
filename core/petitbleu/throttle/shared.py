"""What the processes of an installation tell each other about providers, in the database: which are paused and why,
who tries one again, and how much of each limit every process has.

`holder` names a process for as long as it lives; what it holds is void once it has not been heard of for a lease.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..store import Store
from .quota import Holding, grant, share


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing goes to a provider before `until`, and then one message first. Times in microseconds."""

    until: int
    number: int
    """How many pauses there were in a row, with this one."""
    since: int
    reason: str
    probing: int = 0
    """Until when somebody may be trying it."""

    def over(self, now: int) -> bool:
        return self.until <= now

    def probed(self, now: int) -> bool:
        return self.probing > now


@dataclass(frozen=True, slots=True)
class Wish:
    """For places of one limit: how many there is use for, and how many are taken and cannot be given back yet."""

    key: str
    limit: int
    wanted: int
    used: int


class Shared:
    """`lease` is in seconds."""

    def __init__(self, store: Store, holder: str, lease: float) -> None:
        self._store = store
        self._holder = holder
        self._lease = int(lease * 1_000_000)

    # ------------------------------------------------------------------------------------------------------- pauses

    async def pauses(self) -> dict[str, Pause]:
        return {
            row["key"]: Pause(row["until"], row["number"], row["since"], row["reason"], row["probing"])
            for row in await self._store.rows("pauses")
        }

    async def pause(self, key: str, pause: Pause) -> None:
        """Unless somebody else has paused it meanwhile, or is trying it."""
        values = (key, pause.until, pause.number, pause.since, pause.reason, self._holder)
        await self._store.rows("pause", *values)

    async def resume(self, key: str) -> None:
        await self._store.rows("resume", key)

    async def probe(self, key: str) -> bool:
        """Whether it is for this process to try it. To be held on to, with `still_probing`."""
        return bool(await self._store.rows("probe", self._holder, self._lease, key))

    async def still_probing(self) -> None:
        await self._store.rows("still_probing", self._lease, self._holder)

    async def leave_probe(self, key: str) -> None:
        """Without having learnt anything."""
        await self._store.rows("leave_probe", key, self._holder)

    # ------------------------------------------------------------------------------------------------------- quotas

    async def tokens(self, key: str, rate: float) -> tuple[int, int, int]:
        """How many messages may go at once, when asking for more makes sense, and what time it is."""
        async with self._store.transaction() as transaction:
            (row,) = await self._store.rows("lock_quota", key, on=transaction)
            count, due = grant(row["due"], row["now"], rate)
            if count:
                await self._store.rows("move_quota", due, key, on=transaction)
        return count, due, row["now"]

    async def places(self, wishes: Sequence[Wish]) -> dict[str, int]:
        """How many messages may be under way at once in this process, by key, for a lease from now.

        The wishes come sorted by key, so that no two processes wait for each other.
        """
        keys = [{"key": one.key} for one in wishes]
        async with self._store.transaction() as transaction:
            await self._store.rows("lock_quotas", keys, on=transaction)
            others: defaultdict[str, list[Holding]] = defaultdict(list)
            for row in await self._store.rows("quota_holders", self._holder, keys, on=transaction):
                others[row["key"]].append(Holding(row["held"], row["wanted"]))
            held = {one.key: share(one.limit, one.wanted, one.used, others[one.key]) for one in wishes}
            rows = [{"key": one.key, "held": held[one.key], "wanted": one.wanted} for one in wishes]
            await self._store.rows("hold_quotas", self._holder, self._lease, rows, on=transaction)
        return held

    async def leave(self, probes: Sequence[str]) -> None:
        """Give everything back at once, rather than when the lease is over."""
        for key in probes:
            await self.leave_probe(key)
        await self._store.rows("leave_quotas", self._holder)

    async def purge(self) -> None:
        """Forget what nobody had to do with for an hour."""
        await self._store.rows("purge_pauses")
        await self._store.rows("purge_holders")
        await self._store.rows("purge_quotas")
