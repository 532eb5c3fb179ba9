"""Does every SMSC let us in?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from petitbleu import Check

from .connector import ConnectFailed, Connector
from .settings import Connector as ConnectorSettings
from .settings import SmsSettings


async def probe_all(settings: SmsSettings) -> Sequence[Check]:
    """Connect, TLS, bind, unbind; no message. HTTP gateways have no log-in that could be tried."""
    checks = await asyncio.gather(*(_probe(name, one) for name, one in settings.connectors.items()))
    return [*checks, *(Check(name, True, "an HTTP gateway: only a message tells") for name in settings.gateways)]


async def _probe(name: str, settings: ConnectorSettings) -> Check:
    connector = Connector(name, settings, lambda *_: None, lambda: 0.5)
    where = f"{settings.host}:{settings.port}"
    try:
        return Check(name, True, f"{where}: {await connector.probe()}")
    except ConnectFailed as failed:
        return Check(name, False, f"{where}: {failed}")
