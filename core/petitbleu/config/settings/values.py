"""What single settings hold: durations, numbers, names, addresses; and the base of every section."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from ...addresses import email_address
from ...suggest import did_you_mean
from ...types import Settings

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


class Section(Settings):
    """A mapping of settings that may be left empty."""

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value


def _seconds(value: Any) -> Any:
    """`30`, `30s`, `5m`, `24h`, `7d`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("should be a duration: seconds, or a number with s, m, h or d, such as 30s or 24h")
    return float(found[1]) * _UNITS[found[2]]


def checked(pattern: str, words: str) -> AfterValidator:
    """Text that matches `pattern`, or else the error says what it should be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {words}")
        return text

    return AfterValidator(check)


def _zone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(str(value), available_timezones())
        raise ValueError("should be a time zone such as Europe/Paris" + (f"; {hint}" if hint else "")) from None


TimeZone = Annotated[ZoneInfo, PlainValidator(_zone), WithJsonSchema({"type": "string"})]
Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=10 * 366 * 86400),
    WithJsonSchema(
        {
            "$comment": "a duration greater than 0, such as 30s, 5m, 24h or 7d",
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]?$"}],
        }
    ),
]
"""Seconds."""
Share = Annotated[float, Field(ge=0.01, le=1000)]
Bytes = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
EmailAddress = Annotated[str, AfterValidator(email_address)]
Line = Annotated[str, checked(r"[^\x00-\x1f\x7f]*", "one line of text")]
Name = Annotated[str, checked(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "a name of letters, digits, _, . and -")]
Login = Annotated[str, checked(r"[^/\s\x00-\x1f\x7f]{1,128}", "a login without spaces and without /")]
Country = Annotated[str, checked(r"[A-Z]{2}", "a country of two capital letters (ISO 3166-1), such as FR")]
Language = Annotated[str, checked(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", "a language tag such as fr or fr-CA")]
Variable: TypeAlias = str | int | float | bool


def one_of(*names: str) -> Any:
    """Text that is one of `names`."""

    def check(text: str) -> str:
        if text not in names:
            hint = did_you_mean(text, names)
            raise ValueError(f"should be one of {', '.join(names)}" + (f"; {hint}" if hint else ""))
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(names)})


Amount = Annotated[float, Field(gt=0, le=1_000_000_000)]
Percent = Annotated[float, Field(gt=0, le=100)]
