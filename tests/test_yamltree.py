"""YAML 1.2 as a tree that knows its places."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu.config.yamltree import Node, parse
from petitbleu.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(word, word) for word in ("no", "on", "yes", "off", "y", "12:30", "1_000", "0b1", "2026-01-01", "=", "<")],
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("+12", 12),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("~", None),
        ("", None),
        ("null", None),
        ("True", True),
        ("tRue", "tRue"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert parse(f"key: {text}", "f").plain() == {"key": value}


characters = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(characters),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(characters, min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_json_is_yaml(value: object) -> None:
    assert parse(json.dumps(value), "f").plain() == value


def test_every_node_knows_its_place() -> None:
    tree = parse("a: 1\nlist:\n  - é: ü\n    deep: {x: [1, 2]}\n", "file.yaml")
    node: Node | None = tree
    for step in ("list", 0, "deep", "x", 1):
        assert node is not None
        node = node.at(step)
    assert node is not None
    assert (str(node.place), node.value) == ("file.yaml:4:19", 2)
    assert str(tree.at("list").key) == "file.yaml:2:1"  # type: ignore[union-attr]  # it was just walked through


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: a: is given twice; the first is at f:1:1"),
        ("a:\n  <<: {b: 1}", "f:2:3: a.<<: YAML 1.2 has no merge keys"),
        ("? [a]\n: 1", "f:1:3: a key should be one word or text"),
        ("a: !env X", "f:1:4: a: the tag !env means nothing here"),
        ("a: !!set {b}", "f:1:4: a: the tag !!set means nothing here"),
        ("a: !!int b", "f:1:4: a: is not a value of the type !!int"),
        ("a: 1\n---\nb: 2", "f:2:1: a second document starts here"),
        ("a: &x [*x]", "f:1:4: a.0: an alias stands inside what it stands for"),
        ("a: *b", "f:1:4: is not YAML: found undefined alias"),
        ("\ta: 1", "f:1:1: is not YAML: found character that cannot start any token"),
        ("a: [1", "f:2:1: is not YAML: did not find expected ',' or ']'"),
        ("a: \x07", "f:1:4: the character U+0007 is not allowed in YAML"),
        ("a: " + "9" * 5000, "f:1:4: a: is not a value of the type !!int"),
        ("[" * 100 + "]" * 100, "f:1:65: nested more than 64 deep"),
    ],
)
def test_what_yaml_refuses(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(problem)}"):
        parse(text, "f")


def test_aliases_do_not_unfold_without_measure() -> None:
    assert parse("a: &x [1, 2]\nb: *x", "f").plain() == {"a": [1, 2], "b": [1, 2]}
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(ConfigError, match="more than 100000 values once aliases are unfolded"):
        parse(bomb, "f")
