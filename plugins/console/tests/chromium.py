"""Headless Chromium, spoken to over the DevTools protocol (version 1.3)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

SWITCHES = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def found() -> str | None:
    """The browser of this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


class Tab:
    """One page of the browser. `problems` has what a page reported: refused by its policy, failed scripts."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self.posted: list[str] = []
        """Paths that forms were sent to."""
        self.problems: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if "error" in said:
                    answer.set_exception(RuntimeError(said["error"]["message"]))
                else:
                    answer.set_result(said["result"])
            elif said["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.problems.append(said["params"]["entry"]["text"])
            elif said["method"] == "Network.requestWillBeSent" and said["params"]["request"]["method"] == "POST":
                self.posted.append(urlsplit(said["params"]["request"]["url"]).path)
            elif said["method"] == "Runtime.exceptionThrown":
                self.problems.append(str(said["params"]["exceptionDetails"]))

    async def do(self, method: str, **values: Any) -> Any:
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": values})
        async with asyncio.timeout(30):
            return await answer

    async def go(self, url: str) -> None:
        self._loaded.clear()
        await self.do("Page.navigate", url=url)
        await self.loaded()

    async def loaded(self) -> None:
        async with asyncio.timeout(30):
            await self._loaded.wait()

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        given = await self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in given:
            raise RuntimeError(str(given["exceptionDetails"]))
        return given["result"].get("value")

    async def follow(self, script: str) -> None:
        """Run what leads to another page, and wait for that."""
        self._loaded.clear()
        await self.run(script)
        await self.loaded()

    async def press(self, text: str) -> None:
        """The button or link that says `text`."""
        await self.follow(
            "(() => { const all = [...document.querySelectorAll('button, a, summary')];"
            f" const one = all.find((each) => each.textContent.trim() === {text!r});"
            " if (!one) throw new Error('there is no such button: ' + document.title); one.click(); })()"
        )

    async def fill(self, name: str, text: str, form: str = "form") -> None:
        await self.run(f"document.querySelector({form!r} + ' [name={name}]').value = {text!r}")

    async def send(self, action: str, /, **values: str) -> str:
        """Fill in the form whose action ends in `action`, in which these hidden values may stand already, and press its
        button; gives what is shown then."""
        await self.follow(
            "(() => { const values = " + json.dumps(values) + ", fields = (form) => Object.entries(values)"
            ".map(([name, value]) => [form.elements.namedItem(name), value]),"
            f" form = [...document.querySelectorAll('form[action$=\"{action}\"]')].find((one) => fields(one)"
            ".every(([field, value]) => field && (field.type !== 'hidden' || field.value === value)));"
            f" if (!form) throw new Error('no form {action} on ' + document.title);"
            " for (const [field, value] of fields(form)) if (field.type !== 'hidden') field.value = value;"
            " form.querySelector('button').click(); })()"
        )
        return await self.text()

    async def text(self) -> str:
        return str(await self.run("document.body.innerText"))

    async def size(self, width: int, height: int, *, dark: bool = False) -> None:
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = "dark" if dark else "light"
        await self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def picture(self, file: Path) -> None:
        taken = await self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(taken["data"]))


@asynccontextmanager
async def browser(program: str, folder: Path) -> AsyncIterator[Tab]:
    """A fresh browser with one tab."""
    switches = [*SWITCHES, f"--user-data-dir={folder}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    process = await asyncio.create_subprocess_exec(
        program, *switches, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = await _port(folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
                address = (await answer.json(content_type=None))["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                tab = Tab(socket)
                listening = asyncio.create_task(tab.listen())
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await tab.do(f"{domain}.enable")
                yield tab
                listening.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _port(file: Path) -> int:
    """The browser writes it there once it listens."""
    async with asyncio.timeout(30):
        while not (text := _text(file)):
            await asyncio.sleep(0.05)
    return int(text.split()[0])


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""
