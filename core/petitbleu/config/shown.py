"""Every setting as it holds: its value, and the file and line it comes from. Secrets are not shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretBytes, SecretStr

from ..operating import Setting
from ..types import Settings
from .build import Config, RawConfig
from .settings import Sections
from .tree import plugin_items
from .yamltree import Node, Steps, dotted

MASK = "***"


def shown(raw: RawConfig, config: Config) -> list[Setting]:
    """In the order of the documentation, the plugins last."""
    found = [
        one
        for name in Sections.model_fields
        for one in _settings(getattr(config, name), raw.tree.at(name), (name,), False)
    ]
    for item in plugin_items(raw.tree, lambda place, path, text: None):
        path: Steps = ("plugins", item.name)
        lines = list(_settings(config.plugin_settings[item.name], item.settings, path, False))
        found += lines or [Setting(dotted(path), "", str(item.place))]
    return found


def _settings(value: object, node: Node | None, path: Steps, secret: bool) -> Iterator[Setting]:
    secret = secret or (node is not None and node.secret)
    children = _children(value)
    if children is None or not children:
        place = "" if node is None else str(node.key or node.place)
        yield Setting(dotted(path), MASK if secret or _is_secret(value) else _text(value), place)
        return
    for name, child in children.items():
        inner = None if node is None else node.at(name)
        yield from _settings(child, inner, (*path, name), secret)


def _children(value: object) -> Mapping[str | int, Any] | None:
    """Of a value that has settings of its own; None: it is one."""
    if isinstance(value, Settings):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {name if isinstance(name, int) else str(name): child for name, child in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(one, Settings | Mapping) for one in value):
        return dict(enumerate(value))
    return None


def _is_secret(value: object) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_is_secret, value))
    return isinstance(value, SecretStr | SecretBytes)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, set | frozenset):
        return ", ".join(sorted(map(_text, value)))
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.15g}"
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value) if isinstance(value, str | int | Path) else str(getattr(value, "value", value))
