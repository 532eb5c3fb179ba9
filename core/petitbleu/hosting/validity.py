"""Whether what a plugin answers is what its type says, member by member.

Python builds a `Delivered(provider=5)` without a word; found out where it is stored, it would cost other events their
turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..types import (
    Check,
    Content,
    Deferred,
    Delivered,
    Event,
    Failed,
    Hold,
    NotTold,
    Queue,
    Recycle,
    Reject,
    Route,
    Scope,
    Suppress,
    TemplateRef,
    Told,
    Unknown,
)

MOST_NAME = 1000
"""Characters of a name: of a channel, a provider, a template."""
MOST_WORDS = 100_000
"""Characters of a text for people."""
MOST_PARTS = 1000
"""Parts of a message that receipts may name."""
MOST_CONTENT = 20_000_000
"""Characters and bytes of a rendered template in all, as `templates.limits.built` has it for Jinja2."""

Test = Callable[[Any], bool]


def _name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_NAME


def _words(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_WORDS


def _text(value: Any) -> bool:
    """What is cut where it is stored: a provider may say what it likes."""
    return isinstance(value, str)


def _names(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= MOST_PARTS and all(map(_name, value))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _moment(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _wait(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    )


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _mapping(keys: Test, values: Test) -> Test:
    return lambda value: isinstance(value, Mapping) and all(keys(key) and values(item) for key, item in value.items())


def _parts(value: Any) -> bool:
    return _mapping(_name, _text)(value) and sum(map(len, value.values())) <= MOST_CONTENT


def _files(value: Any) -> bool:
    whole = _mapping(_name, lambda item: isinstance(item, bytes))(value)
    return whole and sum(map(len, value.values())) <= MOST_CONTENT


def _any(value: Any) -> bool:
    return True


def _optional(test: Test) -> Test:
    return lambda value: value is None or test(value)


_NAME = (_name, f"a text of at most {MOST_NAME} characters")
_WORDS = (_words, f"a text of at most {MOST_WORDS} characters")
_TEXT = (_text, "a text")
_NAMES = (_names, f"a tuple of at most {MOST_PARTS} texts")
_WHOLE = (_whole, "a whole number")
_MOMENT = (_moment, "a time with its zone")
_SCOPE = (lambda value: isinstance(value, Scope), "a Scope")
_FLAG = (_flag, "True or False")

MEMBERS: Mapping[type, Mapping[str, tuple[Test, str]]] = {
    Reject: {"attribute": _NAME, "reason": _WORDS},
    Event: {
        "id": _WHOLE,
        "type": _NAME,
        "queue": (lambda value: isinstance(value, Queue), "a Queue"),
        "channel": _NAME,
        "data": (_mapping(_text, _any), "a mapping with texts as keys"),
        "created": _MOMENT,
        "addresses": (_mapping(_name, _text), "a mapping of texts to texts"),
        "language": _NAME,
        "country": _NAME,
        "external_id": _NAME,
        "origin": _NAME,
        "priority": _WHOLE,
        "scheduled": (_optional(_moment), "None or a time with its zone"),
        "expiration": (_optional(_moment), "None or a time with its zone"),
    },
    Route: {"channel": _NAME, "brand": _NAME, "template": _NAME},
    TemplateRef: {"event_type": _NAME, "channel": _NAME, "version": _WHOLE, "language": _NAME, "brand": _NAME},
    Content: {
        "parts": (_parts, f"a mapping of texts to texts, of at most {MOST_CONTENT} characters"),
        "fields": (_mapping(_name, _any), "a mapping with texts as keys"),
        "files": (_files, f"a mapping of texts to bytes, of at most {MOST_CONTENT} bytes"),
    },
    Suppress: {"reason": _WORDS},
    Hold: {"until": _MOMENT, "reason": _WORDS},
    Delivered: {"provider": _NAME, "text": _TEXT, "code": _TEXT, "reference": _TEXT, "awaits": _NAMES},
    Deferred: {
        "provider": _NAME,
        "text": _TEXT,
        "scope": _SCOPE,
        "code": _TEXT,
        "retry_after": (_wait, "None or a number of seconds"),
    },
    Failed: {"provider": _NAME, "text": _TEXT, "scope": _SCOPE, "code": _TEXT},
    Unknown: {"provider": _NAME, "text": _TEXT, "awaits": _NAMES},
    Told: {"text": _TEXT},
    NotTold: {"text": _TEXT, "retry_after": (_wait, "None or a number of seconds"), "ended": _FLAG},
    Recycle: {"channel": _NAME, "reason": _WORDS},
    Check: {"name": _NAME, "ok": _FLAG, "text": _WORDS, "warning": _FLAG},
}
"""By type, each member with what it must be. A value of another type is not looked into."""


def fault(answer: object) -> str:
    """What is wrong with an answer, without its values; "" if nothing is."""
    for name, (holds, words) in MEMBERS.get(type(answer), {}).items():
        value = getattr(answer, name)
        if not holds(value):
            size = f" of {len(value):,}" if isinstance(value, str | bytes | tuple | Mapping) else ""
            return f"{type(answer).__name__} whose {name} is {type(value).__name__}{size}, not {words}"
    return ""


def rubbish(answer: Any, expected: tuple[type, ...], several: bool, event: Event | None) -> str:
    """What is wrong with an answer, or several as a list, to a question about `event`; "" if nothing is."""
    if several and not isinstance(answer, list | tuple):
        return f"{type(answer).__name__}, not a list of {expected[0].__name__}"
    for one in answer if several else (answer,):
        # no subclasses: what is done with an answer goes by its type
        if type(one) not in expected:
            return f"{type(one).__name__}, not {_either(expected)}"
        if found := fault(one):
            return found
        if type(one) is Event and event is not None and one.id != event.id:
            return "another event"
    return ""


def _either(types: tuple[type, ...]) -> str:
    return " or ".join("None" if one is type(None) else one.__name__ for one in types)


__all__ = ["MEMBERS", "MOST_CONTENT", "MOST_NAME", "MOST_PARTS", "MOST_WORDS", "fault", "rubbish"]
