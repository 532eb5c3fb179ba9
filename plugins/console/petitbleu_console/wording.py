"""The languages of the pages: English in the templates, others in `words/`, by the English text.

`words/en.json` has what is a name in the program, such as `error_rate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "fr")
VOCABULARY = frozenset(
    (
        *("cancel", "retry", "resend", "reroute", "hold", "release"),
        *("alert", "queue", "error rate", "time in queue", "time to send", "time to process", "database"),
        *("underway", "received", "bounced", "complained"),
        *("delivered", "deferred", "failed", "unknown"),
        *("sent", "expired", "ignored", "not_covered", "pending"),
        *("accepted", "recycled", "paused", "processing"),
        *("address", "message", "provider", "us", "realtime", "batch"),
        *("new", "changed", "broken", "none", "published"),
        *("complaint", "hard", "unsubscribed", "manual", "soft"),
        *("ok", "warning", "failing"),
        *("period", "type", "channel", "brand", "origin", "status", "cause"),
        *("incoming", "incoming_per_hour", "outgoing", "outgoing_per_hour", "sending_avg", "errors", "error_rate"),
        *("retried", "reopened", "events"),
        *(
            f"{name}_{kind}"
            for name in ("queuing", "sending", "processing", "queued")
            for kind in ("avg", "min", "max")
        ),
        *("processing_p50", "processing_p95", "processing_p99"),
    )
)
"""What pages say that is no text of theirs: names in the program, which have words in every language."""
_FOLDER = Path(__file__).parent / "words"


@dataclass(frozen=True, slots=True)
class Words:
    """Says things in one language."""

    language: str
    known: Mapping[str, str]

    def __call__(self, text: str, /, **values: object) -> str:
        """`text` in this language, its `{name}`s filled in."""
        said = self.known.get(text, text)
        return said.format(**values) if values else said


@cache
def words(language: str) -> Words:
    return Words(language, json.loads((_FOLDER / f"{language}.json").read_text("utf-8")))


def preferred(accepted: str) -> str:
    """The first of our languages in an `Accept-Language` (RFC 9110, 12.5.4), English where none is."""
    ranked = []
    for place, part in enumerate(accepted.split(",")):
        tag, _, quality = part.partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and weight > 0:
            ranked.append((-weight, place, language))
    return min(ranked)[2] if ranked else LANGUAGES[0]
