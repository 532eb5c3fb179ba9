"""The configuration: YAML with positions, typed sections, and every problem at once.

`yamltree` reads, `tree` follows includes and secrets, `settings` types, `build` checks what sections say together,
`complaints` words what is wrong. What a setting does is not known here.
"""

from .build import (
    FILE,
    SAMPLE,
    Config,
    RawConfig,
    build_config,
    check_catch_all,
    check_channels,
    check_deadlines,
    check_messages,
    find_config,
    findings,
    read_config,
)
from .schema import json_schema
from .shown import shown

__all__ = [
    "FILE",
    "SAMPLE",
    "Config",
    "RawConfig",
    "build_config",
    "check_catch_all",
    "check_channels",
    "check_deadlines",
    "check_messages",
    "find_config",
    "findings",
    "json_schema",
    "read_config",
    "shown",
]
