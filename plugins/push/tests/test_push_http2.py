"""The connection by itself, before servers that say whatever they like."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu_push.http2 import ConnectFailed, Connection, Lost, Response, Unprocessed
from petitbleu_push.pool import NoRoom, Pool
from talking import talking

HEADERS = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/3/device/1f")]


class Wire(asyncio.Transport):
    """What is written stays here."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True


class Far:
    """h2's other side, for answers that are right."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.initiate_connection()

    def read(self, wire: Wire) -> list[Any]:
        data, wire.written = wire.written, b""
        return self.h2.receive_data(data)

    def said(self) -> bytes:
        return self.h2.data_to_send()


def joined(limit: int = 10) -> tuple[Connection, Wire, Far]:
    connection, wire, far = Connection(limit, 60, 10, lambda: None), Wire(), Far()
    connection.connection_made(wire)
    far.read(wire)
    connection.data_received(far.said())
    assert connection.ready.done()
    return connection, wire, far


async def asked(connection: Connection, count: int, body: bytes = b"{}") -> list[asyncio.Task[Response]]:
    tasks = [asyncio.create_task(connection.request(HEADERS, body, 5)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def ends(tasks: list[asyncio.Task[Response]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nonsense_ends_every_request_and_raises_nothing(chunks: list[bytes], after_settings: bool) -> None:
    async def run() -> None:
        connection, _, far = joined()
        tasks = await asked(connection, 3)
        for chunk in [far.said(), *chunks] if after_settings else chunks:
            connection.data_received(chunk)
        connection.connection_lost(None)
        assert all(isinstance(end, Lost | Unprocessed | Response) for end in await ends(tasks))
        assert connection.closed
        with pytest.raises(Unprocessed):
            await connection.request(HEADERS, b"{}", 5)

    asyncio.run(run())


FRAME = st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40))


@given(st.lists(FRAME, max_size=8))
@settings(max_examples=300, deadline=None)
def test_frames_of_every_kind_end_every_request_and_raise_nothing(
    frames: list[tuple[int, int, int, bytes]],
) -> None:
    async def run() -> None:
        connection, _, _ = joined()
        tasks = await asked(connection, 3)
        for kind, flags, stream, content in frames:
            connection.data_received(len(content).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + content)
        connection.connection_lost(None)
        assert all(isinstance(end, Lost | Unprocessed | Response) for end in await ends(tasks))

    asyncio.run(run())


@given(st.lists(st.integers(0, 12), max_size=4), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_goaway_divides_what_was_read_from_what_was_not(answered: list[int], last: int) -> None:
    """Whatever was answered before, and wherever GOAWAY draws the line (odd numbers are ours)."""

    async def run() -> None:
        connection, wire, far = joined(20)
        tasks = await asked(connection, 12)
        numbers = [event.stream_id for event in far.read(wire) if isinstance(event, RequestReceived)]
        done = {numbers[at] for at in answered if at < len(numbers)}
        for number in done:
            far.h2.send_headers(number, [(":status", "200")], end_stream=True)
        connection.data_received(far.said())
        far.h2.close_connection(last_stream_id=last)
        connection.data_received(far.said())
        assert not connection.usable
        connection.connection_lost(None)
        for number, end in zip(numbers, await ends(tasks), strict=True):
            expected = Response if number in done else Unprocessed if number > last else Lost
            assert type(end) is expected, number

    asyncio.run(run())


async def test_a_farewell_takes_no_request_along() -> None:
    """GOAWAY comes when a request is asked, but not yet written: it still goes out, and its answer counts."""
    connection, wire, far = joined()
    task = asyncio.create_task(connection.request(HEADERS, b"{}", 5))
    await asyncio.sleep(0)
    assert not any(isinstance(event, RequestReceived) for event in far.read(wire))
    far.h2.close_connection(last_stream_id=2**31 - 1)
    goaway = far.said()
    connection.data_received(goaway)
    far.h2.state_machine.state = ConnectionState.SERVER_OPEN  # h2 ends with GOAWAY on this side too
    assert any(isinstance(event, RequestReceived) for event in far.read(wire))
    far.h2.send_headers(1, [(":status", "200")], end_stream=True)
    connection.data_received(far.said())
    assert (await task).status == 200
    assert wire.ended


async def test_a_request_whose_body_is_not_out_was_not_processed() -> None:
    """The window is closed before the end of the body: nobody can have acted on it."""
    connection, wire, far = joined()
    far.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    connection.data_received(far.said())
    (task,) = await asked(connection, 1, b"x" * 100)
    events = far.read(wire)
    assert not any(isinstance(event, StreamEnded) for event in events)
    connection.connection_lost(None)
    assert isinstance((await ends([task]))[0], Unprocessed)


@pytest.mark.parametrize("code", [ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR])
async def test_a_stream_that_is_reset_as_room_for_its_body_comes_takes_no_other_along(code: ErrorCodes) -> None:
    """Both in one piece of what is read: h2 has closed the stream by the time we hear of the room."""
    connection, wire, far = joined()
    tasks = await asked(connection, 2, b"x" * 60_000)
    first, second = [event.stream_id for event in far.read(wire) if isinstance(event, RequestReceived)]
    far.h2.increment_flow_control_window(60_000)
    far.h2.reset_stream(second, code)
    far.h2.send_headers(first, [(":status", "200")], end_stream=True)
    connection.data_received(far.said())
    answered, reset = await ends(tasks)
    assert isinstance(answered, Response)
    assert isinstance(reset, Unprocessed)
    assert connection.usable


async def test_an_answer_before_the_end_of_the_body_counts() -> None:
    """As a server does that has seen enough."""
    connection, wire, far = joined()
    far.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    connection.data_received(far.said())
    (task,) = await asked(connection, 1, b"x" * 100)
    far.read(wire)
    far.h2.send_headers(1, [(":status", "413")], end_stream=True)
    connection.data_received(far.said())
    (end,) = await ends([task])
    assert isinstance(end, Response)
    assert end.status == 413
    (again,) = await asked(connection, 1, b"x")
    far.read(wire)
    far.h2.send_headers(3, [(":status", "200")], end_stream=True)
    connection.data_received(far.said())
    assert (await again).status == 200


@pytest.mark.parametrize("status", ["200", "400"])
async def test_a_request_that_was_taken_is_so_though_the_rest_of_the_answer_is_lost(status: str) -> None:
    """A refusal without its reason says too little."""
    connection, wire, far = joined()
    (task,) = await asked(connection, 1)
    far.read(wire)
    far.h2.send_headers(1, [(":status", status)])
    connection.data_received(far.said())
    connection.connection_lost(None)
    (end,) = await ends([task])
    assert type(end) is (Response if status == "200" else Lost)


async def test_room_follows_settings_and_never_exceeds_the_own_limit() -> None:
    connection, _, far = joined(10)
    for theirs, room in ((1, 1), (1000, 10), (0, 0), (7, 7)):
        far.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: theirs})
        connection.data_received(far.said())
        assert connection.room == room
        assert connection.free == room


async def test_a_pool_that_is_closed_keeps_nobody_waiting() -> None:

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(silent) as port:
        pool = Pool(f"http://127.0.0.1:{port}", ssl.create_default_context(), 1, 10, 5, 5, 60)
        waiting = [asyncio.create_task(pool.reserve()) for _ in range(3)]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(pool.close(), 2)
        found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 2)
        assert all(isinstance(one, Exception) and not isinstance(one, NoRoom) for one in found)


async def test_a_server_that_takes_leave_as_it_greets_is_not_called_without_end() -> None:
    """As one does that is being drained, or does not want us: whoever waits hears of it at once."""
    calls = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        far = Far()
        far.h2.close_connection(last_stream_id=0)
        writer.write(far.said())
        await reader.read()

    async with talking(greet) as port:
        pool = Pool(f"http://127.0.0.1:{port}", ssl.create_default_context(), 1, 10, 1.0, 1.0, 60)
        with pytest.raises(ConnectFailed, match="takes no request"):
            await pool.reserve()
        assert calls == 1
        await pool.close()


async def test_a_server_that_wants_no_second_connection_is_not_asked_for_one_with_every_request() -> None:
    calls = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            writer.write(Far().said())
            await reader.read()

    async with talking(greet) as port:
        pool = Pool(f"http://127.0.0.1:{port}", ssl.create_default_context(), 2, 1, 5.0, 1.0, 60)
        connection = await pool.reserve()
        for _ in range(20):
            waiting = asyncio.create_task(pool.reserve())
            await asyncio.sleep(0.02)
            pool.release(connection)
            assert await waiting is connection
        assert calls == 2
        await pool.close()
