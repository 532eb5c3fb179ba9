"""What one rendering may use up: time, loop iterations, characters and items built."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jinja2 import TemplateRuntimeError, Undefined
from jinja2.runtime import Context
from markupsafe import Markup, escape

_SPECIAL = re.compile("[&<>\"']")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})
"""As `markupsafe.escape`, without the object it makes of each text."""

BUDGET = " budget"
"""The context variable that holds the `Budget`; no template can spell it."""


ARGUMENT_LIMIT = 200


class LimitReached(TemplateRuntimeError):
    """A template wants more than `RenderLimits` allows."""


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """Caps of one rendering, that is of one message with all its parts and fields."""

    seconds: float = 2.0
    characters: int = 2_000_000
    """Of one part, one text a template builds, and items of one list it builds (nested ones included)."""
    built: int = 20_000_000
    """Characters and items all expressions together may build."""
    iterations: int = 100_000
    """Of all loops together."""
    range: int = 10_000
    """Numbers of a `range()`, items of a repeated list, columns of `batch` and `slice`, width of padding."""
    bits: int = 256
    """Of a whole number."""


class Budget:
    """Counts one rendering down; every method raises `LimitReached` when its cap is passed."""

    __slots__ = ("_built", "_clock", "_deadline", "_iterations", "limits")

    def __init__(self, limits: RenderLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._iterations = limits.iterations
        self._built = limits.built

    def step(self) -> None:
        """Before anything that code of a template could do very often."""
        if self._clock() > self._deadline:
            raise LimitReached(f"rendering takes longer than {self.limits.seconds:g} seconds")

    def build(self, amount: int) -> None:
        """Before `amount` characters or items come to be in one value."""
        if amount > self.limits.characters:
            raise LimitReached(f"a value of more than {self.limits.characters} characters or items")
        self._built -= amount
        if self._built < 0:
            raise LimitReached(f"more than {self.limits.built} characters or items built in all")

    def small(self, amount: Any, what: str) -> int:
        """`amount` as a count or width that a template chose."""
        number = int(amount)
        if abs(number) > self.limits.range:
            raise LimitReached(f"{what} of more than {self.limits.range}")
        return number

    def argument(self, text: Any) -> None:
        """Characters to strip or a text to search: with long ones the work grows with the product of both lengths."""
        if isinstance(text, str) and len(text) > ARGUMENT_LIMIT:
            raise LimitReached(f"an argument of more than {ARGUMENT_LIMIT} characters")

    def bits(self, amount: int) -> None:
        if amount > self.limits.bits:
            raise LimitReached(f"a whole number of more than {self.limits.bits} bits")

    def check(self, value: Any) -> Any:
        """`value`, once its size is accounted for."""
        if isinstance(value, str):
            self.build(len(value))
        elif isinstance(value, int):
            self.bits(value.bit_length())
        elif isinstance(value, list | tuple | dict):
            self.weigh(value)
        return value

    def weigh(self, value: Any, texts: bool = False) -> None:
        """Counts nested items one by one, since one list can hold another many times over. With `texts`, characters
        too: before something is made of every one of them."""
        total = 0
        waiting: list[Any] = [(value,)]
        while waiting:
            container: Any = waiting.pop()
            self.step()
            total += len(container)
            if texts:
                total += sum(len(item) for item in container if isinstance(item, str))
            if isinstance(container, dict):
                container = container.values()
                if texts:
                    total += sum(len(item) for item in container if isinstance(item, str))
            if total > self.limits.characters:
                break
            waiting += [item for item in container if isinstance(item, list | tuple | dict)]
        self.build(total)

    def many(self, value: Any) -> Any:
        """What a loop or a list filter runs over: lists as they are, a single value as a list of one, nothing as none.

        A child that came once and one that came many times are thereby walked alike.
        """
        if isinstance(value, list | tuple | range):
            items: Any = value
        elif value is None:
            items = ()
        elif isinstance(value, Undefined):
            items = tuple(value)
        elif isinstance(value, str | dict) or not hasattr(value, "__iter__"):
            items = (value,)
        else:
            items = list(islice(value, self._iterations + 1))
        self.step()
        self._iterations -= len(items)
        if self._iterations < 0:
            raise LimitReached(f"more than {self.limits.iterations} loop iterations")
        return items

    def output(self, value: Any) -> str:
        """What `{{ value }}` prints."""
        text = value if value.__class__ is str else printed(value)
        self._built -= len(text)
        if self._built < 0 or self._clock() > self._deadline:
            self.step()
            self.build(0)
        return text

    def escaped(self, value: Any) -> str:
        """What `{{ value }}` prints in HTML."""
        if value.__class__ is str:
            text: str = value if _SPECIAL.search(value) is None else value.translate(_ESCAPES)
        elif value.__class__ is Markup:
            text = value
        else:
            text = str(escape(printed(value)))
        self._built -= len(text)
        if self._built < 0 or self._clock() > self._deadline:
            self.step()
            self.build(0)
        return text

    def concat(self, pieces: Iterable[str]) -> str:
        """What a captured block, a macro or a whole template printed."""
        kept = list(pieces)  # no copies: every piece was paid for, or stands in the template
        self.build(sum(map(len, kept)))
        return "".join(kept)

    def join(self, context: Context, values: Iterable[Any]) -> str:
        """The `~` operator."""
        texts = [value if value.__class__ is str else printed(value) for value in values]
        for text in texts:
            if text.__class__ is not str:  # markup beside text: what is text becomes markup, too
                texts = [escape(text) for text in texts]
                self.build(sum(map(len, texts)))
                return Markup("").join(texts)
        self.build(sum(map(len, texts)))
        return "".join(texts)


def budget_of(context: Context) -> Budget:
    found: Budget = context.parent[BUDGET]
    return found


def printed(value: Any) -> str:
    """`value` as text. Only what reads well is printed: a list, a mapping without text or a function is refused."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        # as callers write it, in XML and in JSON
        return "true" if value else "false"
    if isinstance(value, dict):
        text = value.get("#text", "")
        if text or not value:
            return str(text)
        if all(isinstance(key, str) and key.startswith(("@", "#")) for key in value):
            return ""
        raise TemplateRuntimeError("an element with children cannot be printed: name one of " + _names(value))
    if isinstance(value, list | tuple | range):
        raise TemplateRuntimeError("a list cannot be printed: loop over it, or use the filters first or join")
    if callable(value) and not isinstance(value, Undefined):
        raise TemplateRuntimeError("a function cannot be printed: call it with ()")
    return str(value)


def _names(value: dict[str, Any]) -> str:
    names = [str(key) for key in value if not str(key).startswith("#")]
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
