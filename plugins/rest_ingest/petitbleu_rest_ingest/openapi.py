"""The OpenAPI 3.1 document, from the same declarations and models that calls are checked by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from .operation import Operation
from .problems import ALWAYS, KINDS, MEDIA, ProblemDocument

_REFERENCE = "#/components/schemas/{model}"
_INFO = """Push events and ask what became of them; and what operators do: change events, publish templates, keep the
suppression list, look at who changed what.

Say who you are with a token (`Authorization: Bearer pb_…`) or a log-on's session token, or with a login and its
password (HTTP Basic) where the operator may do so from your network.

Ids are numbers of 64 bits and stand as text. Times are UTC (RFC 3339). Whatever fails is answered with a problem
document (RFC 9457) that names every field in `errors`."""


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Petitbleu", "version": version("petitbleu"), "description": _INFO},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": schemas.defined,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "login": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"token": []}, {"login": []}],
    }


class _Schemas:
    """Every model's schema once, by name."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        wanted: list[tuple[str, Literal["validation", "serialization"], TypeAdapter[Any]]] = []
        self._keys: dict[tuple[int, str], str] = {}

        def want(model: Any, mode: Literal["validation", "serialization"]) -> None:
            if model is not None and (id(model), mode) not in self._keys:
                key = self._keys[id(model), mode] = str(len(wanted))
                wanted.append((key, mode, TypeAdapter(model)))

        for one in operations:
            for model in one.body.media.values() if one.body is not None else ():
                want(model, "validation")
            for success in one.answers.values():
                for model in (success.model, *success.also.values()):
                    want(model, "serialization")
        want(ProblemDocument, "serialization")
        self._found, rest = TypeAdapter.json_schemas(wanted, ref_template=_REFERENCE)
        self.defined: dict[str, Any] = rest.get("$defs", {})

    def __call__(self, model: Any, mode: Literal["validation", "serialization"]) -> Any:
        return self._found[self._keys[id(model), mode], mode]


def _operation(one: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": one.name, "summary": one.summary, "tags": [one.tag]}
    text = "\n\n".join(filter(None, (one.text, f"Needs the right `{one.right}`.")))
    described["description"] = text
    parameters = [
        *_parameters(one.parameters, "path"),
        *_parameters(one.query, "query"),
        *_parameters(one.headers, "header"),
    ]
    if parameters:
        described["parameters"] = parameters
    if one.body is not None:
        described["requestBody"] = {
            "required": one.body.needed,
            "content": {media: {"schema": schemas(model, "validation")} for media, model in one.body.media.items()},
        }
    described["responses"] = {**_successes(one, schemas), **_problems(one, schemas)}
    return described


def _parameters(model: type[BaseModel] | None, place: str) -> Iterator[dict[str, Any]]:
    if model is None:
        return
    schema = model.model_json_schema(by_alias=True)
    for name, found in schema["properties"].items():
        shown = {key: value for key, value in found.items() if key not in ("title", "description", "default")}
        if "default" in found and found["default"] is not None:
            shown["default"] = found["default"]
        options = [option for option in shown.get("anyOf", ()) if option != {"type": "null"}]
        if len(options) == 1:
            del shown["anyOf"]
            shown |= options[0]
        yield {
            "name": name,
            "in": place,
            "required": place == "path" or name in schema.get("required", ()),
            "schema": shown,
            **({"description": found["description"]} if "description" in found else {}),
        }


def _successes(one: Operation, schemas: _Schemas) -> dict[str, Any]:
    return {
        str(status): {
            "description": success.text,
            **_answered_headers(success.headers),
            **_links(success.links),
            **_contents({success.media: success.model, **success.also}, schemas),
        }
        for status, success in one.answers.items()
    }


def _contents(models: Mapping[str, Any], schemas: _Schemas) -> dict[str, Any]:
    known = {media: {"schema": schemas(model, "serialization")} for media, model in models.items() if model is not None}
    return {"content": known} if known else {}


def _answered_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    if not headers:
        return {}
    return {"headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}}


def _links(links: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    if not links:
        return {}
    return {"links": {name: {"operationId": name, "parameters": dict(given)} for name, given in links.items()}}


def kinds_of(one: Operation) -> list[str]:
    """The kinds of problem that an operation may end with."""
    kinds = set(one.problems) | ALWAYS
    if one.parameters is not None:
        kinds.add("not-found")
    if one.query is not None or one.headers is not None or one.method == "GET":
        kinds.add("invalid-parameters")
    if one.body is not None:
        kinds |= {"invalid-body", "invalid-parameters", "too-large", "unsupported-media-type"}
        if not one.body.raw:
            kinds.add("invalid-fields")
    return [kind for kind in KINDS if kind in kinds]


def _problems(one: Operation, schemas: _Schemas) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for kind in kinds_of(one):
        by_status.setdefault(KINDS[kind].status, []).append(f"{KINDS[kind].title} (`{kind}`).")
    content = {"content": {MEDIA: {"schema": schemas(ProblemDocument, "serialization")}}}
    return {
        str(status): {
            "description": " ".join(texts),
            **({"headers": _RETRY} if status == 503 else {}),
            **content,
        }
        for status, texts in by_status.items()
    }


_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
