"""The guard of XML from outside: limits hold at their edges, whichever way they are told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from petitbleu import XmlLimits, XmlRefused, parse_xml

LIMITS = XmlLimits(size=2000, nodes=12, attributes=4, depth=5)


def nested(levels: int, inner: str = "") -> str:
    return "<a>" * levels + inner + "</a>" * levels


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "iso-8859-1", "utf-16", None])
@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (nested(5), ""),
        (nested(4, "<b/>"), ""),
        (nested(6), "nested deeper than 5"),
        (nested(5, "<b/>"), "nested deeper than 5"),
        (f"<r>{'<a/>' * 11}</r>", ""),
        (f"<r>{'<a/>' * 12}</r>", "more than 12 elements"),
        ("<r a='1' b='2' c='3' d='4'/>", ""),
        ("<r a='1' b='2' c='3' d='4' e='5'/>", "more than 4 attributes"),
        ("<r><a a='1' b='2' c='3' d = '4'\n e\n=\n'5'/></r>", "more than 4 attributes"),
        ("<!DOCTYPE r><r/>", "DOCTYPE"),
        ("<!DOCTYPE r [<!ENTITY x 'y'>]><r>&x;</r>", "DOCTYPE"),
        ("<r>&amp;&#65;</r>", ""),
        ("<r><![CDATA[</a></a></a></a></a></a>&x;<!DOCTYPE]]></r>", ""),
    ],
)
def test_a_limit_holds_in_every_encoding(text: str, refusal: str, charset: str | None) -> None:
    body = text.encode(charset or "utf-8")
    if refusal:
        with pytest.raises(XmlRefused, match=refusal):
            parse_xml(body, charset, LIMITS)
    else:
        assert etree.tostring(parse_xml(body, charset, LIMITS))


def test_what_hides_markup_from_a_look_at_the_bytes_is_measured() -> None:
    """In UTF-7 no byte need be an angle bracket."""
    body = b"<?xml version='1.0' encoding='UTF-7'?>" + (nested(6)).replace("<", "+ADw-").encode()
    with pytest.raises(XmlRefused, match="nested deeper than 5"):
        parse_xml(body, None, LIMITS)
    with pytest.raises(XmlRefused, match="nested deeper than 5"):
        parse_xml(body.partition(b"?>")[2], "utf-7", LIMITS)


_names = st.sampled_from(["a", "b", "n:c"])
_attributes = st.lists(st.sampled_from("stuvwx"), unique=True, max_size=6)
_trees: st.SearchStrategy[Any] = st.recursive(
    st.tuples(_names, _attributes, st.just([])),
    lambda inner: st.tuples(_names, _attributes, st.lists(inner, max_size=4)),
    max_leaves=12,
)


def written(tree: tuple[str, list[str], list[Any]]) -> str:
    name, attributes, children = tree
    inner = "".join(written(child) for child in children)
    return f"<{name}{''.join(f' {one}={chr(34)}{one}{chr(34)}' for one in attributes)}>{inner or 'é'}</{name}>"


def shape(tree: tuple[str, list[str], list[Any]]) -> tuple[int, int, int]:
    """Elements, attributes of the element that has most, and levels."""
    below = [shape(child) for child in tree[2]]
    nodes, attributes, levels = zip(*below, strict=True) if below else ((0,), (0,), (0,))
    return 1 + sum(nodes), max(len(tree[1]), *attributes), 1 + max(levels)


@settings(max_examples=300)
@given(_trees)
def test_the_limits_hold_for_any_tree(tree: tuple[str, list[str], list[Any]]) -> None:
    body = f"<r xmlns:n='urn:n'>{written(tree)}</r>".encode()
    nodes, attributes, levels = shape(tree)
    fits = nodes < LIMITS.nodes and attributes <= LIMITS.attributes and levels < LIMITS.depth
    for charset in ("utf-8", None):
        try:
            parse_xml(body, charset, LIMITS)
        except XmlRefused:
            assert not fits
        else:
            assert fits
