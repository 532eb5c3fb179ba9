"""YAML 1.2 (core schema) as a tree that knows where everything stands.

`no`, `on` and `12:30` are text, `012` is twelve. Refused, with the place: duplicate keys, keys that are not scalars,
merge keys (`<<`), tags other than the core schema's, several documents, and aliases that unfold without measure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from yaml.reader import ReaderError

from ..errors import ConfigError, ConfigProblem

MOST_NODES = 100_000
DEEPEST = 64

Scalar: TypeAlias = str | int | float | bool | None
Steps: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file, or another `source` that has no lines (`line` 0)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the tree: a mapping, a sequence or a scalar. `key` is where its key stands, if it has one."""

    value: Mapping[str, Node] | tuple[Node, ...] | Scalar = field(repr=False)
    place: Place
    key: Place | None = None
    secret: bool = False
    """The value came from outside the files and must not be shown."""

    def at(self, step: str | int) -> Node | None:
        """The child under a key or at an index."""
        if isinstance(self.value, Mapping):
            return self.value.get(str(step))
        if isinstance(self.value, tuple) and isinstance(step, int) and 0 <= step < len(self.value):
            return self.value[step]
        return None

    def children(self) -> Iterator[tuple[str | int, Node]]:
        if isinstance(self.value, Mapping):
            yield from self.value.items()
        elif isinstance(self.value, tuple):
            yield from enumerate(self.value)

    def plain(self) -> Any:
        """The value as dicts, lists and scalars."""
        if isinstance(self.value, Mapping):
            return {name: child.plain() for name, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value


def dotted(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path))


_CORE: Sequence[tuple[str, str, Sequence[str]]] = (
    ("null", r"(?:null|Null|NULL|~|)\Z", ["n", "N", "~", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
        list("-+.0123456789"),
    ),
)
_TAG = "tag:yaml.org,2002:"

# PyYAML without libyaml is slower and otherwise the same
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _CoreLoader(_Loader):  # type: ignore[misc]  # its base is chosen at run time
    """Composes with the scalar rules of YAML 1.2 in place of PyYAML's 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name; filled below, then left alone


for _name, _pattern, _first in _CORE:
    _CoreLoader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


def _number(text: str) -> int | float:
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Scalar]] = {
    _TAG + "str": lambda text: text,
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: {"true": True, "false": False}[text.lower()],
    _TAG + "int": _number,
    _TAG + "float": lambda text: float(_number(text)),
}


def read(file: Path, most: int = MOST_NODES) -> Node:
    """The tree of a UTF-8 file. Raises `ConfigError` with every problem of it."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError([ConfigProblem(str(file), "", f"cannot be read: {error.strerror}")]) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise ConfigError([ConfigProblem(f"{file}:{line}:{column}", "", "should be UTF-8 text")]) from None
    return parse(text, str(file), most)


def parse(text: str, source: str, most: int = MOST_NODES) -> Node:
    """The tree of one YAML document of at most `most` nodes, aliases unfolded. Raises `ConfigError`."""
    try:
        loader: Any = _CoreLoader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except ReaderError as error:
        before = text[: error.position]
        place = Place(source, before.count("\n") + 1, error.position - before.rfind("\n"))
        raise _problem(place, f"the character U+{int(error.character):04X} is not allowed in YAML") from None
    except UnicodeEncodeError:
        # of bytes at the command line that are no text
        raise _problem(Place(source, 1, 1), "should be UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        raise _problem(_place(source, error.problem_mark or error.context_mark), _syntax(error)) from None
    if root is None:
        return Node({}, Place(source, 1, 1))
    building = _Building(source, most)
    tree = building.node(root, (), None)
    if building.problems:
        raise ConfigError(building.problems)
    return tree


class _Building:
    """Turns PyYAML's nodes into ours and gathers what is wrong."""

    def __init__(self, source: str, most: int) -> None:
        self._source = source
        self._most = most
        self._left = most
        self._open: list[Any] = []
        self.problems: list[ConfigProblem] = []

    def node(self, raw: Any, path: Steps, key: Place | None) -> Node:
        place = _place(self._source, raw.start_mark)
        self._left -= 1
        if self._left < 0:
            raise _problem(place, f"more than {self._most} values once aliases are unfolded", path)
        if len(self._open) >= DEEPEST:
            raise _problem(place, f"nested more than {DEEPEST} deep")
        if any(raw is outer for outer in self._open):
            raise _problem(place, "an alias stands inside what it stands for", path)
        self._open.append(raw)
        try:
            return Node(self._value(raw, place, path), place, key)
        finally:
            self._open.pop()

    def _value(self, raw: Any, place: Place, path: Steps) -> Mapping[str, Node] | tuple[Node, ...] | Scalar:
        kinds = {yaml.MappingNode: "map", yaml.SequenceNode: "seq"}
        if isinstance(raw, yaml.ScalarNode):
            if raw.tag in _SCALARS:
                return self._scalar(raw, place, path)
        elif raw.tag == _TAG + kinds[type(raw)]:
            return self._mapping(raw, path) if isinstance(raw, yaml.MappingNode) else self._sequence(raw, path)
        self._say(place, path, f"the tag {raw.tag.replace(_TAG, '!!')} means nothing here; leave it out")
        return None

    def _scalar(self, raw: yaml.ScalarNode, place: Place, path: Steps) -> Scalar:
        try:
            return _SCALARS[raw.tag](raw.value)
        except (ValueError, KeyError):
            self._say(place, path, f"is not a value of the type {raw.tag.replace(_TAG, '!!')}")
            return None

    def _sequence(self, raw: yaml.SequenceNode, path: Steps) -> tuple[Node, ...]:
        return tuple(self.node(item, (*path, index), None) for index, item in enumerate(raw.value))

    def _mapping(self, raw: yaml.MappingNode, path: Steps) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key, value in raw.value:
            place = _place(self._source, key.start_mark)
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                self._say(place, path, "a key should be one word or text")
            elif key.value == "<<":
                self._say(place, (*path, "<<"), "YAML 1.2 has no merge keys; write the keys out, or use an alias")
            elif key.value in found:
                self._say(place, (*path, key.value), f"is given twice; the first is at {found[key.value].key}")
            else:
                found[key.value] = self.node(value, (*path, key.value), place)
        return found

    def _say(self, place: Place, path: Steps, text: str) -> None:
        self.problems.append(ConfigProblem(str(place), dotted(path), text))


def select(node: Node, pattern: Sequence[str], path: Steps) -> Iterator[tuple[Steps, Node]]:
    """Every node below this one at a path of the `pattern`, in which `*` is any step; `path` is this one's own."""
    if not pattern:
        yield path, node
        return
    step, *rest = pattern
    for name, child in node.children():
        if step in ("*", name):
            yield from select(child, rest, (*path, name))


def _place(source: str, mark: Any) -> Place:
    return Place(source, mark.line + 1, mark.column + 1) if mark is not None else Place(source)


def _problem(place: Place, text: str, path: Steps = ()) -> ConfigError:
    return ConfigError([ConfigProblem(str(place), dotted(path), text)])


def _syntax(error: yaml.MarkedYAMLError) -> str:
    if "single document" in (error.context or ""):
        return "a second document starts here; one file holds one"
    hint = "; text that starts with a special character needs quotes, tabs cannot indent" * (
        "cannot start any token" in (error.problem or "")
    )
    context = f" {error.context}" if error.context else ""
    return f"is not YAML: {error.problem}{context}{hint}"
