"""The expressions of a queryDef (`@status=2 and @created > #2026-11-23 10:00:00#`) as conditions on events.

Comparisons of attributes with literals, joined by `and`, `or` and parentheses. What else the product's expressions can
do is refused, because a guess would be a wrong answer.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import NamedTuple

from petitbleu import EVENT_ATTRIBUTES, Comparison, Condition, Junction, QueryRefused, StatusName

from .settings import SoapSettings

_TOKENS = re.compile(
    r"""\s*(?:
        (?P<attribute>@[A-Za-z_][\w.-]*|\[@[A-Za-z_][\w.-]*\])
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<date>\#[^#]*\#)
      | (?P<number>-?\d+(?:\.\d+)?)(?![\w.])
      | (?P<operator><=|>=|!=|<>|=|<|>)
      | (?P<mark>[(),])
      | (?P<word>[A-Za-z_]\w*)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NAMES = {name.lower(): name for name in EVENT_ATTRIBUTES}
_ORDERS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
_VALUES = ("text", "date", "number")


class Token(NamedTuple):
    kind: str
    text: str
    column: int


def attribute(expression: str) -> str:
    """The event attribute that `@id` or `[@id]` names. Raises `QueryRefused`."""
    name = expression.strip().removeprefix("[").removesuffix("]")
    known = _NAMES.get(name[1:].lower()) if name.startswith("@") else None
    if known is None:
        readable = ", ".join(f"@{name}" for name in EVENT_ATTRIBUTES)
        raise QueryRefused(f"{expression[:100]!r} is not a readable attribute of events; these are {readable}")
    return known


def condition(expression: str, statuses: Mapping[str, StatusName], settings: SoapSettings) -> Condition:
    """Raises `QueryRefused` with the column of what it does not understand."""
    if len(expression) > settings.query_length:
        raise QueryRefused(f"an expr has {len(expression)} characters; the limit is {settings.query_length}")
    return _Parser(_tokens(expression), statuses, settings.query_depth).whole()


def _tokens(expression: str) -> list[Token]:
    tokens = []
    end = len(expression.rstrip())
    position = 0
    while position < end:
        match = _TOKENS.match(expression, position)
        if match is None or match.lastgroup is None:
            column = position + len(expression[position:]) - len(expression[position:].lstrip()) + 1
            raise QueryRefused(f"expr, column {column}: {expression[column - 1 :][:40]!r} is not understood")
        kind = match.lastgroup
        tokens.append(Token(kind, match[kind], match.start(kind) + 1))
        position = match.end()
    return [*tokens, Token("end", "", end + 1)]


class _Parser:
    """Recursive descent; `or` binds less than `and`."""

    def __init__(self, tokens: list[Token], statuses: Mapping[str, StatusName], depth: int) -> None:
        self._tokens = tokens
        self._statuses = statuses
        self._depth = depth
        self._next = 0

    def whole(self) -> Condition:
        found = self._joined("or", self._depth)
        self._take("end", "and, or, or the end of the expr")
        return found

    def _joined(self, word: str, depth: int) -> Condition:
        terms = [self._operand(word, depth)]
        while self._is("word", word):
            self._next += 1
            terms.append(self._operand(word, depth))
        return terms[0] if len(terms) == 1 else Junction("or" if word == "or" else "and", tuple(terms))

    def _operand(self, word: str, depth: int) -> Condition:
        return self._joined("and", depth) if word == "or" else self._term(depth)

    def _term(self, depth: int) -> Condition:
        if not self._is("mark", "("):
            return self._comparison()
        if depth == 0:
            raise self._refused("is nested too deep")
        self._next += 1
        inner = self._joined("or", depth - 1)
        self._mark(")")
        return inner

    def _comparison(self) -> Condition:
        name = attribute(self._take("attribute", "an attribute such as @id").text)
        token = self._tokens[self._next]
        if self._is("word", "in"):
            self._next += 1
            self._mark("(")
            values = [self._value()]
            while self._is("mark", ","):
                self._next += 1
                values.append(self._value())
            self._mark(")")
            return self._compared(name, "in", tuple(values))
        if self._is("word", "like"):
            self._next += 1
            return self._compared(name, "like", (self._value(),))
        self._take("operator", "=, !=, <, >, <=, >=, in or like")
        return self._compared(name, "!=" if token.text == "<>" else token.text, (self._value(),))

    def _compared(self, name: str, sign: str, values: tuple[str, ...]) -> Condition:
        if name == "status":
            sign, values = self._status(sign, values)
        match sign:
            case "=" | "!=" | "<" | ">" | "<=" | ">=" | "in" | "like":
                return Comparison(name, sign, values)
        raise AssertionError(sign)

    def _status(self, sign: str, values: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Callers know statuses by their numbers, the core by their names; an order is one of numbers."""
        if sign == "like":
            raise QueryRefused("@status is a number; compare it by =, !=, <, >, <=, >= or in")
        if sign not in _ORDERS:
            return sign, tuple(self._named(value) for value in values)
        try:
            limit = int(values[0])
        except ValueError:
            raise QueryRefused(f"@status {sign} takes a number, not {values[0][:40]!r}") from None
        fitting = tuple(name for name, status in self._statuses.items() if _ORDERS[sign](status.code, limit))
        if not fitting:
            raise QueryRefused(f"no status has a number {sign} {limit}")
        return "in", fitting

    def _named(self, value: str) -> str:
        for name, status in self._statuses.items():
            if value.lower() in (name.lower(), status.label.lower(), status.rest.lower(), str(status.code)):
                return name
        known = ", ".join(f"{status.code} ({status.label})" for status in self._statuses.values())
        raise QueryRefused(f"{value[:40]!r} is not a status; statuses are {known}")

    def _value(self) -> str:
        token = self._tokens[self._next]
        if token.kind not in _VALUES:
            raise self._refused("is not a number, a 'text' or a #date#")
        self._next += 1
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        return token.text.strip("#")

    def _is(self, kind: str, text: str) -> bool:
        token = self._tokens[self._next]
        return token.kind == kind and token.text.lower() == text

    def _mark(self, mark: str) -> None:
        if not self._is("mark", mark):
            raise self._refused(f"stands where {mark!r} is expected")
        self._next += 1

    def _take(self, kind: str, expected: str) -> Token:
        token = self._tokens[self._next]
        if token.kind != kind:
            raise self._refused(f"stands where {expected} is expected")
        self._next += 1
        return token

    def _refused(self, text: str) -> QueryRefused:
        token = self._tokens[self._next]
        found = repr(token.text[:40]) if token.kind != "end" else "the end"
        return QueryRefused(f"expr, column {token.column}: {found} {text}")
