"""The example plugin of docs/plugins.md is what it says: a package that is small, can be loaded, and keeps the contract
of channels, as the test module beside it shows."""

from __future__ import annotations

import configparser
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

from petitbleu.calls import Calls
from petitbleu.plugins import load
from petitbleu.testing import ChannelContract

PAGE = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text("utf-8")


def _block(mark: str, kind: str) -> str:
    (found,) = re.findall(rf"^<!-- test: {mark} -->\n```{kind}\n(.*?)^```$", PAGE, re.M | re.S)
    return str(found)


def _module(name: str, source: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), vars(made))
    return made


SETUP, SOURCE = _block("example", "ini"), _block("example", "python")
# the test module imports it by name, as it would where it is installed
sys.modules["petitbleu_textgate"] = _module("petitbleu_textgate", SOURCE)
_Suite: type[ChannelContract] = _module("test_textgate", _block("suite", "python")).TestTextgate


class TestTextgate(_Suite):  # type: ignore[misc, valid-type]
    """The page's own test module."""


def test_the_example_is_loaded_by_its_entry_point() -> None:
    written = configparser.ConfigParser(interpolation=None)
    written.read_string(SETUP)
    name, _, module = written["options.entry_points"]["petitbleu"].strip().partition(" = ")
    assert module == written["options"]["py_modules"]
    (channel,) = Calls(load([name], [EntryPoint(name, module, "petitbleu")]), 1).channels().values()
    assert (channel.name, channel.aliases, channel.unknown) == ("sms", ("1",), "hold")


def test_a_channel_is_small() -> None:
    assert len(SOURCE.splitlines()) <= 60
