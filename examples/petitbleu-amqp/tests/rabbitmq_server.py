"""A RabbitMQ of its own for tests, in a folder that goes away with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiormq

PLACES = ("/usr/lib/rabbitmq/lib", "/usr/local/lib/rabbitmq", "/opt/rabbitmq")


def program() -> str | None:
    """The start script itself: what packages put into the path starts it as another user, elsewhere."""
    found = [str(path) for place in PLACES for path in sorted(Path(place).glob("**/sbin/rabbitmq-server"))]
    return found[-1] if found else shutil.which("rabbitmq-server")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class RabbitMq:
    """`start` and `kill` it as often as you like: its queues are in `folder`."""

    folder: Path
    port: int = field(default_factory=free_port)
    _node: subprocess.Popen[bytes] | None = None
    _epmd: subprocess.Popen[bytes] | None = None
    _ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        (folder / "enabled_plugins").write_text("[].")
        (folder / "empty").touch()
        paths = {
            "HOME": folder,
            "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder / "log",
            "RABBITMQ_PID_FILE": folder / "pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "enabled_plugins",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": folder / "advanced",
            "RABBITMQ_CONF_ENV_FILE": folder / "empty",
        }
        words = {
            "ERL_EPMD_PORT": str(self._ports[0]),
            "RABBITMQ_NODENAME": f"petitbleu{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._ports[1]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return {**os.environ, **{name: str(path) for name, path in paths.items()}, **words}

    async def start(self) -> None:
        """Returns when it answers."""
        self._spawn()
        async with asyncio.timeout(120.0):
            while True:
                assert self._node is not None
                assert self._node.poll() is None, (self.folder / "out.log").read_text("utf-8", "replace")
                with contextlib.suppress(OSError, aiormq.AMQPError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    connection = await aiormq.connect(self.url)
                    await connection.close()
                    return
                await asyncio.sleep(0.1)

    def _spawn(self) -> None:
        found, environment = program(), self._environment()
        assert found is not None
        if self._epmd is None and (epmd := shutil.which("epmd")) is not None:
            # in the foreground: the one that nodes start by themselves would outlive them
            arguments = [epmd, "-port", str(self._ports[0]), "-address", "127.0.0.1"]
            self._epmd = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with (self.folder / "out.log").open("ab") as log:
            self._node = subprocess.Popen(
                [found], env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )

    def kill(self) -> None:
        """As a machine that loses its power."""
        if self._node is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait()
            self._node = None

    def close(self) -> None:
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    # -------------------------------------------------------------------------------------------- what tests ask of it

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Any]:
        connection = await aiormq.connect(self.url)
        try:
            yield await connection.channel(publisher_confirms=True)
        finally:
            await connection.close()

    async def depth(self, queue: str) -> int:
        """Messages that are ready; those a consumer holds are not among them."""
        async with self.channel() as channel:
            return int((await channel.queue_declare(queue, passive=True)).message_count)

    async def get(self, queue: str) -> Any:
        """The first message, taken out; None: there is none."""
        async with self.channel() as channel:
            message = await channel.basic_get(queue, no_ack=True)
            return None if isinstance(message.delivery, aiormq.spec.Basic.GetEmpty) else message
