"""All providers and what they have in common: the plugin's state."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from petitbleu import Attempt, Check, Deferred, Failed, Message, Outcome, Scope, Services, Unknown

from .compose import MessageRefused, compose
from .connector import Connector
from .gateway import HttpGateway, open_gateway
from .pdu import Pdu
from .receipts import is_receipt, read_receipt
from .recorder import Recorder
from .session import Session
from .settings import SmsSettings
from .smsc import Smsc
from .spec import Status

logger = logging.getLogger("petitbleu.sms")

SETTLE = 5.0
"""Seconds for storing receipts at a stop. Of those that are not stored by then the SMSC tells again."""


@dataclass(slots=True)
class Trouble:
    """The last failure of a provider, until something goes well again."""

    at: float
    text: str


class Messenger:
    """`clock` counts seconds and is only compared with itself."""

    def __init__(
        self,
        settings: SmsSettings,
        smscs: Mapping[str, Smsc],
        gateways: Mapping[str, HttpGateway],
        recorder: Recorder,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._providers: Mapping[str, Smsc | HttpGateway] = {**smscs, **gateways}
        self._names = tuple(self._providers)
        self._clock = clock
        self._troubles: dict[str, Trouble] = {}
        self._used: set[str] = set()
        self.smscs = smscs
        self.recorder = recorder

    async def deliver(self, message: Message, attempt: Attempt) -> Outcome:
        try:
            sms = compose(message, self.settings, attempt.number)
        except MessageRefused as refused:
            return Failed("", str(refused), Scope.MESSAGE)
        wanted = message.content.fields.get("provider")
        if wanted and wanted not in self._providers:
            known = ", ".join(self._names)
            return Deferred("", f"the template names the provider {wanted!r}; plugins.sms has {known}", Scope.US)
        name = attempt.pick((wanted,) if wanted else self._names)
        outcome = await self._providers[name].send(sms, attempt)
        self._remember(name, outcome)
        return outcome

    def _remember(self, name: str, outcome: Outcome) -> None:
        self._used.add(name)
        own = isinstance(outcome, Unknown) or getattr(outcome, "scope", None) is Scope.PROVIDER
        if own:
            self._troubles[name] = Trouble(self._clock(), outcome.text)
        else:
            self._troubles.pop(name, None)

    def checks(self) -> list[Check]:
        """From what was seen last: nothing is sent to find out."""
        return [self._check(name) for name in self._names]

    def _check(self, name: str) -> Check:
        smsc = self.smscs.get(name)
        if smsc is not None and smsc.connector.trouble:
            # who has nothing to send by it can do without it
            unused = name not in self._used
            return Check(name, unused, smsc.connector.trouble, warning=unused)
        trouble = self._troubles.get(name)
        if trouble is not None and (ago := self._clock() - trouble.at) < self.settings.failure_memory:
            return Check(name, False, f"{ago:.0f} s ago: {trouble.text}")
        last = "the last message went well" if name in self._used else "nothing sent yet"
        if smsc is None:
            return Check(name, True, last)
        connector = smsc.connector
        text = f"{connector.bound} of {connector.wanted} sessions bound; {last}"
        if connector.throttled:
            text += f"; told {connector.throttled} times to send less"
        if self.recorder.refused:
            text += f"; {self.recorder.refused} receipts sent away, too many were waiting"
        return Check(name, True, text, warning=connector.bound < connector.wanted)


def listener(name: str, settings: SmsSettings, recorder: Recorder) -> Callable[[Session, Pdu], None]:
    """What is done with what an SMSC delivers: receipts are stored and then acknowledged, all else is acknowledged."""
    connector = settings.connectors[name]
    zone = ZoneInfo(connector.time_zone)

    def heard(session: Session, pdu: Pdu) -> None:
        receipt = None
        try:
            if is_receipt(pdu):
                receipt = read_receipt(
                    name, pdu, connector.message_ids, connector.receipt_errors, zone, settings.reply_length
                )
                if receipt is None:
                    logger.warning("%s: a receipt names no message", name)
        except Exception:
            # one that cannot be read must neither end the session nor come again for ever
            logger.exception("%s: a receipt cannot be read", name)
        if receipt is None:
            session.acknowledge(pdu, Status.ESME_ROK)
            return
        recorder.take(
            receipt,
            # section 5.1.3: a temporary error of the receiver; the SMSC tries again
            lambda stored: session.acknowledge(pdu, Status.ESME_ROK if stored else Status.ESME_RX_T_APPN),
        )

    return heard


@asynccontextmanager
async def open_messenger(
    settings: SmsSettings, services: Services, draw: Callable[[], float] = random.random
) -> AsyncIterator[Messenger]:
    """Sessions are bound in the background, by processes that deliver; nobody waits for an SMSC here."""
    loop = asyncio.get_running_loop()
    recorder = Recorder(services.record_receipts, settings.receipts_waiting)
    smscs = {}
    for name, one in settings.connectors.items():
        connector = Connector(name, one, listener(name, settings, recorder), draw)
        smscs[name] = Smsc(connector, one, settings.senders, services.now, loop.time)
    async with AsyncExitStack() as stack:
        gateways = {
            name: await stack.enter_async_context(
                open_gateway(name, one, settings.senders, settings.reply_length, services.now)
            )
            for name, one in settings.gateways.items()
        }
        if services.delivers:
            for smsc in smscs.values():
                smsc.connector.start()
        try:
            yield Messenger(settings, smscs, gateways, recorder, loop.time)
        finally:
            # what was heard is stored and acknowledged while the sessions are there
            await recorder.settle(SETTLE)
            await asyncio.gather(*(smsc.connector.close() for smsc in smscs.values()))
            await recorder.settle(SETTLE)
