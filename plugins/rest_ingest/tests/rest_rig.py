"""A whole server with its database behind the JSON door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession
from petitbleu.serving.app import Server, running
from rest_known import CONFIG, DEMO, MC


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
    (tmp_path / "templates").mkdir(exist_ok=True)
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
