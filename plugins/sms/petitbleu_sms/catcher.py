"""A stand-in for the SMSC that `petitbleu demo` starts: takes every message, joins its parts, sends receipts."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from petitbleu import Catcher, Caught

from .alphabet import decode_gsm
from .compose import CHANNEL
from .pdu import Pdu, PduRefused, Value, decode, encode
from .settings import SmsSettings
from .spec import (
    DATA_CODING_UCS2,
    ESM_RECEIPT,
    ESM_UDHI,
    HEADER,
    RECEIPT_REQUESTED,
    RESPONSE,
    Command,
    MessageState,
    Status,
    Tag,
)

PORT = 2775
"""Where the sample configuration expects an SMSC; a free one where that is taken."""
RECEIPT = 0.2
"""Seconds from a message to its receipt."""
NOBODY = "0000"
"""A number that ends so is nobody's: its receipts say that the message could not be delivered."""
LONGEST = 70_000
"""Octets of a unit."""

Take = Callable[[Caught], None]
Piece = tuple[int, int, int, bytes]
"""The reference of the whole, its number of parts, the number of this one, and its text."""


def piece_of(pdu: Pdu) -> Piece:
    """Whatever way the parts of a text hold together; a whole text is its only part."""
    octets = pdu.octets("short_message") or pdu.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")
    if Tag.SAR_TOTAL_SEGMENTS in pdu.tlvs:
        tags = (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM)
        reference, total, number = (int.from_bytes(pdu.tlvs.get(tag, b"\1"), "big") for tag in tags)
        return reference, total, number, octets
    if pdu.number("esm_class") & ESM_UDHI and octets[1:2] in (b"\0", b"\x08") and len(octets) > octets[0]:
        *reference_octets, total, number = octets[3 : octets[0] + 1]
        return int.from_bytes(bytes(reference_octets), "big"), total, number, octets[octets[0] + 1 :]
    return 0, 1, 1, octets


class Smsc:
    """Of one connection."""

    def __init__(self, writer: asyncio.StreamWriter, take: Take, numbers: itertools.count[int], receipt: float) -> None:
        self._writer = writer
        self._take = take
        self._numbers = numbers
        self._receipt = receipt
        self._sequence = itertools.count(1)
        self._pieces: dict[tuple[str, int], dict[int, tuple[str, bytes]]] = {}

    def answer(self, pdu: Pdu) -> bool:
        """Whether the session goes on."""
        fields: dict[str, Value] = {}
        if pdu.command == Command.SUBMIT_SM:
            fields["message_id"] = self._submitted(pdu).encode()
        elif pdu.command in (Command.BIND_TRANSCEIVER, Command.BIND_TRANSMITTER, Command.BIND_RECEIVER):
            fields["system_id"] = b"petitbleu"
        elif pdu.command not in (Command.ENQUIRE_LINK, Command.UNBIND):
            if not pdu.command & RESPONSE:
                self._write(Pdu(Command.GENERIC_NACK, pdu.sequence, Status.ESME_RINVCMDID))
            return True
        self._write(Pdu(pdu.command | RESPONSE, pdu.sequence, 0, fields))
        return pdu.command != Command.UNBIND

    def _submitted(self, pdu: Pdu) -> str:
        name = f"{next(self._numbers)}"
        reference, total, number, octets = piece_of(pdu)
        key = pdu.text("destination_addr"), reference
        pieces = self._pieces.setdefault(key, {})
        pieces[number] = name, octets
        if len(pieces) >= total:
            del self._pieces[key]
            self._take(caught(pdu, [pieces[one] for one in sorted(pieces)]))
        if pdu.number("registered_delivery") & RECEIPT_REQUESTED:
            asyncio.get_running_loop().call_later(self._receipt, self._deliver, pdu, name)
        return name

    def _deliver(self, pdu: Pdu, name: str) -> None:
        """The receipt; appendix B."""
        nobody = pdu.text("destination_addr").endswith(NOBODY)
        state = MessageState.UNDELIVERABLE if nobody else MessageState.DELIVERED
        said = "dlvrd:000 stat:UNDELIV err:001" if nobody else "dlvrd:001 stat:DELIVRD err:000"
        fields: dict[str, Value] = {
            "source_addr_ton": pdu.number("dest_addr_ton"),
            "source_addr_npi": pdu.number("dest_addr_npi"),
            "source_addr": pdu.octets("destination_addr"),
            "destination_addr": pdu.octets("source_addr"),
            "esm_class": ESM_RECEIPT,
            "short_message": f"id:{name} sub:001 {said} text:".encode(),
        }
        tlvs: dict[int, bytes] = {
            Tag.RECEIPTED_MESSAGE_ID: name.encode() + b"\0",
            Tag.MESSAGE_STATE: bytes((state,)),
        }
        self._write(Pdu(Command.DELIVER_SM, next(self._sequence), 0, fields, tlvs))

    def _write(self, pdu: Pdu) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(pdu))


