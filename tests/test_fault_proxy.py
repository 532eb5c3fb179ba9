"""The fault proxy: each harm is the one that is asked for, on TCP and on Unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from faults.proxy import (
    Address,
    Behaviour,
    CutAfter,
    Delay,
    Drop,
    Hang,
    Mute,
    Pass,
    Proxy,
    Reset,
    Throttle,
    faulty,
)


class Echo:
    """Answers each line with itself in capitals, and remembers what came."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line.upper())
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, line: bytes, seconds: float = 5.0) -> bytes:
        """The answer; b"" when the connection ends without one."""
        self._writer.write(line)
        try:
            return await asyncio.wait_for(self._reader.readline(), seconds)
        except ConnectionError:
            return b""

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Client]:
    if isinstance(address, Path):
        client = Client(*await asyncio.open_unix_connection(str(address)))
    else:
        client = Client(*await asyncio.open_connection(*address))
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture(params=["tcp", "unix"])
async def proxy(request: pytest.FixtureRequest, echo: Echo, tmp_path: Path) -> AsyncIterator[Proxy]:
    target: Address
    if request.param == "unix":
        server = await asyncio.start_unix_server(echo.serve, str(tmp_path / "echo"))
        target, at = tmp_path / "echo", tmp_path / "proxy"
    else:
        server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
        target, at = server.sockets[0].getsockname(), None
    async with server:
        async with faulty(target, at) as made:
            yield made
        server.close()


async def test_it_passes_until_told_otherwise(proxy: Proxy) -> None:
    async with connected(proxy.address) as one, connected(proxy.address) as other:
        assert await one.ask(b"hello\n") == b"HELLO\n"
        assert await other.ask(b"there\n") == b"THERE\n"
        assert proxy.connections == 2


async def test_a_client_that_leaves_is_left(proxy: Proxy) -> None:
    async with connected(proxy.address) as one:
        await one.ask(b"hello\n")
    async with asyncio.timeout(5):
        while proxy.connections:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("behaviour", "least"),
    [(Delay(0.1), 0.2), (Delay(0.1, "s2c"), 0.1), (Delay(0.1, "c2s"), 0.1), (Throttle(60), 0.2)],
)
async def test_slowness_is_as_long_as_asked(proxy: Proxy, behaviour: Behaviour, least: float) -> None:
    clock = asyncio.get_running_loop().time
    async with connected(proxy.address) as one:
        await one.ask(b"first\n")
        proxy.does(behaviour)
        began = clock()
        assert await one.ask(b"again\n") == b"AGAIN\n"
        took = clock() - began
    assert least * 0.95 <= took < least + 2


async def test_one_way_vanishes_and_the_other_passes(proxy: Proxy, echo: Echo) -> None:
    async with connected(proxy.address) as one:
        proxy.does(Drop("s2c"))
        with pytest.raises(TimeoutError):
            await one.ask(b"unanswered\n", 0.2)
        proxy.does(Drop("c2s"))
        with pytest.raises(TimeoutError):
            await one.ask(b"unheard\n", 0.2)
        proxy.does(Pass())
        assert await one.ask(b"back\n") == b"BACK\n"
    assert echo.heard == [b"unanswered\n", b"back\n"]


async def test_what_hangs_goes_on_where_it_was(proxy: Proxy, echo: Echo) -> None:
    async with connected(proxy.address) as one:
        proxy.does(Hang())
        waiting = asyncio.create_task(one.ask(b"patience\n"))
        await asyncio.wait({waiting}, timeout=0.2)
        assert (waiting.done(), echo.heard) == (False, [])
        proxy.does(Pass())
        assert await waiting == b"PATIENCE\n"


async def test_open_and_new_connections_are_reset(proxy: Proxy, echo: Echo) -> None:
    async with connected(proxy.address) as one:
        await one.ask(b"before\n")
        proxy.does(Reset())
        assert await one.ask(b"lost\n") == b""
    async with connected(proxy.address) as other:
        assert await other.ask(b"lost\n") == b""
    proxy.does(Pass())
    async with connected(proxy.address) as other:
        assert await other.ask(b"after\n") == b"AFTER\n"
    assert echo.heard == [b"before\n", b"after\n"]


async def test_the_answer_to_what_matches_is_swallowed(proxy: Proxy, echo: Echo) -> None:
    """What matched was heard; every second time, twice at most."""
    proxy.does(CutAfter(rb"commit \d", every=2, most=2))
    answers = []
    for number in range(8):
        async with connected(proxy.address) as one:
            assert await one.ask(b"begin\n") == b"BEGIN\n"
            answers.append(await one.ask(b"commit %d\n" % number))
    cut = [number for number, answer in enumerate(answers) if not answer]
    assert (cut, proxy.cuts) == ([1, 3], 2)
    assert echo.heard.count(b"begin\n") == 8
    assert len(echo.heard) == 16


async def test_a_pattern_is_found_across_the_border_of_two_chunks(proxy: Proxy, echo: Echo) -> None:
    proxy.does(CutAfter(rb"\r\n\.\r\n"))
    async with connected(proxy.address) as one:
        assert await one.ask(b"text\r\n") == b"TEXT\r\n"
        assert await one.ask(b".\r\n") == b""
    assert echo.heard == [b"text\r\n", b".\r\n"]


async def test_an_answer_can_be_what_matches(proxy: Proxy, echo: Echo) -> None:
    proxy.does(CutAfter(rb"HELLO", direction="s2c"))
    async with connected(proxy.address) as one:
        assert await one.ask(b"hello\n") == b"HELLO\n"
        assert await one.ask(b"more\n") == b""
    assert echo.heard == [b"hello\n"]


async def test_only_the_connection_that_said_it_falls_silent(proxy: Proxy, echo: Echo) -> None:
    proxy.does(Mute(rb"listen"))
    async with connected(proxy.address) as one, connected(proxy.address) as other:
        assert await one.ask(b"listen\n") == b"LISTEN\n"
        with pytest.raises(TimeoutError):
            await one.ask(b"hello\n", 0.2)
        assert await other.ask(b"hello\n") == b"HELLO\n"
    assert echo.heard == [b"listen\n", b"hello\n"]
