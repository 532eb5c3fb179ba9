"""What an SMTP reply means for a message: one table from reply to scope, read from the top, the first match wins.

The reply code (RFC 5321 4.2) says whether to try again: 4yz is deferred, 5yz has failed. The scope comes from the
enhanced status (RFC 3463, RFC 5248, RFC 7372, the IANA registry), else from the stage, and where servers are known to
say it only in words, from those. Whatever is the provider's own trouble is deferred even as 5yz: it fails no event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from petitbleu import Deferred, Delivered, Failed, Outcome, Scope


class Stage(StrEnum):
    """What was being said when the provider answered."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    LOGIN = "login"
    RSET = "rset"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `status` is the enhanced status or "", `text` the words without it, on one line."""

    stage: Stage
    number: int
    status: str
    text: str

    @property
    def code(self) -> str:
        return f"{self.number} {self.status}".rstrip()

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class Rule:
    """Matches a reply when everything given does. `stages` is "*" or words, `codes` and `statuses` are shell patterns,
    separated by spaces; in `statuses` the leading class is left out (`2.2` is 4.2.2 and 5.2.2). `words` is a key of
    `WORDS`; addresses that the reply repeats are left out before it is looked for."""

    stages: str
    codes: str
    statuses: str
    words: str
    scope: Scope
    meaning: str


_SETUP = "connect ehlo starttls login"
WORDS = {
    "greylisting": r"gr[ae]y.?list",
    "relaying": r"relay(ing)?\b.{0,30}(denied|prohibited|not (permitted|allowed))"
    r"|(unable|not (permitted|allowed)|cannot) to relay|authentication (is )?required",
    "standing": r"block ?list|black ?list|blocked|banned|spamhaus|dnsbl|\brbl\b|reputation|rate.?limit|too many"
    r"|reverse (dns|hostname)|client host|helo",
    "recipient": r"mailbox|recipient|user",
}
"""What servers say where codes do not tell, as regular expressions without regard to case."""

RULES = (
    Rule("*", "421", "*", "", Scope.PROVIDER, "the service closes the connection"),
    Rule(_SETUP, "*", "*", "", Scope.PROVIDER, "no session: greeting, EHLO, TLS or login refused"),
    Rule("*", "454 530 534 535 538", "*", "", Scope.PROVIDER, "login or TLS wanted"),
    Rule("*", "4??", "*", "greylisting", Scope.MESSAGE, "greylisting: the same message later is welcome"),
    Rule("rcpt", "*", "*", "relaying", Scope.PROVIDER, "relaying denied: the provider does not know us"),
    Rule("*", "*", "1.7 1.8", "", Scope.MESSAGE, "the sender's address is refused"),
    Rule("*", "*", "1.*", "", Scope.ADDRESS, "no such mailbox or domain"),
    Rule("*", "*", "2.3", "", Scope.MESSAGE, "too long for the mailbox"),
    Rule("*", "*", "2.*", "", Scope.ADDRESS, "mailbox full, disabled or moved"),
    Rule("*", "*", "3.4", "", Scope.MESSAGE, "too big for the system"),
    Rule("*", "*", "3.*", "", Scope.PROVIDER, "the provider's system is full, closed or broken"),
    Rule("rcpt content", "*", "4.1 4.4", "", Scope.ADDRESS, "no way to the recipient's domain, or not known there"),
    Rule("*", "*", "4.*", "", Scope.PROVIDER, "the provider's network or routing"),
    Rule("*", "*", "5.3", "", Scope.PROVIDER, "too many recipients"),
    Rule("rcpt", "550", "5.*", "recipient", Scope.ADDRESS, "no such mailbox, under an odd status"),
    Rule("*", "*", "5.*", "", Scope.US, "our commands are not understood"),
    Rule("*", "*", "6.*", "", Scope.MESSAGE, "the content or its encoding is not supported"),
    Rule("rcpt", "*", "7.2 7.17 7.18", "", Scope.ADDRESS, "this recipient takes no such mail, or has changed owner"),
    Rule(
        "*",
        "*",
        "7.3 7.4 7.5 7.6 7.8 7.9 7.1[0-4] 7.25 7.28 7.30",
        "",
        Scope.PROVIDER,
        "login, TLS, trust",
    ),
    Rule("*", "*", "7.*", "standing", Scope.PROVIDER, "our standing there: address blocked, too much mail"),
    Rule("*", "*", "7.*", "", Scope.MESSAGE, "refused by policy, as spam, or unauthenticated (SPF, DKIM, DMARC)"),
    Rule("mail rcpt", "*", "*", "standing", Scope.PROVIDER, "our standing there: address blocked, too much mail"),
    Rule("*", "500 502 503 504 555", "*", "", Scope.US, "our commands are not understood"),
    Rule("mail", "4?? 554", "*", "", Scope.PROVIDER, "nothing is taken now"),
    Rule("mail", "5??", "*", "", Scope.MESSAGE, "the sender or the announced size is refused"),
    Rule("rcpt", "452", "*", "", Scope.PROVIDER, "out of space"),
    Rule("rcpt", "554", "*", "", Scope.MESSAGE, "refused for no reason that names the recipient"),
    Rule("rcpt", "*", "*", "", Scope.ADDRESS, "this recipient is refused"),
    Rule("data content", "4??", "*", "", Scope.PROVIDER, "an error or no space while taking the message"),
    Rule("data content", "5??", "*", "", Scope.MESSAGE, "the message is refused: spam, policy, size"),
)

_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in WORDS.items()}
_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_QUEUED = re.compile(r"\bqueued as ([\w.-]{1,100})|^ok ([\w.-]{16,100})$", re.IGNORECASE)
_ADDRESSES = re.compile(r"\S*@\S*")
_NOT_PRINTED = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]+")


def read_reply(stage: Stage, number: int, message: str, longest: int) -> Reply:
    """A reply in a fit state to be stored and shown: one line, at most `longest` characters of words."""
    statuses = _STATUS.match(message)
    lines = [line[len(found[0]) :] if (found := _STATUS.match(line)) else line for line in message.split("\n")]
    text = _NOT_PRINTED.sub(" ", " ".join(lines)).strip()
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return Reply(stage, number, statuses[1] if statuses else "", text)


def scope_of(reply: Reply) -> Scope:
    return next((rule.scope for rule in RULES if matches(rule, reply)), Scope.PROVIDER)


def matches(rule: Rule, reply: Reply) -> bool:
    return (
        (rule.stages == "*" or reply.stage in rule.stages.split())
        and any(fnmatchcase(str(reply.number), pattern) for pattern in rule.codes.split())
        and any(fnmatchcase(reply.status[2:], pattern) for pattern in rule.statuses.split())
        and (not rule.words or _PATTERNS[rule.words].search(_ADDRESSES.sub("", reply.text)) is not None)
    )


def outcome_of(provider: str, reply: Reply) -> Outcome:
    """What a final reply makes of the message: `Delivered` only for a 2yz after the content."""
    if reply.stage is Stage.CONTENT and 200 <= reply.number < 300:
        queued = _QUEUED.search(reply.text)
        reference = (queued[1] or queued[2]) if queued else ""
        return Delivered(provider, str(reply), reply.code, reference)
    scope = scope_of(reply)
    text = f"{reply.stage}: {reply}"
    if scope is Scope.PROVIDER or not 500 <= reply.number < 600:
        return Deferred(provider, text, scope, reply.code)
    return Failed(provider, text, scope, reply.code)