def caught(pdu: Pdu, pieces: list[tuple[str, bytes]]) -> Caught:
    octets = b"".join(piece for _, piece in pieces)
    wide = pdu.number("data_coding") == DATA_CODING_UCS2
    text = octets.decode("utf-16-be", "replace") if wide else decode_gsm(octets)
    sender, to = decode_gsm(pdu.octets("source_addr")), f"+{pdu.text('destination_addr')}"
    checks = {
        "has no sender": bool(sender),
        "has no text": bool(text.strip()),
        "shows template code": "{{" not in text and "{%" not in text,
        "has half a character": "\ufffd" not in text,
        "asks for no receipt": bool(pdu.number("registered_delivery") & RECEIPT_REQUESTED),
    }
    parts = f"{len(pieces)} part{'s' * (len(pieces) > 1)}, {'UCS-2' if wide else 'GSM alphabet'}"
    head = (f"From:    {sender}", f"To:      {to}", f"SMS:     {parts}", "")
    body = re.sub(r"[\x00-\x09\x0b-\x1f]", " ", text).split("\n")
    return Caught(
        CHANNEL, to, pieces[0][0], (*head, *body), tuple(words for words, right in checks.items() if not right)
    )


@asynccontextmanager
async def catching(
    take: Take, host: str = "127.0.0.1", port: int = PORT, receipt: float = RECEIPT
) -> AsyncIterator[int]:
    """Listen; gives the port. `receipt` is in seconds."""
    numbers = itertools.count(1)
    writers: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        smsc = Smsc(writer, take, numbers, receipt)
        writers.add(writer)
        try:
            going = True
            while going:
                head = await reader.readexactly(4)
                length = int.from_bytes(head, "big")
                if not HEADER <= length <= LONGEST:
                    break
                going = smsc.answer(decode(head + await reader.readexactly(length - 4)))
                await writer.drain()
        except (asyncio.IncompleteReadError, PduRefused, ConnectionError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    try:
        server = await asyncio.start_server(talk, host, port)
    except OSError:
        server = await asyncio.start_server(talk, host, 0)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for writer in list(writers):
                writer.close()


def catcher(settings: SmsSettings) -> Catcher:
    """In place of every SMSC. Gateways are led nowhere, so that nothing leaves this machine."""

    @asynccontextmanager
    async def in_place(take: Take) -> AsyncIterator[Mapping[str, Any]]:
        async with catching(take) as port:
            smsc = {"host": "127.0.0.1", "port": port, "security": "plain"}
            nowhere = {"url": "http://127.0.0.1:9/"}
            yield {
                "connectors": dict.fromkeys(settings.connectors, smsc),
                "gateways": dict.fromkeys(settings.gateways, nowhere),
            }

    start: Callable[[Take], AbstractAsyncContextManager[Mapping[str, Any]]] = in_place
    return Catcher("SMSC", start)
