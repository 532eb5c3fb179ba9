"""Small templates in settings, and paths into answers: what a gateway is told and what it says.

Templates are written by administrators and run in Jinja2's sandbox over texts alone; what events bring is never
compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES = frozenset({"to", "number", "sender", "text", "key", "event", "secrets"})

Fill = Callable[[Mapping[str, Any]], Any]

_plain = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
_quoted = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined,
    autoescape=False,
    finalize=lambda value: quote(str(value), safe=""),
)


def check_template(text: str) -> None:
    """Raises `ValueError` for what cannot be compiled, or names what is not there."""
    try:
        unknown = meta.find_undeclared_variables(_plain.parse(text)) - VARIABLES
    except TemplateSyntaxError as error:
        raise ValueError(f"is not a template: {error.message}") from None
    if unknown:
        known = ", ".join(sorted(VARIABLES))
        raise ValueError(f"{{{{ {sorted(unknown)[0]} }}}} is not there; there are {known}")


def compile_text(text: str, encode: bool = False) -> Fill:
    """With `encode`, what is filled in is percent-encoded."""
    if "{" not in text:
        return lambda _: text
    return (_quoted if encode else _plain).from_string(text).render


def compile_tree(value: Any) -> Fill:
    """A value of YAML whose texts may be templates. Raises `ValueError` like `check_template`."""
    if isinstance(value, str):
        check_template(value)
        return compile_text(value)
    if isinstance(value, Mapping):
        items = {str(key): compile_tree(one) for key, one in value.items()}
        return lambda values: {key: fill(values) for key, fill in items.items()}
    if isinstance(value, Sequence):
        members = [compile_tree(one) for one in value]
        return lambda values: [fill(values) for fill in members]
    return lambda _: value


def path_steps(path: str) -> list[str]:
    """Raises `ValueError`."""
    steps = [] if path == "$" else path.split(".")
    if not all(steps):
        raise ValueError(f"{path!r} is not a path such as messages.0.id")
    return steps


def found_at(data: Any, path: str) -> list[Any]:
    """What stands at a path: nothing, one thing, or with `*` several."""
    found = [data]
    for step in path_steps(path):
        below: list[Any] = []
        for one in found:
            if step == "*" and isinstance(one, list):
                below += one
            elif isinstance(one, Mapping) and step in one:
                below.append(one[step])
            elif isinstance(one, list) and step.isascii() and step.isdigit() and int(step) < len(one):
                below.append(one[int(step)])
        found = below
    return found


def text_at(data: Any, path: str | None) -> str:
    """The first thing there as text, "" where there is none."""
    return next(iter(texts_at(data, path)), "")


def texts_at(data: Any, path: str | None) -> list[str]:
    """Everything there that can be told as text."""
    if path is None:
        return []
    return [as_text(one) for one in found_at(data, path) if isinstance(one, str | int | float)]


def as_text(value: str | float) -> str:
    """As JSON writes it, a text without its quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
