"""The description says what is, and holds against whatever is made up from it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from petitbleu import EventFilter
from petitbleu.serving.app import Server
from petitbleu_rest_ingest.problems import KINDS
from petitbleu_rest_ingest.table import OPERATIONS
from pydantic.alias_generators import to_camel
from rest_known import MC

pytest_plugins = ("rest_rig",)

# what is sent as partial is taken event by event, and refused so
SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = ["4xx", 207]
"""


async def test_the_description_is_open_and_tells_nothing_of_the_instance(ask: Any) -> None:
    got = await ask("GET", "/api/openapi.json", auth=None)
    assert (got.status, got.json["openapi"]) == (200, "3.1.0")
    for secret in ("password_reset", "account_statement", "shop.example.com"):
        assert secret not in str(got.json["paths"])
    names = [one.name for one in OPERATIONS]
    assert len(names) == len(set(names))
    # a path's shape may be described once only
    shapes = [re.sub(r"\{\w+\}", "{}", path) for path in got.json["paths"]]
    assert len(shapes) == len(set(shapes))
    assert sum(len(methods) for methods in got.json["paths"].values()) == len(OPERATIONS)


async def test_every_filter_of_events_is_described_where_it_can_be_given(ask: Any) -> None:
    found = (await ask("GET", "/api/openapi.json", auth=None)).json
    names = {to_camel(one.name) for one in fields(EventFilter)}
    told = {one["name"]: one["description"] for one in found["paths"]["/api/v1/events"]["get"]["parameters"]}
    assert names == told.keys() - {"limit", "cursor"}
    members = found["components"]["schemas"]["EventFilter"]["properties"]
    assert {name: one["description"] for name, one in members.items()} == {name: told[name] for name in names}


async def test_the_page_names_every_call_and_problem(ask: Any) -> None:
    page = await ask("GET", "/api/", auth=None)
    text = page.body.decode()
    for one in OPERATIONS:
        assert f"<code>{one.method} {one.path}</code>" in text
    for kind in KINDS:
        assert f'id="{kind}"' in text
    assert "<script" not in text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("rest_overrides", [["http.body_limit=200000"]])
async def test_whatever_is_called_is_answered_as_described(rest_server: Server, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    words = (
        *("--config-file", str(tmp_path / "schemathesis.toml"), "run", f"{rest_server.url}/api/openapi.json"),
        *("-H", f"Authorization: {MC}", "--phases", "coverage,fuzzing,stateful", "--max-examples", "2"),
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance", "--seed", "4711"),
        *("--continue-on-failure", "--warnings", "off", "--no-color"),
    )
    program = Path(sys.executable).parent / "schemathesis"
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(240):
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert f"Tested: {len(OPERATIONS)}" in told.decode()
