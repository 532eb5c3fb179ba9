"""The two YAML files of a template folder. Everything wrong is added to `problems`, with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from ..config.yamltree import Node, parse
from ..data import Element
from ..errors import ConfigError, XmlRefused
from ..languages import TAG, canonical
from ..rendering.snapshots import Meta
from ..suggest import did_you_mean
from ..types import Channel, Data
from ..xmldata import element_data, parse_xml
from .seeds import Seed


@dataclass(frozen=True, slots=True)
class TemplateYaml:
    """`template.yaml`; `fields` by name, then by language."""

    meta: Meta = field(default_factory=Meta)
    labels: tuple[str, ...] = ()
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_EXPECTED = {
    "brand": "the name of a brand",
    "missing": 'strict, empty or {default: "text"}',
    "language": "a language tag such as en or fr-CA",
}
_CORE = (*_EXPECTED, "labels")


def read_template_yaml(text: str, where: str, channel: Channel, problems: list[str]) -> TemplateYaml:
    known = [info.alias or name for name, info in channel.fields.model_fields.items()]
    core: dict[str, Node] = {}
    fields: dict[str, dict[str, Any]] = {}
    for key, node in _pairs(_tree(text, where, problems), "the file", problems):
        name, language = _split(key)
        if key in _CORE:
            core[key] = node
        elif name not in known:
            near = did_you_mean(name, [*known, *_CORE])
            problems.append(
                f"{_line(node)}: the channel {channel.name} has no field {name!r}: "
                + (near or f"it has {', '.join(sorted(known))}")
            )
        elif language and canonical(language) != language:
            problems.append(f"{_line(node)}: write the language as {canonical(language)!r}")
        else:
            fields.setdefault(name, {})[language] = node.plain()
    return TemplateYaml(_meta(core, problems), _labels(core.get("labels"), problems), fields)


def _meta(core: Mapping[str, Node], problems: list[str]) -> Meta:
    try:
        meta = Meta.model_validate({name: node.plain() for name, node in core.items() if name != "labels"})
        wrong = [] if canonical(meta.language) == meta.language else ["language"]
    except ValidationError as error:
        meta = Meta()
        wrong = list(dict.fromkeys(str(problem["loc"][0]) for problem in error.errors()))
    problems += [f"{_line(core[name])}: {name} must be {_EXPECTED[name]}" for name in wrong]
    return meta


def _labels(node: Node | None, problems: list[str]) -> tuple[str, ...]:
    labels = node.plain() if node is not None else []
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        return tuple(labels)
    problems.append(f"{_line(node)}: labels must be a list of texts")
    return ()


def _split(key: str) -> tuple[str, str]:
    """`subject.fr` is the field `subject` in `fr`."""
    match = re.fullmatch(rf"(.+)\.({TAG})", key)
    return (match[1], match[2]) if match else (key, "")


# --------------------------------------------------------------------------------------------------- seeds.yaml

_SEED = ("name", "address", "language", "country", "attributes", "ctx", "ctx_xml")


def read_seeds(text: str, where: str, problems: list[str]) -> tuple[Seed, ...]:
    """Every scalar is a text, exactly as written: callers' XML has nothing else."""
    tree = _tree(text, where, problems)
    if tree is None:
        return ()
    listed = tree.at("seeds")
    if listed is None or not isinstance(listed.value, tuple) or len(list(tree.children())) != 1:
        problems.append(f"{_line(tree)}: the file must hold `seeds:` with a list below it, and nothing else")
        return ()
    written = _written(text)
    seeds: dict[str, Seed] = {}
    for _, node in listed.children():
        seed = _seed(node, written, problems)
        if seed is not None and seed.name in seeds:
            problems.append(f"{_line(node)}: a second seed named {seed.name!r}")
        elif seed is not None:
            seeds[seed.name] = seed
    return tuple(seeds.values())


def _written(text: str) -> dict[tuple[int, int], str]:
    """Every scalar as it stands in the file, by line and column."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {
        (event.start_mark.line + 1, event.start_mark.column + 1): event.value
        for event in yaml.parse(text, Loader=loader)
        if isinstance(event, yaml.ScalarEvent) and event.start_mark is not None
    }


def _seed(node: Node, written: Mapping[tuple[int, int], str], problems: list[str]) -> Seed | None:
    before = len(problems)
    found: dict[str, Any] = {}
    for key, value in _pairs(node, "a seed", problems):
        data = _data(value, written)
        if key not in _SEED:
            near = did_you_mean(key, _SEED)
            problems.append(f"{_line(value)}: a seed has no {key!r}: {near or 'it has ' + ', '.join(_SEED)}")
        elif key == "attributes" and not (isinstance(data, dict) and all(isinstance(v, str) for v in data.values())):
            problems.append(f"{_line(value)}: attributes must be names with texts; what is nested belongs in ctx")
        elif key not in ("attributes", "ctx") and not isinstance(data, str):
            problems.append(f"{_line(value)}: {key} must be a text")
        else:
            found[key] = data
    problems += [f"{_line(node)}: a seed needs {key!r}" for key in ("name", "address") if not found.get(key)]
    if "ctx" in found and "ctx_xml" in found:
        problems.append(f"{_line(node)}: a seed has either ctx or ctx_xml")
    if "ctx_xml" in found:
        found["ctx"] = _xml(found.pop("ctx_xml"), node, problems)
    return Seed(**found) if len(problems) == before else None


def _xml(text: str, node: Node, problems: list[str]) -> Data:
    try:
        return element_data(parse_xml(text.encode(), "utf-8"))
    except XmlRefused as error:
        problems.append(f"{_line(node)}: ctx_xml: {error}")
        return ""


def _data(node: Node, written: Mapping[tuple[int, int], str]) -> Any:
    if isinstance(node.value, Mapping):
        return Element({key: _data(value, written) for key, value in node.value.items()})
    if isinstance(node.value, tuple):
        return [_data(item, written) for item in node.value]
    return "" if node.value is None else written[node.place.line, node.place.column]


# ------------------------------------------------------------------------------------------------------- both


def _tree(text: str, where: str, problems: list[str]) -> Node | None:
    try:
        return parse(text, where)
    except ConfigError as error:
        problems += map(str, error.problems)
        return None


def _pairs(node: Node | None, what: str, problems: list[str]) -> Iterator[tuple[str, Node]]:
    if node is None:
        return
    if isinstance(node.value, Mapping):
        yield from node.value.items()
    else:
        problems.append(f"{_line(node)}: {what} must be a mapping of names to values")


def _line(node: Node | None) -> str:
    """The key's line where there is a key: that is where an admin looks."""
    if node is None:
        return ""
    place = node.key or node.place
    return f"{place.source}:{place.line}"
