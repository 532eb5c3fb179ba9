"""`petitbleu sms-check`: does every SMSC let us in?"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from .connector import ConnectFailed, Connector
from .settings import SmsSettings


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("connector", nargs="*", help="names of connectors; all of them unless given")
    parser.add_argument("--json", action="store_true", help="one JSON object per connector")


async def run(settings: SmsSettings, options: argparse.Namespace) -> int:
    """Connect, TLS, bind, unbind; no message. Exit code 1 when one of them fails or is not known."""
    unknown = [name for name in options.connector if name not in settings.connectors]
    if unknown:
        known = ", ".join(settings.connectors) or "none"
        print(f"no connector {', '.join(unknown)}; plugins.sms.connectors has {known}", file=sys.stderr)
        return 1
    chosen = {name: one for name, one in settings.connectors.items() if name in (options.connector or [name])}
    connectors = [Connector(name, one, lambda *_: None, lambda: 0.5) for name, one in chosen.items()]
    results = await asyncio.gather(*map(_probe, connectors))
    for (name, one), (ok, text) in zip(chosen.items(), results, strict=True):
        if options.json:
            line = {"connector": name, "host": one.host, "port": one.port, "ok": ok, "text": text}
            print(json.dumps(line, ensure_ascii=False))
        else:
            print(f"{name}  {one.host}:{one.port}  {'ok' if ok else 'FAILED'}  {text}")
    return 0 if all(ok for ok, _ in results) else 1


async def _probe(connector: Connector) -> tuple[bool, str]:
    try:
        return True, await connector.probe()
    except ConnectFailed as failed:
        return False, str(failed)
