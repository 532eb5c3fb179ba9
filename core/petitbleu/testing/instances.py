"""An instance's directory for a test, written from a few arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PASSWORD = "petitbleu"  # noqa: S105 - of every operator of a test
"""What operators of a test log on with, where they have no password of their own."""
_HASH = "$argon2id$v=19$m=8,t=1,p=1$cv/1m7ueSRfTb+wpGddQzA$XW1PPzRNlol/3X+u+s2aTMNcIsMVYNWkE7XNvPS3zCw"
"""Of `PASSWORD`, with so little work that tests do not wait for it."""
OPERATORS: Mapping[str, Mapping[str, Any]] = {"tester": {"rights": ["push", "read", "publish", "admin"]}}
DEFAULTS: Mapping[str, Any] = {
    "instance": {"name": "test"},
    "http": {"port": 0},
    "durability": "relaxed",
    # what is waited for by a real clock is short; tests move the other one
    "delivery": {"poll": 0.1, "drain": 5, "feedback": {"wait": 0.05}},
}


def write_instance(
    folder: Path,
    *,
    plugins: Mapping[str, Mapping[str, Any]],
    database: str,
    event_types: Mapping[str, Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, str | bytes]],
    operators: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> None:
    """`petitbleu.yaml` and the templates' folders, as `serving` describes its arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    types = {**{name.partition("/")[0]: {} for name in templates}, **event_types}
    written = {
        "database": database,
        "plugins": [{name: dict(own)} if own else name for name, own in plugins.items()],
        "event_types": types,
        "operators": {login: {"password": _HASH, **_near, **one} for login, one in operators.items()},
    }
    config = merged(merged(DEFAULTS, written), settings)
    # JSON is YAML
    (folder / "petitbleu.yaml").write_text(json.dumps(config, indent=1, ensure_ascii=False), "utf-8")
    for name, files in templates.items():
        for file, content in {"template.yaml": "{}\n", **files}.items():
            path = folder / "templates" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


_near: Mapping[str, Sequence[str]] = {"password_token_from": ["127.0.0.0/8", "::1/128"]}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` on top of `below`; mappings in both are merged likewise."""
    found = dict(below)
    for key, value in above.items():
        mine = found.get(key)
        found[key] = merged(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return found
