"""What a server does in the background does not end without a word."""

from __future__ import annotations

import asyncio
import logging

import pytest
from petitbleu.serving.chores import begin


async def _failing() -> None:
    raise ValueError("no such thing")


async def _lasting() -> None:
    await asyncio.Event().wait()


async def test_a_chore_that_fails_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    failed, lasting = begin([_failing(), _lasting()])
    await asyncio.wait([failed])
    await asyncio.sleep(0)
    (line,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert (line.name, line.getMessage()) == ("petitbleu.server", "_failing has ended and is missing until a restart")
    lasting.cancel()
    await asyncio.wait([lasting])
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 1
