"""A whole server with its database behind the JSON door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, encode_basic_auth
from petitbleu.app import Server, running

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
    rights: [push, read, admin]
    password_token_from: [127.0.0.0/8]
  reader:
    password: "%s"
    rights: [read]
    event_types: [welcome]
    password_token_from: [127.0.0.0/8]
  far:
    password: "%s"
    rights: [push, read]
sessions: {cache: 0.05s, guess_delay: 0.01s}
"""
DEMO = "$argon2id$v=19$m=65536,t=3,p=4$/uPgM1/N5jXnEwk17hShSA$pHXDKaTGYLB0gmqt2vhVZG8/72/qFskHn7XzijD8YgY"
MC, READER = (encode_basic_auth(login, "demo") for login in ("mc", "reader"))


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Each with where it is."""
        return [(one.get("pointer", one.get("parameter")), one["detail"]) for one in self.json["errors"]]


@pytest.fixture
def rest_database(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def rest_overrides() -> list[str]:
    return []


@pytest.fixture
async def rest_server(tmp_path: Path, rest_database: str, rest_overrides: list[str]) -> AsyncIterator[Server]:
    """It takes events and delivers none."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "petitbleu.yaml").write_text(CONFIG % (rest_database, DEMO, DEMO, DEMO))
    async with running(tmp_path, rest_overrides, role="intake") as started:
        yield started


Ask = Callable[..., Awaitable[Reply]]


@pytest.fixture
async def ask(rest_server: Server) -> AsyncIterator[Ask]:
    """`ask("POST", "/api/…", {…})`, as `mc` unless the header `auth` says otherwise; bytes go as they are."""
    async with ClientSession() as client:

        async def ask(
            method: str,
            path: str,
            body: Any = None,
            auth: str | None = MC,
            **headers: str,
        ) -> Reply:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if auth is not None:
                named.setdefault("Authorization", auth)
            if body is not None:
                named.setdefault("Content-Type", "application/json")
            data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
            async with client.request(method, rest_server.url + path, data=data, headers=named) as response:
                return Reply(response.status, response.headers, await response.read())

        yield ask
