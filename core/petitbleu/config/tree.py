"""From files, `--set` overrides and secrets to one tree of the whole configuration."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data import is_storable
from ..errors import ConfigError, ConfigProblem
from ..suggest import did_you_mean
from .yamltree import Node, Place, Steps, dotted, parse, read

LONGEST_SECRET = 65_536

_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class PluginItem:
    """One item of the list of plugins."""

    name: str
    settings: Node
    place: Place


@dataclass(slots=True)
class Reading:
    """One reading of the configuration; every problem met on the way is kept."""

    directory: Path
    environ: Mapping[str, str] = field(repr=False)
    problems: list[ConfigProblem] = field(default_factory=list)

    def say(self, place: Place, path: Steps, text: str) -> None:
        self.problems.append(ConfigProblem(str(place), dotted(path), text))


def read_tree(file: Path, overrides: Sequence[str], environ: Mapping[str, str]) -> Node:
    """The tree of `file` and what it includes, with overrides and secrets put in. Raises `ConfigError`."""
    reading = Reading(file.parent, environ)
    tree = _with_includes(reading, file, (), set())
    for text in overrides:
        tree = _overridden(reading, tree, text)
    tree = _with_secrets(reading, tree, ())
    if reading.problems:
        raise ConfigError(reading.problems)
    return tree


# ------------------------------------------------------------------------------------------------------------ include


def _with_includes(reading: Reading, file: Path, chain: tuple[Path, ...], done: set[Path]) -> Node:
    try:
        tree = read(file)
    except ConfigError as error:
        reading.problems += error.problems
        return Node({}, Place(str(file), 1, 1))
    chain = (*chain, file.resolve())
    done.add(file.resolve())
    if not isinstance(tree.value, Mapping):
        reading.say(tree.place, (), "should be a mapping of sections, such as `http:` with lines below it")
        return Node({}, tree.place)
    merged = Node({name: child for name, child in tree.value.items() if name != "include"}, tree.place)
    for place, text in _include_paths(reading, tree.at("include")):
        target = file.parent / text
        # a path may be none, too long or with a NUL character, which a Path takes for an error
        if not os.path.isfile(target):
            reading.say(place, ("include",), f"there is no file {target}")
        elif target.resolve() in chain:
            reading.say(place, ("include",), f"{text} includes this file in turn")
        elif target.resolve() not in done:
            merged = _merged(reading, merged, _with_includes(reading, target, chain, done), ())
    return merged


def _include_paths(reading: Reading, node: Node | None) -> Iterator[tuple[Place, str]]:
    if node is None or node.value is None:
        return
    for item in node.value if isinstance(node.value, tuple) else (node,):
        if isinstance(item.value, str):
            yield item.place, item.value
        else:
            reading.say(item.place, ("include",), "should be the path of a file, or a list of them")


def _merged(reading: Reading, mine: Node, theirs: Node, path: Steps) -> Node:
    if not isinstance(mine.value, Mapping) or not isinstance(theirs.value, Mapping):
        reading.say(theirs.key or theirs.place, path, f"is set a second time; the first is at {mine.key or mine.place}")
        return mine
    value = dict(mine.value)
    for name, child in theirs.value.items():
        value[name] = _merged(reading, value[name], child, (*path, name)) if name in value else child
    return replace(mine, value=value)


# ---------------------------------------------------------------------------------------------------------- overrides


def _overridden(reading: Reading, tree: Node, text: str) -> Node:
    path, equals, value = text.partition("=")
    place = Place(f"--set {path}=…")
    steps = tuple(path.strip().split("."))
    if not equals or not all(steps):
        reading.say(Place(f"--set {path}"), (), "should be key.path=value, such as http.port=8090")
        return tree
    try:
        given = parse(value, "") if value else Node("", place)
    except ConfigError as error:
        # YAML's own words quote nothing of the value, which may be a secret
        reading.say(place, (), error.problems[0].text)
        return tree
    return _set(reading, tree, steps, _moved(given, place), ())


def _moved(node: Node, place: Place) -> Node:
    value = node.value
    if isinstance(value, Mapping):
        value = {name: _moved(child, place) for name, child in value.items()}
    elif isinstance(value, tuple):
        value = tuple(_moved(child, place) for child in value)
    return replace(node, value=value, place=place, key=place)


def _set(reading: Reading, node: Node | None, steps: tuple[str, ...], given: Node, path: Steps) -> Node:
    if not steps:
        return given
    if node is not None and isinstance(node.value, tuple):
        return _set_item(reading, node, node.value, steps, given, path)
    if node is None or not isinstance(node.value, Mapping):
        node = Node({}, given.place, node.key if node is not None else given.place)
    value = dict(node.value) if isinstance(node.value, Mapping) else {}
    # names may hold dots: the longest name that is there already is meant
    taken = next((end for end in range(len(steps), 0, -1) if ".".join(steps[:end]) in value), 1)
    name = ".".join(steps[:taken])
    value[name] = _set(reading, value.get(name), steps[taken:], given, (*path, name))
    return replace(node, value=value)


def _set_item(
    reading: Reading, node: Node, items: tuple[Node, ...], steps: tuple[str, ...], given: Node, path: Steps
) -> Node:
    step, rest = steps[0], steps[1:]
    if path == ("plugins",):
        names = [_plugin_name(item) for item in items]
        if step not in names:
            hint = did_you_mean(step, [name for name in names if name])
            reading.say(given.place, (*path, step), "is not in the list of plugins" + (f"; {hint}" if hint else ""))
            return node
        index = names.index(step)
        settings = items[index].at(step)
        changed = Node({step: _set(reading, settings, rest, given, (*path, step))}, items[index].place)
    elif step.isdecimal() and int(step) < len(items):
        index = int(step)
        changed = _set(reading, items[index], rest, given, (*path, index))
    else:
        reading.say(given.place, (*path, step), f"should be the number of an item, from 0 to {len(items) - 1}")
        return node
    return replace(node, value=(*items[:index], changed, *items[index + 1 :]))


# ------------------------------------------------------------------------------------------------------------ secrets


def _with_secrets(reading: Reading, node: Node, path: Steps) -> Node:
    if isinstance(node.value, str):
        return _with_variables(reading, node, path)
    if isinstance(node.value, Mapping):
        file = node.value.get("file")
        if file is not None and len(node.value) == 1:
            return _from_file(reading, replace(file, key=node.key), path)
        return replace(
            node, value={name: _with_secrets(reading, child, (*path, name)) for name, child in node.value.items()}
        )
    if isinstance(node.value, tuple):
        return replace(
            node, value=tuple(_with_secrets(reading, child, (*path, index)) for index, child in enumerate(node.value))
        )
    return node


def _with_variables(reading: Reading, node: Node, path: Steps) -> Node:
    outside = False

    def value(found: re.Match[str]) -> str:
        nonlocal outside
        if found[0] == "$${":
            return "${"
        name = found[1]
        if not found[2] or not _VARIABLE_NAME.fullmatch(name):
            reading.say(node.place, path, "should be ${NAME} with the name of an environment variable, or $${ for ${")
        elif name not in reading.environ:
            reading.say(node.place, path, f"the environment variable {name} is not set")
        elif not is_storable(reading.environ[name]):
            reading.say(node.place, path, f"the environment variable {name} should be UTF-8 text")
        outside = True
        return reading.environ.get(name, "")

    text = _VARIABLE.sub(value, str(node.value))
    return replace(node, value=text, secret=outside)


def _from_file(reading: Reading, node: Node, path: Steps) -> Node:
    if not isinstance(node.value, str) or not node.value:
        reading.say(node.place, (*path, "file"), "should be the path of a file whose text is the value")
        return node
    base = Path(node.place.source).parent if node.place.line else reading.directory
    target = base / node.value
    try:
        with target.open("rb") as opened:
            raw = opened.read(LONGEST_SECRET + 1)
        text = raw.decode()
    except OSError as error:
        reading.say(node.place, (*path, "file"), f"{target} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        reading.say(node.place, (*path, "file"), f"{target} should be UTF-8 text")
    except ValueError as error:
        reading.say(node.place, (*path, "file"), f"{node.value!r} is no path: {error}")
    else:
        if len(raw) > LONGEST_SECRET:
            reading.say(node.place, (*path, "file"), f"{target} has more than {LONGEST_SECRET} bytes")
        return replace(node, value=text.removesuffix("\n").removesuffix("\r"), secret=True)
    return node


# ------------------------------------------------------------------------------------------------------------ plugins


def _plugin_name(item: Node) -> str | None:
    if isinstance(item.value, str):
        return item.value
    if isinstance(item.value, Mapping) and len(item.value) == 1:
        return next(iter(item.value))
    return None


def plugin_items(tree: Node, say: Callable[[Place, Steps, str], None]) -> list[PluginItem]:
    """The plugins in the order of the list; `say` is told what is wrong with the list."""
    node = tree.at("plugins")
    if node is None or node.value is None:
        return []
    if not isinstance(node.value, tuple):
        text = "should be a list, because its order is the order of calls: `- email:` with its settings below it"
        say(node.place, ("plugins",), text)
        return []
    found: dict[str, PluginItem] = {}
    for index, item in enumerate(node.value):
        name = _plugin_name(item)
        if not name:
            text = "should be the name of a plugin, or one name with its settings (`- email:`, settings indented below)"
            say(item.place, ("plugins", index), text)
        elif name in found:
            say(item.place, ("plugins", name), f"is listed twice; the first is at {found[name].place}")
        else:
            settings = item.at(name)
            if settings is None or settings.value is None:
                settings = Node({}, item.place)
            found[name] = PluginItem(name, settings, item.place)
    return list(found.values())
