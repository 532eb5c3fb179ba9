"""The JSON Schema of `petitbleu.yaml`, by which editors complete and check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from ..types import Settings
from .settings import Sections

_OUTSIDE = "FromOutside"
_FROM_OUTSIDE: Mapping[str, Any] = {
    "description": "An environment variable, or the text of a file.",
    "anyOf": [
        {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"},
        {
            "type": "object",
            "properties": {"file": {"type": "string"}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ],
}
_SCALARS = ("string", "integer", "number", "boolean")
_NOTES = ("title", "description", "default")


def json_schema(plugin_settings_types: Mapping[str, type[Settings]]) -> dict[str, Any]:
    """JSON Schema (2020-12) of the whole file; a plugin without a type has no settings."""
    models: dict[type[Settings], None] = dict.fromkeys((Sections, *plugin_settings_types.values()))
    found, shared = models_json_schema([(model, "validation") for model in models])
    definitions = shared["$defs"]
    root = definitions.pop(found[Sections, "validation"]["$ref"].rpartition("/")[2])
    items = [{"type": "string"}] + [
        {
            "type": "object",
            "properties": {name: {"anyOf": [found[model, "validation"], {"type": "null"}]}},
            "required": [name],
            "additionalProperties": False,
        }
        for name, model in plugin_settings_types.items()
    ]
    schema = {
        **_open(root),
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "petitbleu.yaml",
        "description": "The configuration of an instance of Petitbleu.",
        "$defs": {name: _open(definition) for name, definition in definitions.items()} | {_OUTSIDE: _FROM_OUTSIDE},
    }
    schema["properties"] |= {
        "plugins": {
            "description": "The plugins to load, in the order in which they are called.",
            "type": "array",
            "items": {"anyOf": items},
        },
        "include": {
            "description": "Further files, seen from this one's directory, that are read as parts of it.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
    }
    return schema


def _open(schema: Any) -> Any:
    """The schema with every scalar open to what comes from outside the file."""
    if not isinstance(schema, Mapping):
        return schema
    inner = {
        key: {name: _open(one) for name, one in value.items()}
        if key == "properties"
        else [_open(one) for one in value]
        if key in ("anyOf", "oneOf", "allOf", "prefixItems")
        else _open(value)
        if key in ("items", "additionalProperties")
        else value
        for key, value in schema.items()
    }
    if schema.get("type") not in _SCALARS:
        return inner
    notes = {key: inner.pop(key) for key in _NOTES if key in inner}
    return {**notes, "anyOf": [inner, {"$ref": f"#/$defs/{_OUTSIDE}"}]}
