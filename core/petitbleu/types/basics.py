"""What the other values are made of."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from textwrap import dedent
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Data: TypeAlias = "dict[str, Data] | list[Data] | str | int | float | bool | None"


class Settings(BaseModel):
    """Base of every settings and template-field model: an unknown key is refused, a built value never changes.

    The text under a field describes it to editors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # pydantic's use_attribute_docstrings looks for the sources as it makes the class: a tenth of a server's start
        made = handler(schema)
        described = handler.resolve_ref_schema(made).get("properties", {})
        texts = {name: text for base in reversed(cls.__mro__) for name, text in _texts(base).items()}
        for name, field in cls.model_fields.items():
            if name in texts:
                described[field.alias or name].setdefault("description", texts[name])
        return made


def _texts(model: type) -> dict[str, str]:
    """The strings under the annotations of a class, by the names over them; none of one whose sources are not there."""
    if not issubclass(model, Settings) or model is Settings:
        return {}
    try:
        made = ast.parse(dedent(inspect.getsource(model))).body[0]
    except OSError:
        return {}
    return {
        above.target.id: inspect.cleandoc(below.value.value)
        for above, below in pairwise(made.body if isinstance(made, ast.ClassDef) else ())
        if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


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
