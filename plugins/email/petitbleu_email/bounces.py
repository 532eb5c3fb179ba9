"""From a mail that came in to receipts: proved by a token, found to be about an event that is there, and stored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from petitbleu import Receipt, ReceiptState, Services

from .checks import CHANNEL
from .reports import Finding, read_report
from .tokens import Signer, Ticket

logger = logging.getLogger("petitbleu.email.bounces")

TAKEN = "250 2.0.0 taken"
UNKNOWN = "550 5.1.1 no such address here"
NO_REPORT = "550 5.7.1 this address takes feedback reports about our own messages, and nothing else"
LATER = "451 4.3.0 cannot be stored now, come again"


@dataclass(slots=True)
class Tally:
    """What became of the mails, since the start of the process."""

    recorded: int = 0
    ignored: int = 0
    refused: int = 0
    postponed: int = 0


@dataclass(frozen=True, slots=True)
class Desk:
    """Decides about recipients and mails; answers are replies of SMTP (RFC 5321 4.2)."""

    signer: Signer
    services: Services
    feedback: frozenset[str]
    """Local parts at which feedback reports are taken."""
    reply_length: int
    tally: Tally = field(default_factory=Tally)

    def takes(self, recipient: str) -> bool:
        """Whether mail to this address can be about a message of ours: without a look at the database."""
        known = self.signer.read_address(recipient) is not None or self.signer.local_part(recipient) in self.feedback
        self.tally.refused += not known
        return known

    async def take(self, sender: str, recipients: Sequence[str], mail: bytes) -> list[str]:
        """A reply for each recipient. Whoever is told 250 may forget the mail: what it says is stored."""
        finding = read_report(mail, sender in ("", "<>"), self.reply_length)
        tickets = [self._ticket(recipient, finding) for recipient in recipients]
        try:
            receipts = await self._receipts(tickets, finding)
            if receipts:
                await self.services.record_receipts(receipts)
        except Exception as error:
            # the database is away, or whatever else: the mail is safe with whoever brings it
            logger.warning("a bounce cannot be stored now", extra={"error": type(error).__name__})
            self.tally.postponed += 1
            return [LATER] * len(recipients)
        self.tally.recorded += len(receipts)
        self.tally.ignored += not receipts
        return [
            TAKEN if ticket or self.signer.read_address(to) else NO_REPORT
            for to, ticket in zip(recipients, tickets, strict=True)
        ]

    def _ticket(self, recipient: str, finding: Finding | None) -> Ticket | None:
        """Which message the mail is about: as a feedback report inside it proves, else as its return path does."""
        own = self.signer.read_address(recipient)
        claims = finding.claims if finding is not None and finding.state is ReceiptState.COMPLAINED else ()
        proved = (self.signer.read_address(claim) or self.signer.read(claim) for claim in claims)
        return next((ticket for ticket in proved if ticket is not None), own)

    async def _receipts(self, tickets: Sequence[Ticket | None], finding: Finding | None) -> list[Receipt]:
        if finding is None:
            return []
        receipts = []
        for ticket in dict.fromkeys(ticket for ticket in tickets if ticket is not None):
            event = await self.services.load_event(ticket.event)
            if event is not None and ticket.fits(event):
                receipts.append(_receipt(ticket, finding))
        return receipts


def _receipt(ticket: Ticket, finding: Finding) -> Receipt:
    return Receipt(
        channel=CHANNEL,
        provider=ticket.provider,
        state=finding.state,
        text=finding.text,
        event=ticket.event,
        attempt=ticket.attempt,
        code=finding.code,
        scope=finding.scope,
        permanent=finding.permanent,
        at=finding.at,
    )
