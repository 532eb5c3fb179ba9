"""Whether this process is fit for work: what `/readyz` tells, as values."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from .hosting.calls import Calls
from .operating import Health
from .types import Check

logger = logging.getLogger("petitbleu.http")


class Watch:
    """Asks everybody who knows something. `pending` tells the open events and how many there may be; `slow` are checks
    of the core's that need the database, `own` its others, by what they are about; `troubles` are what plugins were
    seen to do wrong; `limits` are those of the configuration."""

    def __init__(
        self,
        pending: Callable[[], Awaitable[tuple[int, int]]],
        calls: Calls,
        slow: Callable[[], Awaitable[list[Check]]],
        own: Mapping[str, Callable[[], list[Check]]],
        troubles: Sequence[Callable[[], Mapping[str, list[Check]]]],
        limits: Mapping[str, float],
    ) -> None:
        self._pending = pending
        self._calls = calls
        self._slow = slow
        self._own = own
        self._troubles = troubles
        self._limits = limits
        self.draining = False
        """Whether the server is about to stop."""

    async def look(self) -> Health:
        checks: dict[str, list[Check]] = {"core": await self._core()}
        checks |= await self._calls.health()
        checks |= {name: check() for name, check in self._own.items()}
        for troubles in self._troubles:
            for plugin, found in troubles().items():
                checks[plugin] = [*checks.get(plugin, ()), *found]
        every = [check for group in checks.values() for check in group]
        return Health(all(one.ok for one in every), any(one.warning for one in every), checks, self._limits)

    async def _core(self) -> list[Check]:
        safe = self._calls.safe_mode
        checks = [Check("accepting", not self.draining, "shutting down" if self.draining else "taking events")]
        try:
            waiting, maximum = await self._pending()
        except Exception as error:
            logger.warning("the database does not answer: %s", error)
            return [*checks, Check("database", False, "does not answer")]
        return [
            *checks,
            Check("database", True, "answers"),
            *([] if safe is None else [Check("safe mode", True, safe.banner(), warning=True)]),
            Check("queue", waiting < maximum, f"{waiting}/{maximum} pending events"),
            *await self._slow(),
        ]
