"""What an answer of `POST /v2/bot/message/push` means for a message; the README has the table for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from petitbleu import Deferred, Delivered, Failed, Outcome, Scope


def outcome(
    account: str, status: int, headers: Mapping[str, str], body: bytes, limit_wait: float, longest: int
) -> Outcome:
    """With the retry key a repeat is safe: whatever is not decided is tried again."""
    said = _parsed(body)
    text = _line(said.get("message"), longest) or _line(body.decode("utf-8", "replace"), longest)
    request = _line(headers.get("X-Line-Request-Id"), 100)
    words, code = f"{text or status}" + (f" (request {request})" if request else ""), str(status)
    if status == 200:
        return Delivered(account, f"taken (request {request})" if request else "taken", code, _sent(said) or request)
    if status == 409:
        # an earlier try got through, though its answer did not
        first = _line(headers.get("X-Line-Accepted-Request-Id"), 100)
        return Delivered(account, f"was taken before (request {first})", code, _sent(said) or first)
    if status == 429:
        asked = headers.get("Retry-After", "")
        wait = float(asked) if re.fullmatch(r"\d{1,6}", asked) else None
        return Deferred(account, words, Scope.PROVIDER, code, limit_wait if "monthly limit" in text.lower() else wait)
    if status in (401, 403, 404, 405, 408) or status >= 500 or status < 400:
        return Deferred(account, words, Scope.PROVIDER, code)
    return Failed(account, words, Scope.ADDRESS if _about_the_user(said, text) else Scope.MESSAGE, code)


def _about_the_user(said: Mapping[str, Any], text: str) -> bool:
    """Whether a 400 says that this account cannot write to the user."""
    details = said.get("details")
    properties = [one.get("property") for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    return properties == ["to"] or "'to'" in text


def _sent(said: Mapping[str, Any]) -> str:
    """The id of the first of the messages."""
    sent = said.get("sentMessages")
    first = sent[0] if isinstance(sent, list) and sent and isinstance(sent[0], dict) else {}
    return _line(first.get("id"), 100)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _line(text: object, longest: int) -> str:
    """On one line, whatever was sent."""
    if not isinstance(text, str):
        return ""
    line = re.sub(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]+", " ", text).strip()
    return line if len(line) <= longest else line[: longest - 1] + "…"
