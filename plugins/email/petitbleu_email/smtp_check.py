"""`petitbleu smtp-check`: does every provider let us in?"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from .connection import ConnectFailed
from .settings import EmailSettings
from .transport import Pool, open_mailer


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("provider", nargs="*", help="names of providers; all of them unless given")
    parser.add_argument("--json", action="store_true", help="one JSON object per provider")


async def run(settings: EmailSettings, options: argparse.Namespace) -> int:
    """Connect, EHLO, TLS, login, QUIT; no mail. Exit code 1 when one of them fails or is not known."""
    unknown = [name for name in options.provider if name not in settings.providers]
    if unknown:
        known = ", ".join(settings.providers)
        print(f"no provider {', '.join(unknown)}; plugins.email.providers has {known}", file=sys.stderr)
        return 1
    async with open_mailer(settings) as mailer:
        pools = [pool for name, pool in mailer.pools.items() if not options.provider or name in options.provider]
        results = await asyncio.gather(*map(_probe, pools))
    for pool, (ok, text) in zip(pools, results, strict=True):
        if options.json:
            line = {"provider": pool.name, "host": pool.provider.host, "port": pool.provider.port, "ok": ok}
            print(json.dumps({**line, "text": text}, ensure_ascii=False))
        else:
            print(f"{pool.name}  {pool.provider.host}:{pool.provider.port}  {'ok' if ok else 'FAILED'}  {text}")
    return 0 if all(ok for ok, _ in results) else 1


async def _probe(pool: Pool) -> tuple[bool, str]:
    try:
        return True, await pool.probe()
    except ConnectFailed as failed:
        return False, str(failed)
