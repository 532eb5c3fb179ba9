"""What the other values are made of."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Data: TypeAlias = "dict[str, Data] | list[Data] | str | int | float | bool | None"


class Settings(BaseModel):
    """Base of every settings and template-field model: an unknown key is refused, numbers are finite, and a built
    value never changes.

    The text under a field describes it to editors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # pydantic's use_attribute_docstrings looks for the sources as it makes the class: a tenth of a server's start
        made = handler(schema)
        described = handler.resolve_ref_schema(made).get("properties", {})
        texts: dict[str, str] = {}
        for base in reversed(cls.__mro__[: cls.__mro__.index(Settings)]):
            texts |= _texts(base.__module__).get(base.__name__, {})
        for name, field in cls.model_fields.items():
            if name in texts:
                described[field.alias or name].setdefault("description", texts[name])
        return made


@cache
def _texts(module: str) -> Mapping[str, Mapping[str, str]]:
    """The strings under the annotations of the module's classes, by class and name; none where there are no sources."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError):
        return {}
    return {made.name: dict(_described(made.body)) for made in ast.walk(tree) if isinstance(made, ast.ClassDef)}


def _described(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for above, below in pairwise(body):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and isinstance(text, str):
            yield above.target.id, inspect.cleandoc(text)


class Queue(StrEnum):
    """Real time is served before batch."""

    REALTIME = "realtime"
    BATCH = "batch"


class Scope(StrEnum):
    """Whose fault an outcome is. Only `ADDRESS` says anything about the recipient."""

    ADDRESS = "address"
    MESSAGE = "message"
    PROVIDER = "provider"
    US = "us"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a health report. With `warning` it is `ok`, but somebody should look."""

    name: str
    ok: bool
    text: str
    warning: bool = False
