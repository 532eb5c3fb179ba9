"""pydantic's findings in plain words, each at its place in the files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ..suggest import did_you_mean
from .yamltree import Node, Place, Steps

Schema = Mapping[str, Any]

_HIDDEN = "is not valid; its value comes from a secret and is not shown"
_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping (`key: value`)",
}


def complaints(
    error: ValidationError, model: type[BaseModel], tree: Node, also: Iterable[str] = ()
) -> Iterator[tuple[Place, Steps, str]]:
    """(place, path, what is wrong) of everything in `tree` that `model` refused.

    `also` are names of settings that the model does not have.
    """
    schema = model.model_json_schema()
    done: set[Steps] = set()
    for one in error.errors(include_url=False, include_input=False):
        steps, node = _locate(tree, one["loc"], one["type"] == "missing")
        if steps in done:
            continue
        done.add(steps)
        on_key = one["type"] == "extra_forbidden" or one["loc"][-1:] == ("[key]",)
        place = (node.key if on_key else None) or node.place
        yield place, steps, _words(one, _Shape(schema).at(steps), node, steps, also)


def _locate(tree: Node, location: tuple[int | str, ...], missing: bool) -> tuple[Steps, Node]:
    """The path that pydantic means and the last node of it that exists; members of unions are no part of it."""
    steps: list[str | int] = []
    node = tree
    for index, step in enumerate(location):
        child = node.at(step)
        if child is not None:
            node = child
            steps.append(step)
        elif missing and index == len(location) - 1:
            steps.append(step)
    return tuple(steps), node


def _words(error: Any, shape: _Shape, node: Node, steps: Steps, also: Iterable[str]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        names = [*shape.up().names(), *(also if len(steps) == 1 else ())]
        known = f"settings here are {', '.join(names)}" if names else "nothing is to be set here"
        return f"is not a setting here; {did_you_mean(str(steps[-1]), names) or known}"
    if kind == "missing":
        return f"is missing; it should be {shape.expected()}"
    if kind in ("value_error", "assertion_error"):
        return _without_secrets(str(context.get("error", error["msg"])), node)
    if error["loc"][-1:] == ("[key]",):
        names = shape.up().keys()
        hint = did_you_mean(str(steps[-1]), names)
        return f"should be one of {', '.join(names)}" + (f"; {hint}" if hint else "") if names else "is no such name"
    if kind in ("enum", "literal_error") and isinstance(node.value, str) and not node.secret:
        hint = did_you_mean(node.value, shape.choices())
        return f"should be {shape.expected()}" + (f"; {hint}" if hint else "")
    if kind == "string_type" and isinstance(node.value, bool | int | float):
        return "should be text; put it in quotes"
    if shape.known() and not (isinstance(node.value, str) and shape.expected() == "text"):
        return f"should be {shape.expected()}"
    return _without_secrets(str(error["msg"]).replace("Input should", "should", 1), node)


def _without_secrets(text: str, node: Node) -> str:
    """A validator's own words, unless they quote a secret or more than three characters of it."""
    for secret in _secrets(node):
        pieces = (secret[start : start + 4] for start in range(max(1, len(secret) - 3)))
        if any(piece.lower() in text.lower() for piece in pieces):
            return _HIDDEN
    return text


def _secrets(node: Node) -> Iterator[str]:
    if node.secret and node.value:
        yield str(node.value)
    for _, child in node.children():
        yield from _secrets(child)


class _Shape:
    """A part of a JSON Schema, as words."""

    def __init__(self, root: Schema, parts: tuple[Schema, ...] | None = None, above: _Shape | None = None) -> None:
        self._root = root
        self._parts = tuple(self._alternatives((root,) if parts is None else parts))
        self._above = above

    def _alternatives(self, parts: Iterable[Schema]) -> Iterator[Schema]:
        for part in parts:
            if "$ref" in part:
                resolved = self._root
                for step in part["$ref"].removeprefix("#/").split("/"):
                    resolved = resolved[step]
                yield from self._alternatives((resolved,))
            elif "$comment" not in part and ("anyOf" in part or "oneOf" in part):
                yield from self._alternatives(part.get("anyOf") or part["oneOf"])
            elif part.get("type") != "null":
                yield part

    def at(self, steps: Steps) -> _Shape:
        shape = self
        for step in steps:
            shape = _Shape(self._root, tuple(shape._below(step)), shape)
        return shape

    def _below(self, step: str | int) -> Iterator[Schema]:
        for part in self._parts:
            if isinstance(step, int):
                items = part.get("items")
            elif step in part.get("properties", {}):
                items = part["properties"][step]
            else:
                patterns = part.get("patternProperties", {})
                items = next(iter(patterns.values()), part.get("additionalProperties"))
            if isinstance(items, Mapping):
                yield items

    def up(self) -> _Shape:
        return self._above or self

    def known(self) -> bool:
        return bool(self._parts) and all("type" in part or "$comment" in part for part in self._parts)

    def names(self) -> list[str]:
        return [name for part in self._parts for name in part.get("properties", {})]

    def keys(self) -> list[str]:
        """What a mapping's keys may be, where that is a list of names."""
        return [name for part in self._parts for name in part.get("propertyNames", {}).get("enum", ())]

    def choices(self) -> list[str]:
        return [
            str(one) for part in self._parts for one in part.get("enum", [part["const"]] if "const" in part else [])
        ]

    def expected(self) -> str:
        return " or ".join(dict.fromkeys(map(_expected, self._parts))) or "set"


def _expected(part: Schema) -> str:
    if "$comment" in part:
        return str(part["$comment"])
    if "const" in part:
        return str(part["const"])
    if "enum" in part:
        *most, last = map(str, part["enum"])
        return f"{', '.join(most)} or {last}" if most else last
    name = _NAMES.get(part.get("type", ""), "something else")
    least, most_ = part.get("minimum"), part.get("maximum")
    if least is not None and most_ is not None:
        return f"{name} between {least} and {most_}"
    if part.get("minLength") == 1 or part.get("minItems") == 1 or part.get("minProperties") == 1:
        return f"{name} that is not empty"
    for key, words in _BOUNDS:
        if key in part:
            return f"{name} {words.format(part[key])}"
    return name


_BOUNDS = (
    ("minimum", "of at least {}"),
    ("maximum", "of at most {}"),
    ("exclusiveMinimum", "greater than {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minLength", "of at least {} characters"),
    ("maxLength", "of at most {} characters"),
    ("minItems", "of at least {} items"),
    ("maxItems", "of at most {} items"),
    ("pattern", "that matches {}"),
)


def hint(name: str, known: Collection[str]) -> str:
    """What may have been meant."""
    return "; " + (did_you_mean(name, known) or f"there are: {', '.join(sorted(known)) or 'none'}")
