"""What an answer means for a message: one table for each service, read from the top, the first match wins.

The README shows them. Only a device that is gone for good has scope *address*, which lets the core write to it no
more; a token may also be refused because it is of another app or environment, and that says nothing about the device.
What is the provider's own trouble, or that of our credentials there, is deferred: it fails no event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

import orjson
from petitbleu import Deferred, Failed, Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """Matches an answer when status and reason do: shell patterns, separated by spaces."""

    statuses: str
    reasons: str
    outcome: Literal["failed", "deferred"]
    scope: Scope
    meaning: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said. `reason` is its word for it, `text` its sentence; both may be empty."""

    status: int
    reason: str = ""
    text: str = ""
    retry_after: float | None = None

    @property
    def code(self) -> str:
        return f"{self.status} {self.reason}".rstrip()


_ADDRESS, _MESSAGE, _PROVIDER, _US = Scope.ADDRESS, Scope.MESSAGE, Scope.PROVIDER, Scope.US

APNS_RULES = (
    Rule("410", "Unregistered", "failed", _ADDRESS, "the app is gone from the device; see below for a stale answer"),
    Rule("410", "*", "failed", _MESSAGE, "the token is no longer valid, without a word that the app is gone"),
    Rule("400", "BadDeviceToken", "failed", _MESSAGE, "no token of this environment; it may be one of the other"),
    Rule("400", "DeviceTokenNotForTopic", "failed", _MESSAGE, "the token is of another app"),
    Rule("400", "PayloadEmpty", "failed", _MESSAGE, "nothing in it"),
    Rule("413", "*", "failed", _MESSAGE, "the payload is too big"),
    Rule("400", "IdleTimeout", "deferred", _PROVIDER, "the connection was idle too long"),
    Rule(
        "400", "BadTopic MissingTopic TopicDisallowed", "deferred", _PROVIDER, "the app's settings are wrong: its topic"
    ),
    Rule("400 404 405", "*", "failed", _US, "our request is not understood"),
    Rule("403", "*", "deferred", _PROVIDER, "the app's settings are wrong: team, key or its rights"),
    Rule("429", "TooManyRequests", "deferred", _MESSAGE, "too much for this one device"),
    Rule("429", "*", "deferred", _PROVIDER, "too much, or too many new provider tokens"),
    Rule("5??", "*", "deferred", _PROVIDER, "Apple's trouble, or its server shuts down"),
    Rule("4??", "*", "failed", _MESSAGE, "any other refusal"),
)
"""Apple, "Handling notification responses from APNs"."""

FCM_RULES = (
    Rule("404", "UNREGISTERED", "failed", _ADDRESS, "the app is gone from the device, or the token has been replaced"),
    Rule("400", "INVALID_ARGUMENT", "failed", _MESSAGE, "the token or a part of the message is malformed"),
    Rule("403", "SENDER_ID_MISMATCH", "failed", _MESSAGE, "the token is of another project"),
    Rule("401", "THIRD_PARTY_AUTH_ERROR", "deferred", _PROVIDER, "Google's access to APNs or web push is not set up"),
    Rule("401 403", "*", "deferred", _PROVIDER, "the service account's key or rights are wrong"),
    Rule("404", "*", "deferred", _PROVIDER, "no such project"),
    Rule("429", "*", "deferred", _PROVIDER, "too much: quota of the project or the device"),
    Rule("408 5??", "*", "deferred", _PROVIDER, "Google's trouble"),
    Rule("4??", "*", "failed", _MESSAGE, "any other refusal"),
)
"""Firebase, "ErrorCode" of the HTTP v1 API; the reason is `errorCode` in the body's details, else its `status`."""

WEB_RULES = (
    Rule("404 410", "*", "failed", _ADDRESS, "the subscription has ended (RFC 8030 7.3)"),
    Rule("413", "*", "failed", _MESSAGE, "the payload is too big"),
    Rule("400 401 403", "*Mismatch", "failed", _MESSAGE, "the subscription was made with another VAPID key"),
    Rule("401 403", "*", "deferred", _PROVIDER, "the VAPID key or contact is not accepted"),
    Rule("408 429", "*", "deferred", _PROVIDER, "too much"),
    Rule("5??", "*", "deferred", _PROVIDER, "the push service's trouble"),
    Rule("3??", "*", "failed", _MESSAGE, "a redirect, which is not followed"),
    Rule("4??", "*", "failed", _MESSAGE, "any other refusal"),
)
"""RFC 8030 and RFC 8292; the reason is the `reason` of a JSON body."""

_NOT_PRINTED = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]+")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_LONG = re.compile(r"[A-Za-z0-9_:+/=.~-]{40,}")
_OTHER_KEY = re.compile(r"do not correspond to the credentials|VapidPkHashMismatch", re.IGNORECASE)


def matches(rule: Rule, answer: Answer) -> bool:
    return any(fnmatchcase(str(answer.status), one) for one in rule.statuses.split()) and any(
        fnmatchcase(answer.reason, one) for one in rule.reasons.split()
    )


def outcome_of(provider: str, rules: Sequence[Rule], answer: Answer) -> Deferred | Failed:
    """What a refusal makes of the message. An answer no rule knows is the provider's trouble."""
    rule = next((rule for rule in rules if matches(rule, answer)), None)
    text = f"{answer.code} {answer.text}".rstrip()
    if rule is None or rule.outcome == "deferred":
        scope = rule.scope if rule is not None else Scope.PROVIDER
        return Deferred(provider, text, scope, answer.code, answer.retry_after)
    return Failed(provider, text, rule.scope, answer.code)


def read_apns(status: int, body: bytes, retry_after: float | None) -> tuple[Answer, datetime | None]:
    """The answer, and of a 410 since when the token has not been valid."""
    found = _json(body)
    stamp = found.get("timestamp")
    since = None
    if isinstance(stamp, int | float) and 0 < stamp < 1e14:
        # milliseconds; seconds, as some servers that stand in for Apple's have it, are told by their size
        since = datetime.fromtimestamp(stamp / 1000 if stamp > 1e11 else stamp, UTC)
    return Answer(status, _word(found.get("reason")), "", retry_after), since


def read_fcm(status: int, body: bytes, retry_after: float | None, longest: int) -> Answer:
    error = _json(body).get("error")
    error = error if isinstance(error, dict) else {}
    details = error.get("details")
    codes = [
        _word(detail.get("errorCode"))
        for detail in (details if isinstance(details, list) else [])
        if isinstance(detail, dict)
    ]
    reason = next(filter(None, codes), "") or _word(error.get("status"))
    return Answer(status, reason, plain(str(error.get("message") or ""), longest), retry_after)


def read_web(status: int, body: bytes, retry_after: float | None, longest: int) -> Answer:
    text = body[:4096].decode("utf-8", "replace")
    reason = "VapidPkHashMismatch" if _OTHER_KEY.search(text) else _word(_json(body).get("reason"))
    return Answer(status, reason, plain(text, longest), retry_after)


def plain(text: str, longest: int) -> str:
    """In a fit state to be stored and shown: one line, tokens left out."""
    text = _LONG.sub("…", _NOT_PRINTED.sub(" ", text)).strip()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _word(value: Any) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
