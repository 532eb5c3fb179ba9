"""What the tests of the JSON door agree on."""

from __future__ import annotations

from typing import Any

from aiohttp import encode_basic_auth
from petitbleu.serving.app import Server

CONFIG = """
instance: {name: test, cell: 1, time_zone: UTC, brand: shop}
database: %s
http: {port: 0, body_limit: 100000}
plugins:
  - email: {providers: {main: {host: 127.0.0.1, port: 1, security: plain}}}
  - sms: {connectors: {main: {host: 127.0.0.1, port: 1}}, senders: {"*": {"*": Shop}}}
  - rest_ingest
event_types:
  welcome: {label: Welcome}
  password_reset: {label: Password reset, ctx: {required: {link: text}}}
  account_statement: {label: Account statement, queue: batch}
  keyed: {label: Keyed, idempotency: 1h}
brands:
  shop: {sender: {name: Shop, address: shop@example.com}}
operators:
  mc:
    password: "%s"
    rights: [push, read, data, publish, suppress, audit, admin]
    password_token_from: [127.0.0.0/8]
  reader:
    password: "%s"
    rights: [read]
    event_types: [welcome]
    password_token_from: [127.0.0.0/8]
  far:
    password: "%s"
    rights: [push, read]
sessions: {cache: 0.05s, guess_delay: 0.01s, guess_delay_cap: 0.02s}
"""
DEMO = "$argon2id$v=19$m=65536,t=3,p=4$/uPgM1/N5jXnEwk17hShSA$pHXDKaTGYLB0gmqt2vhVZG8/72/qFskHn7XzijD8YgY"
LINES = "application/x-ndjson"
MC, READER = (encode_basic_auth(login, "demo") for login in ("mc", "reader"))


def three(**second: Any) -> list[dict[str, Any]]:
    emails = ("zoe@example.com", "omid@example.com", "lina@example.com")
    events = [{"type": "welcome", "email": one, "externalId": f"W-{n}"} for n, one in enumerate(emails)]
    events[1] |= second
    return events


async def count(server: Server) -> int:
    return int((await server.instance.store.read("SELECT count(*) AS n FROM events", []))[0]["n"])
