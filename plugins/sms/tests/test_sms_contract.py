"""The plugin keeps the contract of channels, by an SMSC and by an HTTP gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from aiohttp import web
from petitbleu.testing import Answer, ChannelContract, HttpProvider, Provider
from petitbleu_sms.catcher import piece_of
from petitbleu_sms.pdu import Pdu, Value, decode, encode
from petitbleu_sms.spec import RESPONSE, Command, Status

STATUS = {
    Answer.ACCEPT: 0,
    Answer.REFUSE_ADDRESS: Status.ESME_RINVDSTADR,
    Answer.REFUSE_MESSAGE: Status.ESME_RX_R_APPN,
    Answer.LATER: Status.ESME_RSYSERR,
}
QUICK = {"wait": 2, "connect": 2, "response": 5, "unbind": 0.2, "parts": 5}


class Smsc(Provider):
    """Takes a text when its last part is in."""

    def __init__(self) -> None:
        super().__init__()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pieces: dict[tuple[str, int], dict[int, bytes]] = {}
        self._port = 0

    async def open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._talk, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]
            main = {"host": "127.0.0.1", "port": self._port, "timeouts": QUICK, "reconnect": {"first": 0.02}}
            self.settings = {"connectors": {"main": main}, "senders": {"*": {"*": "Shop"}}}

    async def close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readexactly(4)
                pdu = decode(head + await reader.readexactly(int.from_bytes(head, "big") - 4))
                # whoever has not been answered yet keeps nobody else waiting
                task = asyncio.create_task(self._answer(pdu, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, pdu: Pdu, writer: asyncio.StreamWriter) -> None:
        status, fields = 0, dict[str, Value]()
        if pdu.command == Command.SUBMIT_SM:
            answer = await self._submitted(pdu)
            if answer not in STATUS:
                writer.transport.abort()
                return
            status, fields = STATUS[answer], {"message_id": f"{pdu.sequence}".encode()}
        elif pdu.command & RESPONSE:
            return
        if not writer.is_closing():
            writer.write(encode(Pdu(pdu.command | RESPONSE, pdu.sequence, status, {} if status else fields)))

    async def _submitted(self, pdu: Pdu) -> Answer:
        reference, total, number, octets = piece_of(pdu)
        to = pdu.text("destination_addr")
        pieces = self._pieces.setdefault((to, reference), {})
        pieces[number] = octets
        if len(pieces) < total:
            return Answer.ACCEPT
        del self._pieces[to, reference]
        return await self.take(to, b"".join(pieces[one] for one in sorted(pieces)).decode("latin-1"))


class SmsContract(ChannelContract):
    plugin = channel = "sms"
    attributes = MappingProxyType({"mobilePhone": "+33612345678"})
    template = MappingProxyType({"body.txt.j2": "{{ rtEvent.ctx.text }}"})


class TestSmpp(SmsContract):
    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with Smsc().listening() as smsc:
            yield smsc


class Gateway(HttpProvider):
    def respond(self, answer: Answer) -> web.StreamResponse:
        if answer is not Answer.ACCEPT:
            return super().respond(answer)
        return web.json_response({"id": f"m-{len(self.received)}"})


async def _read(request: web.BaseRequest) -> tuple[str, str, str]:
    body = json.loads(await request.read())
    return body["to"], body["text"], request.headers["Idempotency-Key"]


class TestGateway(SmsContract):
    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with Gateway(_read, wait=900).listening() as gateway:
            one: dict[str, Any] = {
                "url": f"{gateway.url}/messages",
                "headers": {"Authorization": "Bearer {{ secrets.token }}", "Idempotency-Key": "{{ key }}"},
                "json": {"to": "{{ to }}", "from": "{{ sender }}", "text": "{{ text }}"},
                "secrets": {"token": "s3cret-of-the-gateway"},
                "id": "id",
                "refusals": [{"status": 422, "scope": "address"}, {"status": 400, "scope": "message"}],
            }
            gateway.settings = {"gateways": {"main": one}, "senders": {"*": {"*": "Shop"}}}
            yield gateway
