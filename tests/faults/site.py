"""One installation under test: its configuration, a database of its own, and the server processes started on it."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import yaml

from .oracle import Stored, Strike, Tried
from .ways import MAIL, Way

SOURCE = Path(__file__).parent / "instance"
PLUGIN = Path(__file__).parent / "plugin"
START = 30.0
"""Seconds a server may take until it serves."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def deep(base: dict[str, Any], path: str, value: Any) -> None:
    *folders, name = path.split(".")
    for folder in folders:
        base = base.setdefault(folder, {})
    base[name] = value


class Server:
    """A started `petitbleu serve`; its log is a file, so that nobody has to read it in time."""

    def __init__(self, process: Process, log: Path, port: int, role: str) -> None:
        self.process = process
        self.log = log
        self.port = port
        self.role = role
        self.started = time.time()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for line in self.log.read_bytes().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def saying(self, text: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("text") == text]

    def incarnations(self) -> list[str]:
        return [str(line["incarnation"]) for line in self.saying("serving")]

    async def serving(self, times: int = 1, seconds: float = START) -> None:
        end = time.monotonic() + seconds
        while len(self.saying("serving")) < times:
            if not self.alive or time.monotonic() > end:
                raise AssertionError(f"{self.role} does not serve: {self.log.read_text('utf-8', 'replace')[-2000:]}")
            await asyncio.sleep(0.03)

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def children(self) -> list[int]:
        """The processes that a supervisor has now."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError, ValueError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == self.pid:
                    found.append(int(folder.name))
        return found

    async def kill(self) -> None:
        """SIGKILL to it and its children."""
        for pid in [self.pid, *self.children()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()

    async def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM; gives the exit code. SIGKILL after `seconds`."""
        if self.alive:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), seconds)
            except TimeoutError:
                await self.kill()
        return int(self.process.returncode or 0)


class Database:
    """Looked at directly: nothing of the product stands between the rig and the tables."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def dialect(self) -> str:
        return "sqlite" if self.url.startswith("sqlite") else "postgres"

    async def rows(self, sql: str) -> list[Mapping[str, Any]]:
        if self.dialect == "sqlite":
            return await asyncio.to_thread(self._sqlite, sql)
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            return [dict(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    def _sqlite(self, sql: str) -> list[Mapping[str, Any]]:
        connection = sqlite3.connect(self.url.removeprefix("sqlite://"), timeout=20)
        connection.row_factory = sqlite3.Row
        try:
            rows: list[Mapping[str, Any]] = [dict(row) for row in connection.execute(sql).fetchall()]
            connection.commit()
            return rows
        finally:
            connection.close()

    async def number(self, sql: str) -> int:
        (row,) = await self.rows(sql)
        return int(next(iter(row.values())) or 0)

    async def events(self) -> list[Stored]:
        rows = await self.rows(
            "SELECT e.id, e.external_id, e.status, e.reason, e.processed, e.feedback, q.id IS NOT NULL AS queued"
            " FROM events e LEFT JOIN queue q ON q.id = e.id"
        )
        return [
            Stored(
                row["id"],
                row["external_id"] or "",
                row["status"],
                row["reason"] or "",
                bool(row["queued"]),
                None if row["processed"] is None else row["processed"] / 1e6,
                row["feedback"] or "",
            )
            for row in rows
        ]

    async def attempts(self) -> list[Tried]:
        rows = await self.rows("SELECT event, number, outcome FROM attempts")
        return [Tried(row["event"], row["number"], row["outcome"]) for row in rows]

    async def suppressed(self) -> frozenset[str]:
        rows = await self.rows("SELECT DISTINCT address FROM suppressions")
        return frozenset(row["address"] for row in rows)

    async def strike(self, at: float, incarnations: Sequence[str]) -> Strike:
        """What processes that ended just now still have leased."""
        await asyncio.sleep(0.05)  # a statement under way outlives its client by so much
        own = " OR ".join(f"lease LIKE '{one}-%'" for one in incarnations) or "1 = 0"
        rows = await self.rows(f"SELECT id, handed_off FROM queue WHERE state = 2 AND ({own})")
        return Strike(
            at, frozenset(row["id"] for row in rows), frozenset(row["id"] for row in rows if row["handed_off"])
        )


class Site:
    """A configuration on a database, with any number of servers."""

    def __init__(self, folder: Path, database: str, way: Way, port: int, changes: Mapping[str, Any]) -> None:
        self.folder = folder
        self.database = Database(database)
        self.servers: list[Server] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "PETITBLEU_FAILPOINTS"},
            "PYTHONPATH": os.pathsep.join(filter(None, (str(PLUGIN), os.environ.get("PYTHONPATH", "")))),
        }
        shutil.copytree(SOURCE, folder / "config")
        way.add_templates(folder / "config" / "templates")
        self._settings: dict[str, Any] = yaml.safe_load((folder / "config" / "petitbleu.yaml").read_text("utf-8"))
        self._settings["plugins"] += copy.deepcopy(way.plugins)
        retry = self._settings["delivery"]["retry"]
        retry[way.name] = retry[MAIL.name]
        self.change({"database": database, **way.settings(port), **changes})

    def change(self, changes: Mapping[str, Any]) -> None:
        """Settings by path; a plugin's name leads into its own. For servers started from now on."""
        own: dict[str, dict[str, Any]] = {}
        for plugin in self._settings["plugins"]:
            if isinstance(plugin, dict):
                own |= dict.fromkeys(plugin, plugin)
        for path, value in changes.items():
            deep(own.get(path.partition(".")[0], self._settings), path, value)
        text = yaml.safe_dump(self._settings, sort_keys=False)
        (self.folder / "config" / "petitbleu.yaml").write_text(text, "utf-8")

    async def command(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "petitbleu", *words, "--config", str(self.folder / "config"),
            stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=self.environment,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    async def serve(
        self,
        role: str = "all",
        *words: str,
        port: int = 0,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
        ready: int = 1,
        settings: Sequence[str] = (),
    ) -> Server:
        """Start one. `before` is a command that runs it (strace, faketime); `ready` of its processes shall serve."""
        port = port or free_port()
        log = self.folder / f"server-{len(self.servers) + 1}.log"
        sets = [f"--set={one}" for one in (f"http.port={port}", *settings)]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *before, sys.executable, "-m", "petitbleu", "serve", "--role", role,
                "--config", str(self.folder / "config"), *sets, *words,
                stdin=DEVNULL, stdout=output, stderr=output, process_group=0,
                env={**self.environment, **(environment or {})},
            )  # fmt: skip
        server = Server(process, log, port, role)
        self.servers.append(server)
        if wait:
            await server.serving(ready)
        return server

    async def stop(self) -> list[int]:
        """Every server that still runs, in order; gives their exit codes."""
        return list(await asyncio.gather(*(server.stop() for server in self.servers if server.alive)))

    async def close(self) -> None:
        await asyncio.gather(*(server.kill() for server in self.servers if server.alive))


async def get(url: str, seconds: float = 10.0) -> tuple[int, str]:
    """Status and body; 0 when nobody answers."""
    try:
        async with aiohttp.request("GET", url, timeout=aiohttp.ClientTimeout(seconds)) as response:
            return response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return 0, str(error)
