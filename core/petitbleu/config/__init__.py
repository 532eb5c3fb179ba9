"""The configuration: YAML with positions, typed sections, and every problem at once.

`yamltree` reads, `tree` follows includes and secrets, `settings` types, `build` checks what sections say together,
`checks` what they say of plugins; `complaints` words what is wrong, `findings` what is worth a second look. What a
setting does is not known here.
"""

from .build import FILE, SAMPLE, Config, RawConfig, build_config, find_config, read_config
from .checks import check_catch_all, check_channels, check_deadlines, check_messages
from .findings import findings
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
