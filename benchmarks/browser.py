"""Somebody who looks at the console, as a browser asks for pages, and the instance that has one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp

from .bench import Bench
from .processes import Failed
from .server import LOGIN, PASSWORD, make_instance, prepare


class Visitor:
    """Signed in. `pages` counts what was shown."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.pages = 0

    async def page(self, path: str) -> str:
        """Below `/console/`. Raises `Failed` for anything but a page."""
        async with self._session.get(f"/console/{path}", headers={"HX-Request": "true"}) as answer:
            text = await answer.text()
            if answer.status != 200 or 'role="alert"' in text:
                raise Failed(f"/console/{path} answered {answer.status}:\n{text[-2000:]}")
            self.pages += 1
            return text

    async def seconds(self, path: str) -> float:
        """How long the page takes. Raises `Failed`."""
        began = time.monotonic()
        await self.page(path)
        return time.monotonic() - began

    @asynccontextmanager
    async def looking(self, every: float, *paths: str) -> AsyncIterator[None]:
        """All of `paths` again and again, as long as the block lasts."""

        async def look() -> None:
            while True:
                for path in paths:
                    await self.page(path)
                await asyncio.sleep(every)

        task = asyncio.create_task(look())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def browser(port: int) -> AsyncIterator[Visitor]:
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{port}", cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(60)
    ) as session:
        form = {"login": LOGIN, "password": PASSWORD, "to": "/console/now"}
        async with session.post("/console/sign-in", data=form, allow_redirects=False) as answer:
            if answer.status != 303:
                raise Failed(f"nobody can sign in at the console: {answer.status}")
        yield Visitor(session)


@asynccontextmanager
async def console_stage(bench: Bench) -> AsyncIterator[Bench]:
    """The stage with an instance that has the console; its databases are the others'."""
    folder = bench.folder / "console"
    if not folder.exists():
        make_instance(folder, f"sqlite://{bench.folder / 'base.db'}", bench.sink.port, [{"console": {"lines": 50}}])
        await prepare(folder)
    yield replace(bench, instance=folder)
