"""What a template reads of ctx, and which events lack it."""

from __future__ import annotations

import pytest
from petitbleu.templates.needs import lacking, needed


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("{{ rtEvent.ctx.order.number }}", ["order.number"]),
        ("{{ ctx.user['@login'] }} {{ ctx.user.name | upper }}", ["user.@login", "user.name"]),
        ("{% for line in ctx.order.line %}{{ line.name }}{% endfor %}", ["order.line.name"]),
        ("{% for line in ctx.order.line %}{{ line.piece[0].size }}{% endfor %}", ["order.line.piece.size"]),
        ("{% if ctx.minutes %}{{ brand.url }}{{ rtEvent.email }}{% endif %}", ["minutes"]),
        (
            "{% set order = rtEvent.ctx.order %}{{ order.total }}{% for one in order.line %}{{ one.name }}{% endfor %}",
            ["order.line.name", "order.total"],
        ),
        ("{% set first = (ctx.parcel | first) %}{% set size = first.size %}{{ size.width }}", ["parcel.size.width"]),
        ("{{ ctx }} {{ other.ctx.value }} {{ ctx[name] }}", []),
        ("{% broken", []),
        ("sender: {name: Shop}", []),
    ],
)
def test_what_a_text_reads_is_found(text: str, paths: list[str]) -> None:
    assert needed([text]) == paths


def test_of_a_path_and_its_beginning_the_longer_one_counts() -> None:
    assert needed(["{% if ctx.order %}{{ ctx.order.total }}{% endif %}"]) == ["order.total"]


@pytest.mark.parametrize(
    ("ctx", "lacks"),
    [
        ({"order": {"line": [{"name": "a"}, {"name": "b"}]}}, []),
        ({"order": {"line": {"name": "a"}}}, []),
        ({"order": {"line": [{"name": "a"}, {}]}}, ["order.line.name"]),
        ({"order": {"line": []}}, ["order.line.name"]),
        ({"order": {"line": {"name": ""}}}, ["order.line.name"]),
        ({"order": {"line": {"@name": "a"}}}, []),
        ("text", ["order.line.name"]),
        (None, ["order.line.name"]),
    ],
)
def test_what_an_event_lacks_is_found(ctx: object, lacks: list[str]) -> None:
    assert lacking(["order.line.name"], ctx) == lacks
