"""What a mail that came back says: a report for machines, or one that servers wrote before there were any.

RFC 3464 and RFC 6533 (delivery status notifications, in the multipart/report of RFC 6522), RFC 5965 (feedback reports);
without a report qmail's QSBMF, Exim's X-Failed-Recipients and what mail systems write in plain words. Automatic replies
(RFC 3834) say nothing about delivery.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime

from petitbleu import ReceiptState, Scope

from .mailtree import Fields, Piece, blocks_of, fields_of, pieces_of, split_head
from .tokens import HEADER
from .verdicts import judge

BLOCKS = 50
"""Of a delivery status notification: the first is about the message, the others about a recipient each."""
TEXT = 20_000
"""Characters of a text that are searched."""

ACTIONS = {
    "failed": ReceiptState.BOUNCED,
    "delayed": ReceiptState.UNDERWAY,
    "delivered": ReceiptState.RECEIVED,
    "relayed": ReceiptState.UNDERWAY,
    "expanded": ReceiptState.UNDERWAY,
}
"""RFC 3464 2.3.3. Relayed: to a server that reports nothing; expanded: to a list."""
COMPLAINTS = frozenset(("abuse", "fraud", "opt-out"))
"""Feedback types (RFC 5965 7.3, and one of its drafts) in which the recipient calls the message unwanted."""

_STATES = list(ReceiptState)
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_CLEAR_STATUS = re.compile(r"(?:\b[245]\d\d[ -]#?|#)([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_NOT_PRINTED = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff]+")
_QSBMF = re.compile(r"\s*Hi\. This is the\b")
_RETURNED = re.compile(
    r"\b(below this line|original message|unsent message|(copy of|returned) (the |your |this )?message)", re.IGNORECASE
)
"""In a line of dashes: where the message that came back begins. What stands there is ours, not the server's."""
_POSTMASTERS = re.compile(r"(mailer-daemon|postmaster|mdaemon)@|mail delivery (sub)?system", re.IGNORECASE)
_FAILED = re.compile(
    r"undeliver|deliver(y|ed).{0,30}(fail|error|problem)|fail(ed|ure).{0,30}(deliver|notice)|returned (e-?)?mail"
    r"|returning message|mail (system )?error|could not be delivered|unzustellbar|nicht zustellbar|non remis",
    re.IGNORECASE,
)
_DELAYED = re.compile(
    r"delay|warning: (could not|message)|this is a warning message only|not yet been delivered|not been delivered yet"
    r"|(still|continue|keep) (being )?(re)?try",
    re.IGNORECASE,
)
_REPLY = re.compile(
    r"(auto(matic|mated)?[ :_-]*(reply|response|answer)|out[ -]of[ -](the[ -])?office|vacation|abwesen"
    r"|automatische antwort|r[ée]ponse automatique|absence\b|respuesta autom|risposta autom)",
    re.IGNORECASE,
)
_JUNK = re.compile(r"complaint about message from [\d.:a-f]+$", re.IGNORECASE)
"""The subject of what Microsoft sends in place of a feedback report (its Junk Mail Reporting Program)."""
_REPLY_HEADERS = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponder",
    "x-auto-reply-from",
    "x-ms-exchange-inbox-rules-loop",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a mail says about the one that was sent. `claims` are the tokens and return paths found in a feedback
    report, to be proved; everything else came to a return path that proves itself."""

    state: ReceiptState
    text: str
    code: str = ""
    scope: Scope = Scope.MESSAGE
    permanent: bool = True
    at: datetime | None = None
    claims: tuple[str, ...] = ()


def read_report(mail: bytes, from_nobody: bool, longest: int = 500) -> Finding | None:
    """None: it says nothing about delivery. `from_nobody`: the envelope's sender was empty, as bounces have it.

    `longest` is how many characters of text are kept.
    """
    head = fields_of(split_head(mail[:TEXT].replace(b"\r\n", b"\n"))[0])
    pieces = list(pieces_of(mail))
    for kind, read in _READERS.items():
        # Google leaves it empty when it has nothing but words
        report = next((piece for piece in pieces if piece.kind == kind and piece.body.strip()), None)
        if report is not None:
            return read(report, pieces, head, longest)
    if _JUNK.match(head.get("subject", "")):
        return _complaint("abuse", "Microsoft", _claims(pieces), _date(head.get("date", "")), longest)
    return _words_of(pieces, head, longest) if from_nobody else None


# ------------------------------------------------------------------------------------ delivery status notifications


def _delivery_status(report: Piece, pieces: Sequence[Piece], head: Fields, longest: int) -> Finding | None:
    """Of several recipients, since a forwarder or list may report on each of its own, the worst counts."""
    found = [
        finding for block in blocks_of(report.body, BLOCKS) if (finding := _recipient(block, head, longest)) is not None
    ]
    return max(found, key=_weight, default=None)


def _weight(finding: Finding) -> tuple[int, bool, bool]:
    return _STATES.index(finding.state), finding.permanent, finding.scope is Scope.ADDRESS


def _recipient(block: Fields, head: Fields, longest: int) -> Finding | None:
    status = _first(_STATUS, block.get("status", ""))
    action = block.get("action", "").partition(" ")[0].lower()
    if not action and status:
        action = {"2": "delivered", "4": "delayed", "5": "failed"}[status[0]]
    state = ACTIONS.get(action)
    if state is None:
        return None
    words = block.get("diagnostic-code", "")
    kind, semicolon, rest = words.partition(";")
    text = rest.strip() if semicolon and " " not in kind.strip() else words
    if not status or status[1:3] == ".0":
        # servers that say "something failed" often repeat what a better one has told them
        status = _first(_STATUS, text) or status
    at = _date(block.get("last-attempt-date", "")) or _date(head.get("date", ""))
    text = _line(text, longest)
    if state is not ReceiptState.BOUNCED:
        return Finding(state, text or action, status, at=at)
    scope, permanent = judge(status, text)
    return Finding(state, text or "the report gives no reason", status, scope, permanent, at)


# ------------------------------------------------------------------------------------------------- feedback reports


def _feedback(report: Piece, pieces: Sequence[Piece], head: Fields, longest: int) -> Finding | None:
    fields = fields_of(report.body.strip(b"\n"))
    kind = fields.get("feedback-type", "").lower()
    if kind not in COMPLAINTS:
        return None
    claims = [fields.get("original-mail-from", ""), *_claims(pieces)]
    at = _date(fields.get("arrival-date", fields.get("received-date", ""))) or _date(head.get("date", ""))
    return _complaint(kind, fields.get("user-agent") or "somebody unnamed", claims, at, longest)


def _claims(pieces: Sequence[Piece]) -> Iterator[str]:
    """Of the messages in a report."""
    for piece in pieces:
        if piece.kind in ("message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers"):
            original = fields_of(split_head(piece.body)[0])
            yield original.get("return-path", "")
            yield original.get(HEADER.lower(), "")


def _complaint(kind: str, reporter: str, claims: Iterable[str], at: datetime | None, longest: int) -> Finding:
    text = _line(f"{kind}, reported by {reporter}", longest)
    return Finding(ReceiptState.COMPLAINED, text, scope=Scope.ADDRESS, at=at, claims=tuple(filter(None, claims)))


_READERS: dict[str, Callable[[Piece, Sequence[Piece], Fields, int], Finding | None]] = {
    "message/feedback-report": _feedback,
    "message/delivery-status": _delivery_status,
    "message/global-delivery-status": _delivery_status,
    # that somebody displayed the mail or deleted it (RFC 8098)
    "message/disposition-notification": lambda *_: None,
}

# ------------------------------------------------------------------------------------------------------- plain words


def _words_of(pieces: Sequence[Piece], head: Fields, longest: int) -> Finding | None:
    """A bounce in plain words: one that shows itself to be one, never just a mail that nobody sent."""
    text = next((piece.text for piece in pieces if piece.kind.startswith("text/")), "")[:TEXT]
    subject = _subject(head.get("subject", ""))
    qmail = _QSBMF.match(text) is not None
    sender = head.get("from", "")[:500]
    certain = qmail or "x-failed-recipients" in head or "mailer-daemon" in sender.lower()
    if not certain and (_is_reply(head, subject) or not (_POSTMASTERS.search(sender) or _FAILED.search(subject))):
        return None
    own = _before_the_message(text)
    at = _date(head.get("date", ""))
    status = _first(_CLEAR_STATUS, own)
    # the subject of the message may stand behind the server's: "Undeliverable: your parcel is delayed"
    delayed = _DELAYED.search(own) if status.startswith("4") else _DELAYED.search(subject)
    if not qmail and delayed and not _FAILED.search(subject):
        return Finding(ReceiptState.UNDERWAY, _line(subject, longest) or "delayed", status, at=at)
    said = _around(own, status) if status else _reason(own) if qmail else subject
    words = _line(said, longest) or "returned without a reason"
    if not status:
        return Finding(ReceiptState.BOUNCED, words, at=at)
    scope, permanent = judge(status, words)
    return Finding(ReceiptState.BOUNCED, words, status, scope, permanent, at)


def _is_reply(head: Fields, subject: str) -> bool:
    automatic = head.get("auto-submitted", "no").lower()
    return (
        automatic.startswith(("auto-replied", "auto-notified"))
        or any(name in head for name in _REPLY_HEADERS)
        or head.get("precedence", "").lower() in ("auto_reply", "auto-reply")
        or _REPLY.match(subject) is not None
    )


def _before_the_message(text: str) -> str:
    lines = text.split("\n")
    ends = (at for at, line in enumerate(lines) if line.startswith("--") and _RETURNED.search(line[:200]))
    return "\n".join(lines[: next(ends, len(lines))])


def _around(text: str, status: str) -> str:
    """The line that holds the status."""
    return next(line for line in text.split("\n") if status in line)


def _reason(text: str) -> str:
    """QSBMF: paragraphs that begin with a recipient in angle brackets hold the reason on the lines below."""
    paragraph = next((one for one in re.split(r"\n\s*\n", text) if one.lstrip().startswith("<")), "")
    return paragraph.strip().partition("\n")[2]


def _subject(raw: str) -> str:
    try:
        return str(make_header(decode_header(raw[:1000])))
    except (MessageError, LookupError, ValueError):
        return raw[:1000]


# --------------------------------------------------------------------------------------------------------- for all


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _line(text: str, longest: int) -> str:
    """In a fit state to be stored and shown."""
    one = _NOT_PRINTED.sub(" ", text).strip()
    return one if len(one) <= longest else one[: longest - 1] + "…"


def _date(text: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(text[:100])
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
