"""Petitbleu as it is measured: an instance of its own, and `petitbleu serve` run on it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import aiohttp
from petitbleu.auth import hash_password

from .envelopes import logon, session_token
from .processes import Failed, end_of, free_port, output_of, python, running
from .settings import HERE

LOGIN, PASSWORD = "bench", "a password for measuring"
CONNECTIONS = 20
_YAML = """\
instance: {{name: bench, brand: shop}}
database: {database}
plugins:
  - email:
      providers:
        sink: {{host: 127.0.0.1, port: {port}, connections: {connections}}}
  - soap_ingest
  - rest_ingest
{plugins}event_types:
  bench:
    label: Measured
    ctx:
      required:
        order.number: text
        order.line.price: number
        order.total: number
brands:
  shop:
    name: Petit Bleu – Été
    sender: {{name: Petit Bleu, address: orders@shop.example.com}}
    variables: {{url: https://shop.example.com, help: help@shop.example.com}}
operators:
  {login}:
    password: "{password}"
    rights: [push, read]
limits: {{pending: 3000000}}
# databases are copied here, and their events are to be sent
delivery: {{hold_after_restore: false}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `pid` is its first process; further ones descend from it."""

    port: int
    pid: int
    token: str


def make_instance(
    folder: Path, database: str, sink: int, plugins: Sequence[Mapping[str, object]] = (), templates: Path | None = None
) -> Path:
    """A configuration directory with one event type, `bench`, whose mails go to the port `sink`. There may be more
    `plugins`, and `templates` for them."""
    shutil.copytree(HERE / "instance", folder)
    if templates is not None:
        shutil.copytree(templates, folder / "templates", dirs_exist_ok=True)
    (folder / "petitbleu.yaml").write_text(
        _YAML.format(
            database=database,
            port=sink,
            connections=CONNECTIONS,
            login=LOGIN,
            password=hash_password(PASSWORD),
            # JSON is YAML
            plugins="".join(f"  - {json.dumps(one)}\n" for one in plugins),
        ),
        "utf-8",
    )
    return folder


async def prepare(
    directory: Path, assignments: Sequence[str] = (), environment: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Make the tables and publish the template."""
    sets = _sets(assignments)
    await output_of(python("petitbleu", "migrate", "--config", directory, *sets), environment)
    await output_of(python("petitbleu", "templates", "publish", "--all", "--config", directory, *sets), environment)


@asynccontextmanager
async def serving(
    directory: Path,
    *,
    processes: int,
    role: str = "all",
    assignments: Sequence[str] = (),
    token: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Server]:
    """`petitbleu serve`, ready for work. A worker takes no calls, so it has no token."""
    port = free_port()
    words = ["serve", "--config", str(directory), "--role", role, "--processes", str(processes)]
    log = directory / "server.log"
    sets = _sets([f"http.port={port}", *assignments])
    child_of = running(python("petitbleu", *words, *sets), log, environment=environment)
    async with child_of as child, aiohttp.ClientSession() as client:
        await _ready(child, client, port, log)
        if role != "worker" and not token:
            token = await _log_on(client, port)
        yield Server(port, child.pid, token)
        if child.poll() is not None:
            raise Failed(f"the server ended with {child.returncode}:\n{end_of(log)}")


def _sets(assignments: Sequence[str]) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


async def _ready(child: subprocess.Popen[bytes], client: aiohttp.ClientSession, port: int, log: Path) -> None:
    for _ in range(600):
        if child.poll() is not None:
            break
        try:
            async with client.get(f"http://127.0.0.1:{port}/healthz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.05)
    raise Failed(f"the server does not start:\n{end_of(log)}")


async def _log_on(client: aiohttp.ClientSession, port: int) -> str:
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": "xtk:session#Logon"}
    url = f"http://127.0.0.1:{port}/nl/jsp/soaprouter.jsp"
    async with client.post(url, data=logon(LOGIN, PASSWORD), headers=headers) as answer:
        return session_token(await answer.text())
