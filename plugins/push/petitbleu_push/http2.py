"""HTTP/2 for many small requests at once (RFC 9113): one connection, its streams, and how each of them ends.

What matters most is to know whether the server may have acted on a request. It has not, and the request may go
elsewhere, when the server says REFUSED_STREAM, names a lower stream in GOAWAY (RFC 9113 8.7), or never got all of the
body. In every other case without an answer nobody knows.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error, StreamClosedError, TooManyStreamsError
from hpack import Encoder

if TYPE_CHECKING:
    from hyperframe.frame import Frame, GoAwayFrame

Headers = Sequence[tuple[bytes, bytes]]

LARGEST_ANSWER = 65_536
"""Bytes of an answer's body; push services say a few dozen."""
_LAST_STREAM = 2**30
_PING = b"petitbl\n"


class ConnectFailed(Exception):
    """No connection could be had."""


class Unprocessed(Exception):
    """The server has done nothing with the request: it may be made again, elsewhere."""


class Lost(Exception):
    """No answer came, and the server may have acted on the request."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class _Stream:
    answer: asyncio.Future[Response]
    timer: asyncio.TimerHandle
    since: float
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class _H2(H2Connection):
    """h2 takes GOAWAY for the end of the connection and then refuses the answers to what is under way, which RFC 9113
    6.8 has the server still give (python-hyper/h2 #1181)."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        state = self.state_machine.state
        received = super()._receive_goaway_frame(frame)
        self.state_machine.state = state
        return received


class _Plain(Encoder):
    """Writes texts as they are: Huffman's code saves a few bytes of each request and costs a quarter of its time."""

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        return super().encode(headers, huffman)


class Connection(asyncio.Protocol):
    """Ready for requests once `ready` is done. `changed` is called whenever there may be more room, or less.

    `limit` is how many requests it is given at a time at most; the server may allow fewer, and change its mind. After
    `ping` seconds of silence the server is asked whether it is there, and has `patience` seconds to say so.
    """

    def __init__(self, limit: int, ping: float, patience: float, changed: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._ping = ping
        self._patience = patience
        self._changed = changed
        self._h2 = _H2(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
            )
        )
        self._h2.encoder = _Plain()
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._unsent: dict[int, memoryview] = {}
        self._flushing = False
        self._heard = self._loop.time()
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.taken = 0
        """Places given away, each for one request at a time."""
        self.usable = True
        """Whether it takes new requests."""
        self.closed = False

    @property
    def room(self) -> int:
        """Most requests at a time, as both sides have it."""
        return min(self._limit, self._h2.remote_settings.max_concurrent_streams)

    @property
    def free(self) -> int:
        return self.room - self.taken if self.usable else 0

    # ------------------------------------------------------------------------------------------------ what is asked

    async def request(self, headers: Headers, body: bytes, timeout: float) -> Response:  # noqa: ASYNC109
        """The answer. Raises `Unprocessed` or `Lost`; whoever cancels it takes the request back."""
        number, answer = self._begin(headers, body, timeout)
        try:
            return await answer
        except asyncio.CancelledError:
            self._give_up(number, "taken back")
            raise

    def _begin(self, headers: Headers, body: bytes, timeout: float) -> tuple[int, asyncio.Future[Response]]:
        if not self.usable:
            raise Unprocessed("the connection is being closed")
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, headers)
        except TooManyStreamsError:
            raise Unprocessed("the server has come to allow fewer requests at a time") from None
        except H2Error as error:
            self._retire()
            raise Unprocessed(f"the connection takes no request: {type(error).__name__}") from None
        if number > _LAST_STREAM:
            self._retire()
        answer: asyncio.Future[Response] = self._loop.create_future()
        timer = self._loop.call_later(timeout, self._late, number, timeout)
        self._streams[number] = _Stream(answer, timer, self._loop.time())
        self._unsent[number] = memoryview(body)
        self._send(number)
        self._flush_soon()
        return number, answer

    def _send(self, number: int) -> None:
        """As much of a body as the windows let through (RFC 9113 5.2)."""
        body = self._unsent[number]
        while True:
            size = min(len(body), self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if size <= 0 < len(body):
                self._unsent[number] = body
                return
            self._h2.send_data(number, bytes(body[:size]), end_stream=size == len(body))
            body = body[size:]
            if not body:
                del self._unsent[number]
                return

    def _send_all(self) -> None:
        for number in list(self._unsent):
            self._send(number)

    def _flush_soon(self) -> None:
        """One write for all that is asked in one turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # ------------------------------------------------------------------------------------------ what the server says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._flush()
        self._timer = self._loop.call_later(self._ping, self._beat)

    def data_received(self, data: bytes) -> None:
        self._flush()  # h2 forgets what is not yet written when GOAWAY comes
        self._heard = self._loop.time()
        self._asked = False
        try:
            for event in self._h2.receive_data(data):
                handle = self._HANDLERS.get(type(event))
                if handle is not None:
                    handle(self, event)
            # only now: h2 has long closed the streams that the last of these events are about
            self._send_all()
        except H2Error as error:
            self._flush()
            self.abort(f"the server breaks HTTP/2: {type(error).__name__}")
            return
        self._flush_soon()
        if not self.usable and not self._streams:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(f"connection lost: {exc}" if exc else "the server closed the connection")

    def _settings(self, _: RemoteSettingsChanged) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
        self._changed()

    def _headers(self, event: ResponseReceived) -> None:
        if (stream := self._streams.get(event.stream_id)) is not None:
            stream.headers = dict(event.headers)

    def _data(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        size = event.flow_controlled_length or 0
        if stream is None:  # given up meanwhile: what came for it still counts for the connection
            if size:
                self._h2.increment_flow_control_window(size)
            return
        if size:
            self._h2.acknowledge_received_data(size, event.stream_id)
        stream.body += event.data
        if len(stream.body) > LARGEST_ANSWER:
            self._cancel(event.stream_id, ErrorCodes.CANCEL)
            self._fail(event.stream_id, Lost(f"an answer of more than {LARGEST_ANSWER} bytes"))

    def _end(self, event: StreamEnded) -> None:
        unsent = self._unsent.pop(event.stream_id, None)
        stream = self._streams.pop(event.stream_id, None)
        if unsent is not None:
            self._cancel(event.stream_id, ErrorCodes.NO_ERROR)
        if stream is None:
            return
        stream.timer.cancel()
        if not stream.answer.done():
            status = stream.headers.get(b":status", b"")
            if status.isdigit():
                stream.answer.set_result(Response(int(status), stream.headers, bytes(stream.body)))
            else:
                stream.answer.set_exception(Lost("an answer without a status"))

    def _reset(self, event: StreamReset) -> None:
        code = _name(event.error_code)
        if event.error_code == ErrorCodes.REFUSED_STREAM:
            self._fail(event.stream_id, Unprocessed(f"the server reset the stream: {code}"))
        else:
            self._fail(event.stream_id, Lost(f"the server reset the stream: {code}"))

    def _goaway(self, event: ConnectionTerminated) -> None:
        said = f"the server says GOAWAY: {_name(event.error_code)}"
        if event.additional_data:
            said += " " + event.additional_data[:200].decode("ascii", "replace")
        last = event.last_stream_id or 0
        self._retire()
        for number in [number for number in self._streams if number > last]:
            self._fail(number, Unprocessed(said))

    _HANDLERS: Mapping[type[Event], Callable[[Connection, Any], None]] = {
        ResponseReceived: _headers,
        DataReceived: _data,
        StreamEnded: _end,
        StreamReset: _reset,
        RemoteSettingsChanged: _settings,
        ConnectionTerminated: _goaway,
        PingAckReceived: lambda *_: None,
    }

    # -------------------------------------------------------------------------------------------------- how it ends

    def _fail(self, number: int, error: Unprocessed | Lost) -> None:
        unsent = self._unsent.pop(number, None)
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.timer.cancel()
            if stream.answer.done():
                return
            if stream.headers.get(b":status") == b"200":
                # it was taken, whatever the rest of the answer would have been
                stream.answer.set_result(Response(200, stream.headers, bytes(stream.body)))
            else:
                stream.answer.set_exception(error if unsent is None else Unprocessed(str(error)))

    def _late(self, number: int, timeout: float) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        if self._heard < stream.since:
            self._retire()  # silent since before the request: most likely it leads nowhere any more
        self._give_up(number, f"no answer within {timeout:g} s")

    def _give_up(self, number: int, reason: str) -> None:
        if number in self._streams:
            self._cancel(number, ErrorCodes.CANCEL)
            self._fail(number, Lost(reason))
            self._flush_soon()

    def _cancel(self, number: int, code: ErrorCodes) -> None:
        with suppress(StreamClosedError):  # the server may have ended it in the same breath
            self._h2.reset_stream(number, code)

    def _beat(self) -> None:
        silent = self._loop.time() - self._heard
        if self._asked and silent >= self._patience:
            self.abort(f"the server did not answer a ping for {self._patience:g} s")
            return
        wait = self._ping - silent
        if wait <= 0:
            self._asked = True
            self._h2.ping(_PING)
            self._flush()
            wait = self._patience
        self._timer = self._loop.call_later(wait, self._beat)

    def _retire(self) -> None:
        """No new requests; those under way may end."""
        if self.usable:
            self.usable = False
            self._changed()
            if not self._streams:
                self._loop.call_soon(self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._streams:
            self._close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None and not self._transport.is_closing():
            self._h2.close_connection()
            self._flush()
            self._transport.close()

    def abort(self, reason: str) -> None:
        """At once, and hard: nothing that was given up may still trickle out."""
        if self._transport is not None:
            self._transport.abort()
        self._ended(reason)

    def close(self) -> None:
        """Say GOAWAY and close."""
        self._close()
        self._ended("the connection is being closed")

    def _ended(self, reason: str) -> None:
        if self.closed:
            return
        self.usable, self.closed = False, True
        if self._timer is not None:
            self._timer.cancel()
        for number in list(self._streams):
            self._fail(number, Lost(reason))
        if not self.ready.done():
            self.ready.set_exception(ConnectFailed(reason))
            self.ready.exception()  # seen, also where nobody waits any more
        self._changed()


def _name(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else f"error {code}"


async def connect(url: str, context: ssl.SSLContext, connection: Connection, seconds: float) -> None:
    """TCP, TLS and the first SETTINGS of the server, before which nothing is asked. Raises `ConnectFailed`."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            transport, _ = await loop.create_connection(
                lambda: connection, parts.hostname or "", port, ssl=context if tls else None
            )
            secured = transport.get_extra_info("ssl_object")
            if tls and secured.selected_alpn_protocol() != "h2":
                connection.abort("the server does not speak HTTP/2")
            await connection.ready
    except TimeoutError:
        connection.abort("no connection in time")
        raise ConnectFailed(f"no connection within {seconds:g} s") from None
    except OSError as error:
        raise ConnectFailed(f"no connection: {error.strerror or error}") from None
    except BaseException:
        connection.abort("given up")
        raise


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificate and host name are verified, always; HTTP/2 is agreed on by ALPN (RFC 7301)."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context
