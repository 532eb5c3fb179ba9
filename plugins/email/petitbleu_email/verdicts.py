"""What a status in a report means for a message: one table from status to scope, the first match wins.

Statuses are those of RFC 3463 and the IANA registry, as in `outcomes`; but a report comes after all that a relay could
try, and often in the words of a server far behind it. So doubt counts for the recipient: only what says of the address
itself that it is gone is hard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from petitbleu import Scope


@dataclass(frozen=True, slots=True)
class Verdict:
    """`statuses` are shell patterns without the leading class, separated by spaces. `soft`: even as 5.y.z it may be
    otherwise with the next message. `words` is a regular expression without regard to case, or ""."""

    statuses: str
    words: str
    scope: Scope
    soft: bool
    meaning: str


UNKNOWN = (
    r"(unknown|no such|invalid) (user|recipient|mailbox|address)"
    r"|(user|recipient|mailbox|address) (is )?(unknown|not found)"
)
RECIPIENT = r"mailbox|recipient|user|account"
WORDS = {UNKNOWN: "unknown", RECIPIENT: "recipient"}
"""Their names in the documentation."""

VERDICTS = (
    Verdict("0.*", UNKNOWN, Scope.ADDRESS, True, "no such mailbox, from a server without statuses"),
    Verdict("1.0", "", Scope.ADDRESS, True, "something about the address"),
    Verdict("1.4", "", Scope.ADDRESS, True, "the address is ambiguous"),
    Verdict("1.5", "", Scope.MESSAGE, True, "the address is good"),
    Verdict("1.7 1.8", "", Scope.MESSAGE, False, "the sender's address is refused"),
    Verdict("1.9", "", Scope.MESSAGE, False, "relayed to a system that does not report"),
    Verdict("1.*", "", Scope.ADDRESS, False, "no such mailbox or domain, moved, or takes no mail (null MX)"),
    Verdict("2.1", "", Scope.ADDRESS, False, "mailbox disabled"),
    Verdict("2.3", "", Scope.MESSAGE, False, "too long for the mailbox"),
    Verdict("2.*", "", Scope.ADDRESS, True, "mailbox full, or something else about it"),
    Verdict("3.4", "", Scope.MESSAGE, False, "too big for the system"),
    Verdict("3.*", "", Scope.PROVIDER, True, "the system there is full, closed or broken"),
    Verdict("4.1", RECIPIENT, Scope.ADDRESS, True, "not known there, in Exchange's words"),
    Verdict("4.4", "", Scope.ADDRESS, True, "no way to the recipient's domain"),
    Verdict("4.*", "", Scope.PROVIDER, True, "network or routing; tried for too long"),
    Verdict("5.*", RECIPIENT, Scope.ADDRESS, True, "no such mailbox, under an odd status"),
    Verdict("5.*", "", Scope.US, False, "our commands are not understood"),
    Verdict("6.*", "", Scope.MESSAGE, False, "the content or its encoding is not supported"),
    Verdict("7.[3-6] 7.8 7.9 7.1[0-4] 7.2[0-8] 7.30", "", Scope.PROVIDER, True, "login, TLS, trust, our standing"),
    Verdict("7.*", "", Scope.MESSAGE, False, "refused by policy, or as spam"),
    Verdict("*", "", Scope.MESSAGE, False, "nothing that names the recipient"),
)

_ADDRESSES = re.compile(r"\S*@\S*")
_WORDS = {words: re.compile(words, re.IGNORECASE) for words in WORDS}


def matches(verdict: Verdict, status: str, text: str) -> bool:
    """`status` in full, such as 5.1.1, or ""; addresses in `text` are left out."""
    return any(fnmatchcase(status[2:], pattern) for pattern in verdict.statuses.split()) and (
        not verdict.words or _WORDS[verdict.words].search(_ADDRESSES.sub("", text)) is not None
    )


def judge(status: str, text: str) -> tuple[Scope, bool]:
    """Whose fault it is, and whether it is for good: 4.y.z never is."""
    verdict = next(one for one in VERDICTS if matches(one, status, text))
    return verdict.scope, status.startswith("5") and not verdict.soft
