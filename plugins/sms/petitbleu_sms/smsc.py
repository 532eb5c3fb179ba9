"""A message by way of one SMSC: its parts in order, no part twice, and what the answers make of the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from petitbleu import Attempt, Deferred, Delivered, Failed, Outcome, Scope, Unknown

from .addressing import calling_code, choose_sender, sender_kind
from .alphabet import encode_gsm
from .compose import Sms
from .connector import THROTTLED, Connector, NoSession
from .gateway_settings import Senders
from .outcomes import meaning, outcome_of
from .pdu import submit_body, tlv
from .receipts import canonical, reference_name
from .session import Answer, NoAnswer, Session
from .settings import Connector as ConnectorSettings
from .settings import Kind
from .spec import Status, Tag, status_name
from .text import parts

Address = tuple[int, int, bytes]

LONGEST_VALIDITY = 30 * 86400
"""Seconds that a relative `validity_period` is given; a longer one is left to the SMSC's default."""


class Smsc:
    """`now` is the time for people, `clock` seconds that are only compared with each other."""

    def __init__(
        self,
        connector: Connector,
        settings: ConnectorSettings,
        senders: Senders,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self.connector = connector
        self.name = connector.name
        self._settings = settings
        self._tables = (settings.senders, senders)
        self._now = now
        self._clock = clock
        self._service_type = settings.service_type.encode()
        self._source = lru_cache(maxsize=1024)(self._address)
        self._destination = settings.numbering.destination

    async def send(self, sms: Sms, attempt: Attempt) -> Outcome:
        """Raises what `attempt.admit` and `attempt.hand_off` raise."""
        settings = self._settings
        await attempt.admit(self.name, calling_code(sms.number), self.connector.at_once)
        bodies = self._bodies(sms)
        try:
            session = await self.connector.reserve(self._clock() + settings.timeouts.wait)
        except NoSession as none:
            return Deferred(self.name, str(none), Scope.PROVIDER)
        attempt.expect([name for index in range(len(bodies)) for name in self._lost(sms, index)])
        try:
            await attempt.hand_off(self.name)
        except BaseException:
            session.give_back()
            raise
        first: Answer | NoAnswer
        try:
            first = await self.connector.submit(bodies[0], session, self._patience(sms))
        except NoSession as none:
            return Deferred(self.name, str(none), Scope.PROVIDER)
        except NoAnswer as lost:
            first = lost
        if isinstance(first, Answer):
            if first.status != Status.ESME_ROK:
                outcome = outcome_of(self.name, first.status, settings.statuses)
                if first.status in THROTTLED and isinstance(outcome, Deferred):
                    return replace(outcome, retry_after=self.connector.pause)
                return outcome
            if len(bodies) == 1:
                return self._delivered(sms, [first])
        return self._whole(sms, [first, *await asyncio.gather(*(self._later(body) for body in bodies[1:]))])

    def _whole(self, sms: Sms, answers: Sequence[Answer | NoSession | NoAnswer]) -> Outcome:
        """What comes of a message whose first part is taken, or may be. No part goes out twice: so the message stays
        with this SMSC and comes to an end with this try."""
        ok: list[Answer] = []
        unsent = refused = lost = ""
        for number, answer in enumerate(answers, 1):
            part = f"part {number} of {len(answers)}" if len(answers) > 1 else "submit_sm"
            if isinstance(answer, NoSession):
                unsent = unsent or f"{part}: {answer}"
            elif isinstance(answer, NoAnswer):
                lost = lost or f"{part}: {answer}"
            elif answer.status != Status.ESME_ROK:
                refused = refused or f"{part}: {status_name(answer.status)}"
            else:
                ok.append(answer)
        if refused or unsent:
            text = f"{refused or unsent}; what was taken before it cannot be taken back, and is not sent twice"
            return Failed(self.name, text, Scope.MESSAGE, "incomplete")
        if lost:
            names: list[str] = []
            for index, answer in enumerate(answers):
                found = self._names(sms, index, answer) if isinstance(answer, Answer) else self._lost(sms, index)
                # a message is as well as its worst part: one that nothing will be heard of tells nothing
                if not found:
                    return Unknown(self.name, lost)
                names += found
            return Unknown(self.name, lost, tuple(names))
        return self._delivered(sms, ok)

    async def _later(self, body: bytes) -> Answer | NoSession | NoAnswer:
        """One further part, offered again where the SMSC or the connection has a passing trouble."""
        until = self._clock() + self._settings.timeouts.parts
        pause = self._settings.throttle.first
        while True:
            try:
                session: Session = await self.connector.reserve(until, first=True)
                answer = await self.connector.submit(body, session, until)
            except NoSession as none:
                if self._clock() + pause >= until:
                    return none
                await asyncio.sleep(pause)
                continue
            except NoAnswer as lost:
                return lost
            if answer.status == Status.ESME_ROK or self._clock() + pause >= until:
                return answer
            if meaning(answer.status, self._settings.statuses).outcome == "failed":
                return answer
            await asyncio.sleep(pause)

    # ----------------------------------------------------------------------------------------------------- in and out

    def _bodies(self, sms: Sms) -> list[bytes]:
        settings = self._settings
        source = self._source(sms.sender or choose_sender(self._tables, sms.brand, sms.number))
        kind = self._destination
        destination = (kind.ton, kind.npi, sms.number[1:].encode())
        validity = self._validity(sms)
        found = []
        for index, part in enumerate(parts(sms.text, settings.concatenation, sms.seed & 0xFFFF)):
            tlvs = part.tlvs
            if settings.user_message_reference:
                tlvs += tlv(Tag.USER_MESSAGE_REFERENCE, _reference(sms, index).to_bytes(2, "big"))
            found.append(
                submit_body(
                    self._service_type,
                    source,
                    destination,
                    validity,
                    sms.text.data_coding,
                    part.short_message,
                    tlvs,
                    part.header,
                )
            )
        return found

    def _address(self, sender: str) -> Address:
        if not sender:
            return 0, 0, b""
        kind: Kind = getattr(self._settings.numbering, sender_kind(sender))
        return kind.ton, kind.npi, encode_gsm(sender.lstrip("+"))

    def _patience(self, sms: Sms) -> float:
        """Until when a message may wait in its place: not beyond its expiration."""
        patience = self._settings.throttle.patience
        if sms.expiration is not None:
            patience = min(patience, (sms.expiration - self._now()).total_seconds())
        return self._clock() + patience

    def _validity(self, sms: Sms) -> bytes:
        """Relative: `YYMMDDhhmmss000R`; section 7.1.1."""
        if sms.expiration is None or not self._settings.validity_period:
            return b""
        seconds = int((sms.expiration - self._now()).total_seconds())
        if not 0 < seconds <= LONGEST_VALIDITY:
            return b""
        days, rest = divmod(seconds, 86400)
        return b"0000%02d%02d%02d%02d000R" % (days, rest // 3600, rest // 60 % 60, rest % 60)

    def _delivered(self, sms: Sms, answers: Sequence[Answer]) -> Delivered:
        awaits = tuple(name for index, answer in enumerate(answers) for name in self._names(sms, index, answer))
        reference = answers[0].message_id[:255].decode("latin-1")
        text = f"taken as {reference}" if len(answers) == 1 else f"{len(answers)} parts taken, the first as {reference}"
        return Delivered(self.name, text, Status.ESME_ROK.name, reference, awaits)

    def _names(self, sms: Sms, index: int, answer: Answer) -> list[str]:
        """What receipts will call a part that was taken."""
        identifier = answer.message_id[:255].decode("latin-1").strip()
        return [canonical(identifier)] if identifier else self._lost(sms, index)

    def _lost(self, sms: Sms, index: int) -> list[str]:
        """What receipts will call a part whose identifier is not known."""
        if not self._settings.user_message_reference:
            return []
        return [reference_name(sms.number, _reference(sms, index))]


def _reference(sms: Sms, index: int) -> int:
    """16 bits for one part in one try; never 0, which some take for none."""
    return ((sms.seed >> 16) + sms.attempt * 257 + index) % 0xFFFF + 1
