"""Does every provider let us in?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from petitbleu import Check

from .connection import ConnectFailed
from .settings import EmailSettings
from .transport import Pool, open_mailer


async def probe_all(settings: EmailSettings) -> Sequence[Check]:
    """Connect, EHLO, TLS, login, QUIT; no mail."""
    async with open_mailer(settings) as mailer:
        return await asyncio.gather(*map(_probe, mailer.pools.values()))


async def _probe(pool: Pool) -> Check:
    where = f"{pool.provider.host}:{pool.provider.port}"
    try:
        return Check(pool.name, True, f"{where}: {await pool.probe()}")
    except ConnectFailed as failed:
        return Check(pool.name, False, str(failed))
