"""Fixtures: the servers that stand in for Apple's, Google's and browsers' push services."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from push_rig import Apple, Google, PushService, StartApple, google_started, node, push_service_started, started


@pytest.fixture(scope="session")
def node_path(real_parts: Any) -> str:
    found = node()
    version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    real_parts.used("node http2 and crypto", version)
    return found


@pytest.fixture
def start_apple(node_path: str) -> StartApple:
    return partial(started, node_path)


@pytest.fixture
async def apple(start_apple: StartApple) -> AsyncIterator[Apple]:
    async with start_apple() as apple:
        yield apple


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    async with google_started() as google:
        yield google


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    async with push_service_started() as service:
        yield service
